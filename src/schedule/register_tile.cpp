#include "schedule/register_tile.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <ranges>
#include <utility>

#include "schedule/build.hpp"
#include "schedule/streams.hpp"
#include "schedule/tile_kinds.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kShortSum = 16;
constexpr double kLeastPacked = 2000;  // multiply-adds
constexpr double kLeastReuse = 4;      // of a packed element
constexpr std::size_t kMostTiles = 40;
constexpr std::int64_t kVectorsOfRow = 4;
constexpr int kMostWidths = 8;               // vectors, beside unrolled labels
constexpr std::int64_t kMostUnrolled = 128;  // multiply-adds in the body of a loop of many steps

// Pieces of at most `most`, as equal as they can be.
std::int64_t balanced(std::int64_t extent, std::int64_t most) {
  if (extent <= most) return extent;
  const std::int64_t pieces = (extent + most - 1) / most;
  return (extent + pieces - 1) / pieces;
}

// The largest divisor up to `most`: tiles without tails are less code. 0 if all are small.
std::int64_t even(std::int64_t extent, std::int64_t most) {
  for (std::int64_t length = most; length * 3 >= most && length > 1; --length)
    if (extent % length == 0) return length;
  return 0;
}

class Enumerator {
 public:
  explicit Enumerator(const Problem& problem)
      : p_(problem), c_(p_.c), target_(p_.target), lanes_(p_.lanes), kinds_(problem) {
    is_read_once_ =
        std::ranges::any_of(p_.in, [&](const Operand& a) { return a.elements * 2 > p_.points; });
    // A copy pays if what is copied is read again and again.
    for (std::size_t k = 0; k < std::min<std::size_t>(p_.in.size(), 2); ++k)
      if (p_.in[k].positions * kLeastReuse <= p_.points) worth_packing_ |= 1u << k;
    for (Label inner : p_.reduced)
      if (c_.extents[inner] >= 2 && c_.extents[inner] <= kShortSum &&
          std::ranges::any_of(p_.kept, [&](Label l) { return slides(l, inner); }))
        windows_.push_back(inner);
    best_.reserve(64);
    lengths_.resize(static_cast<std::size_t>(c_.label_count() * kMostWidths));
  }

  std::vector<RatedTile> run() {
    consider_chains({});
    for (Label vec : p_.kept)
      if (is_worth_vectors(vec)) enumerate_over_output(vec);
    for (Label vec : p_.reduced)
      if (c_.extents[vec] > 0 && !c_.is_dynamic(vec)) enumerate_over_sum(vec);
    std::vector<const Best*> sorted;
    sorted.reserve(best_.size());
    for (const Best& best : best_) sorted.push_back(&best);
    std::ranges::sort(sorted, {},
                      [](const Best* b) { return std::pair(b->rated.cycles, b->kind); });
    std::vector<RatedTile> tiles;
    tiles.reserve(kMostTiles);
    for (const Best* best : sorted | std::views::take(kMostTiles)) tiles.push_back(best->rated);
    return tiles;
  }

 private:
  // False if the registers do not hold it, and so none of more chains or steps.
  bool consider(const RegisterTile& tile) { return consider(tile, target_.vector_registers); }
  bool consider(const RegisterTile& tile, int most_registers) {
    if (registers_used(p_, tile) > most_registers) return false;
    if (tile.steps > 1 && !may_unroll_sum(tile)) return true;
    if (box_ && box_->is_of(tile))
      box_->set_sum(tile);
    else
      box_.emplace(p_, tile, may_pack(tile));
    const unsigned may_pack = box_->may_pack, vec_bit = may_pack & vec_operand(tile);
    rate(tile, box_->cost, 0);
    if (may_pack & ~vec_bit) rate(tile, box_->cost, may_pack & ~vec_bit);
    if (!vec_bit) return true;
    RegisterTile even = tile;
    even.vec_length = box_->even_length;
    const TileCost& even_cost = box_->even_cost ? *box_->even_cost : box_->cost;
    rate(even, even_cost, vec_bit);
    if (may_pack & ~vec_bit) rate(even, even_cost, may_pack);
    return true;
  }

  // The operand that has the vec label, as a bit set.
  unsigned vec_operand(const RegisterTile& tile) const {
    return !c_.in.empty() && tile.vec >= 0 && c_.in[0].strides[tile.vec] != 0 ? 1 : 2;
  }
  // The operands that are worth copies into panels.
  unsigned may_pack(const RegisterTile& tile) const {
    if (!can_pack(tile)) return 0;
    return worth_packing_ & (tile.unroll < 0 ? vec_operand(tile) : 3u);
  }

  bool may_unroll_sum(const RegisterTile& tile) const {
    if (c_.is_dynamic(tile.inner >= 0 || p_.reduced.empty() ? tile.inner : p_.reduced.back()))
      return false;
    const std::int64_t sums = p_.vectors_in(tile.vec_length) * tile.unroll_length;
    return sums * tile.steps <= kMostUnrolled;
  }

  bool misleads(const RegisterTile& tile) const {
    return !p_.reduced.empty() && std::ranges::any_of(p_.in, [&](const Operand& a) {
      return misleads_prefetchers(p_, a, tile.vec, p_.reduced.back());
    });
  }

  // Keeps the tile if it is the best of its kind.
  void rate(RegisterTile tile, const TileCost& cost, unsigned packed) {
    tile.packed = packed;
    const double cycles = cost.cycles(packed);
    const std::uint64_t kind = kinds_.of(tile);
    const auto found = std::ranges::find(best_ | std::views::reverse, kind, &Best::kind);
    if (found == best_.rend())
      best_.push_back({kind, {tile, cycles}});
    else if (cycles < found->rated.cycles)
      found->rated = {tile, cycles};
  }

  bool slides(Label unroll, Label inner) const {
    return std::ranges::any_of(c_.in, [&](const Access& a) { return is_window(a, unroll, inner); });
  }

  // Rows of a sliding window that unrolled positions share: the steps between them go innermost.
  void consider_windows(RegisterTile tile) {
    for (Label inner : windows_) {
      if (!slides(tile.unroll, inner)) continue;
      tile.inner = inner;
      tile.steps = c_.extents[inner];
      consider(tile);
    }
  }

  // Chains and unrolled steps for a tile of few accumulators.
  void consider_chains(RegisterTile tile) {
    if (!consider(tile)) return;
    if (p_.reduced.empty() || runs_along_vec(c_, tile)) return;
    consider_windows(tile);
    const std::int64_t length = c_.extents[p_.reduced.back()];
    for (int chains : {2, 4, 8})
      if (length >= 2 * chains) {
        tile.steps = tile.chains = chains;
        if (!consider(tile)) break;
      }
    // A short sum needs no loop.
    if (length <= kShortSum)
      for (int chains : {1, 2}) {
        tile.steps = length;
        tile.chains = chains;
        consider(tile);
      }
    tile.chains = 1;
    tile.steps = 1;
    tile.is_gray = true;
    if (length >= kShortSum && misleads(tile)) consider(tile);
    tile.is_gray = false;
    // Blocks to transpose along a sum; some of what is transposed may be spilled.
    for (Label sum : p_.reduced) {
      const bool has_blocks = std::ranges::any_of(c_.in, [&](const Access& a) {
        return tile.vec >= 0 && a.strides[tile.vec] != 0 && std::abs(a.strides[sum]) == 1;
      });
      const bool is_last = sum == p_.reduced.back();
      if (!has_blocks || c_.extents[sum] < lanes_ / 2) continue;
      if (!is_last && c_.extents[tile.vec] * 2 < lanes_) continue;
      tile.inner = is_last ? -1 : sum;
      tile.steps = lanes_;
      consider(tile);
      if (!kinds_.are_turned() || c_.extents[tile.vec] < lanes_) continue;
      tile.steps = kTurnedSteps / 2;
      consider(tile, target_.vector_registers * 5 / 4);
    }
  }

  // Vectors of an operand go along the label it is contiguous in, if the output keeps that and it
  // is long; others wait for gathers or strided copies.
  bool is_worth_vectors(Label vec) const {
    auto is_contiguous = [&](const Access& a, Label l) {
      return a.strides[l] == 1 && c_.extents[l] * 4 >= lanes_;
    };
    auto has_better = [&](const Access& a) {
      return std::ranges::any_of(p_.kept, [&](Label l) { return is_contiguous(a, l); });
    };
    return is_contiguous(c_.out, vec) || std::ranges::any_of(c_.in, [&](const Access& a) {
             return a.strides[vec] != 0 && (is_contiguous(a, vec) || !has_better(a));
           });
  }

  // Of two factors the one in vectors is to be used again at every unrolled position.
  bool is_worth_unrolling(Label unroll, Label vec) const {
    if (c_.in.size() != 2 || p_.reduced.empty()) return true;
    auto is_reused = [&](Label l) {
      return std::ranges::any_of(
          c_.in, [&](const Access& a) { return a.strides[vec] != 0 && a.strides[l] == 0; });
    };
    return is_reused(unroll) || std::ranges::none_of(p_.kept, [&](Label l) {
             return l != vec && c_.extents[l] > 3 && is_reused(l);
           });
  }

  void enumerate_over_output(Label vec) {
    // Rows that are read once want to be long; with reuse, unrolled labels take the registers.
    const std::int64_t whole = p_.vectors_in(c_.extents[vec]);
    std::int64_t before = kMostWidths;
    for (int vectors : {9, 10, 11, 12, 16, 24}) {
      if (p_.reduced.empty() || !is_read_once_ || whole <= before) break;
      if (vectors < 12 && vectors != whole) continue;
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = std::min<std::int64_t>(c_.extents[vec], vectors * lanes_);
      consider_chains(tile);
      before = vectors;
    }
    consider_joined(vec);
    consider_rows(vec);
    unrolled_.clear();
    for (Label unroll : p_.kept)
      if (unroll != vec && is_worth_unrolling(unroll, vec)) unrolled_.push_back(unroll);
    for (int vectors = 1; vectors <= kMostWidths; ++vectors) {
      RegisterTile tile;
      tile.vec = vec;
      // Five and seven serve labels that are no longer.
      if ((vectors == 5 || vectors == 7) && c_.extents[vec] > vectors * lanes_) continue;
      tile.vec_length = std::min<std::int64_t>(c_.extents[vec], vectors * lanes_);
      if (vectors > 1 && c_.extents[vec] <= (vectors - 1) * lanes_) break;
      consider_chains(tile);
      for (Label unroll : unrolled_) {
        tile.unroll = unroll;
        const UnrollLengths& lengths = unroll_lengths(unroll, vectors);
        for (int k = 0; k < lengths.count; ++k) {
          tile.unroll_length = lengths.values[k];
          consider_chains(tile);
        }
      }
    }
  }

  // A few lines of a few whole rows: as many as the hardware follows.
  void consider_rows(Label vec) {
    const SummedRows rows = summed_rows(p_, vec);
    if (rows.sum < 0) return;
    RegisterTile tile;
    tile.vec = vec;
    if (!c_.is_reduced(vec)) tile.steps = kRowsAtOnce;
    if (p_.reduced.size() > 1) tile.inner = rows.sum;
    tile.is_by_rows = true;
    for (std::int64_t vectors : {kVectorsOfRow, 2 * kVectorsOfRow}) {
      if (vectors > kVectorsOfRow && c_.extents[vec] > vectors * lanes_) break;
      tile.vec_length = std::min(c_.extents[vec], vectors * lanes_);
      const std::int64_t more = kVectorsOfRow / p_.vectors_in(tile.vec_length);
      if (more > 1 && rows.labels.size() > 1 && !c_.is_reduced(rows.labels[1])) {
        tile.unroll = rows.labels[1];
        tile.unroll_length = std::min(c_.extents[tile.unroll], more);
      }
      consider(tile);
    }
  }

  // Copies with short runs that are written end to end, in whole lines, and read as blocks that are
  // transposed. Nothing is summed in registers: some may be spilled.
  void consider_joined(Label vec) {
    const std::int64_t run = c_.extents[vec], line = target_.line_bytes / p_.item;
    if (!p_.reduced.empty() || run % lanes_ == 0 || run > kMostWidths * lanes_) return;
    const std::int64_t runs = line / std::gcd(run, line);
    for (Label along : p_.kept) {
      if (!is_written_joined(c_, vec, along) || c_.extents[along] < runs) continue;
      for (Label across : p_.kept) {
        if (across == along || std::ranges::none_of(c_.in, [&](const Access& a) {
              return a.strides[across] == 1 && std::abs(a.strides[vec]) > 1;
            }))
          continue;
        // As few blocks of a row as can be: each comes to its lines again.
        const std::int64_t extent = c_.extents[across], whole = even(extent, lanes_);
        const std::int64_t length = whole > 0 ? whole : std::min(extent, lanes_ / 2);
        if (length >= 2)
          consider({vec, run, across, length, along, runs}, 2 * target_.vector_registers);
      }
    }
  }

  // Numbers of positions to unroll that are worth a look.
  struct UnrollLengths {
    int count = -1;  // not known yet
    std::uint8_t values[8];
  };

  const UnrollLengths& unroll_lengths(Label unroll, int vectors) {
    UnrollLengths& lengths = lengths_[static_cast<std::size_t>(unroll * kMostWidths + vectors - 1)];
    if (lengths.count >= 0) return lengths;
    lengths.count = 0;
    const std::int64_t extent = c_.extents[unroll];
    const std::int64_t most = (target_.vector_registers - vectors - 1) / vectors;
    const std::int64_t one_set = std::min(most, l1_ways(target_) - kOtherRows);
    std::uint64_t tried = 3;  // bit per length; 0 and 1 unroll nothing
    for (std::int64_t wanted :
         {most, most - 2, most / 2, lanes_, std::int64_t{4}, even(extent, most), one_set}) {
      if (wanted < 2) continue;
      const std::int64_t length =
          wanted == lanes_ ? std::min(wanted, extent) : balanced(extent, wanted);
      if (tried >> length & 1) continue;
      tried |= std::uint64_t{1} << length;
      lengths.values[lengths.count++] = static_cast<std::uint8_t>(length);
    }
    return lengths;
  }

  void enumerate_over_sum(Label vec) {
    for (Label along : p_.reduced) consider_turned(vec, along);
    consider_rows(vec);
    for (int vectors : {1, 2, 4, 8}) {
      if (vectors > 1 && c_.extents[vec] <= (vectors - 1) * lanes_) break;
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = vectors * lanes_;
      consider(tile);
      for (Label unroll : p_.kept)
        for (std::int64_t length : {2, 4, 8}) {
          tile.unroll = unroll;
          tile.unroll_length = balanced(c_.extents[unroll], length);
          tile.unroll2 = -1;
          tile.unroll2_length = 1;
          consider(tile);
          for (Label unroll2 : p_.kept) {
            if (unroll2 <= unroll || length > 5) continue;
            for (std::int64_t length2 : {2, 4, 5}) {
              tile.unroll2 = unroll2;
              tile.unroll2_length = balanced(c_.extents[unroll2], length2);
              consider(tile);
            }
          }
        }
    }
  }

  // Two summed labels: an input that is read once has vectors along one, another lies across them,
  // along the other label. Blocks of that one are transposed.
  void consider_turned(Label vec, Label along) {
    if (along == vec || std::min(c_.extents[vec], c_.extents[along]) < lanes_ ||
        c_.is_dynamic(along))
      return;
    const bool has_vectors = std::ranges::any_of(p_.in, [&](const Operand& a) {
      return a.elements * 4 > p_.points && a.access->strides[vec] == 1 &&
             a.access->strides[along] != 0;
    });
    const bool has_blocks = std::ranges::any_of(c_.in, [&](const Access& a) {
      return a.strides[along] == 1 && std::abs(a.strides[vec]) > 1;
    });
    if (!has_vectors || !has_blocks) return;
    for (int vectors : {1, 2, 3, 4}) {
      if (c_.extents[vec] <= (vectors - 1) * lanes_) break;
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = std::min(c_.extents[vec], vectors * lanes_);
      tile.is_kept = true;
      tile.inner = along;
      // Some of what is transposed may be spilled.
      for (std::int64_t steps : {kTurnedSteps / 2, kTurnedSteps}) {
        tile.steps = steps;
        consider(tile, target_.vector_registers * 5 / 4);
      }
    }
  }

  // Panels serve tiles of two sides: the vec label in one operand, the unroll label in the other.
  // Small contractions are not worth their copies.
  bool can_pack(const RegisterTile& tile) const {
    if (c_.in.size() != 2 || tile.vec < 0 || c_.is_reduced(tile.vec) || p_.reduced.empty())
      return false;
    if (tile.unroll2 >= 0 || p_.points < kLeastPacked) return false;
    const std::size_t vec_operand = c_.in[0].strides[tile.vec] != 0 ? 0 : 1;
    if (c_.in[1 - vec_operand].strides[tile.vec] != 0 || c_.in[vec_operand].strides[tile.vec] == 0)
      return false;
    return tile.unroll < 0 || (c_.in[vec_operand].strides[tile.unroll] == 0 &&
                               c_.in[1 - vec_operand].strides[tile.unroll] != 0);
  }

  // What tiles of the same vec and unrolled labels share.
  struct Box {
    Box(const Problem& p, const RegisterTile& t, unsigned packable)
        : tile(t),
          may_pack(packable),
          even_length(even_panel(p, t.vec_length)),
          cost(p, t, may_pack) {
      if (!may_pack || even_length == t.vec_length) return;
      RegisterTile even = t;
      even.vec_length = even_length;
      even_cost.emplace(p, even, may_pack);
    }
    void set_sum(const RegisterTile& t) {
      cost.set_sum(t);
      if (even_cost) even_cost->set_sum(t);
    }
    // Panels are whole vectors wide, or end with half of one: one kind of code for odd lengths.
    static std::int64_t even_panel(const Problem& p, std::int64_t length) {
      return length > p.lanes && length % (p.lanes / 2) != 0 ? p.vectors_in(length) * p.lanes
                                                             : length;
    }
    bool is_of(const RegisterTile& t) const {
      return t.vec == tile.vec && t.vec_length == tile.vec_length && t.unroll == tile.unroll &&
             t.unroll_length == tile.unroll_length && t.unroll2 == tile.unroll2 &&
             t.unroll2_length == tile.unroll2_length && t.is_kept == tile.is_kept &&
             t.is_by_rows == tile.is_by_rows;
    }
    RegisterTile tile;
    unsigned may_pack;
    std::int64_t even_length;
    TileCost cost;
    std::optional<TileCost> even_cost;  // where panels are wider
  };

  struct Best {
    std::uint64_t kind;
    RatedTile rated;
  };

  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  std::int64_t lanes_;
  TileKinds kinds_;
  bool is_read_once_ = false;  // some input, more or less
  unsigned worth_packing_ = 0;
  std::vector<Best> best_;
  std::optional<Box> box_;
  std::vector<Label> windows_;          // short reduced labels along which a window slides
  std::vector<Label> unrolled_;         // worth it beside the vec label
  std::vector<UnrollLengths> lengths_;  // per label and width
};

}  // namespace

std::vector<RatedTile> register_tiles(const Problem& problem) { return Enumerator(problem).run(); }

}  // namespace einjit
