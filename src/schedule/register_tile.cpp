#include "schedule/register_tile.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "cost/tile_cost.hpp"
#include "schedule/streams.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kShortSum = 16;
constexpr double kLeastPacked = 2000;   // multiply-adds
constexpr double kLeastReuse = 4;       // of a packed element
constexpr std::int64_t kOtherRows = 4;  // in a set of L1, beside those that are unrolled
constexpr std::size_t kMostTiles = 40;
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
  Enumerator(const Contraction& c, const Target& target)
      : c_(c), target_(target), lanes_(target.lanes(c.dtype)) {
    for (Label l = 0; l < c.label_count(); ++l) (c.is_reduced(l) ? reduced_ : kept_).push_back(l);
    is_read_once_ = std::ranges::any_of(
        c.in, [&](const Access& a) { return element_count(c, a) * 2 > c.point_count(); });
  }

  std::vector<RatedTile> run() {
    consider_chains({});
    for (Label vec : kept_)
      if (is_worth_vectors(vec)) enumerate_over_output(vec);
    for (Label vec : reduced_)
      if (c_.extents[vec] > 0 && !c_.is_dynamic(vec)) enumerate_over_sum(vec);
    std::vector<RatedTile> tiles;
    for (const auto& [labels, rated] : best_) tiles.push_back(rated);
    std::ranges::sort(tiles, {}, &RatedTile::cycles);
    if (tiles.size() > kMostTiles) tiles.resize(kMostTiles);
    return tiles;
  }

 private:
  void consider(RegisterTile tile) {
    if (registers_used(c_, target_, tile) > target_.vector_registers) return;
    if (c_.is_dynamic(tile.inner >= 0 || reduced_.empty() ? tile.inner : reduced_.back()) &&
        tile.steps > 1)
      return;
    const std::int64_t sums = (tile.vec_length + lanes_ - 1) / lanes_ * tile.unroll_length;
    if (tile.steps > 1 && sums * tile.steps > kMostUnrolled) return;
    const bool packs = can_pack(tile);
    const unsigned unroll_bit = packs && c_.in[0].strides[tile.vec] != 0 ? 2 : 1;
    for (unsigned mask = 0; mask < (packs ? 4u : 1u); ++mask) {
      if (tile.unroll < 0 && (mask & unroll_bit)) continue;
      if (!is_worth_packing(mask)) continue;
      RegisterTile packed = tile;
      packed.packed = mask;
      // Panels are whole vectors wide, or end with half of one: one kind of code for odd lengths.
      const bool packs_vec = (mask & ~unroll_bit) != 0;
      if (packs_vec && tile.vec_length > lanes_ && tile.vec_length % (lanes_ / 2) != 0)
        packed.vec_length = (tile.vec_length + lanes_ - 1) / lanes_ * lanes_;
      const double cycles = tile_cycles(c_, target_, packed);
      const auto [it, added] = best_.try_emplace(
          {tile.vec, tile.unroll, tile.unroll2, mask, tile.vec_length <= lanes_, thrashes(packed)},
          packed, cycles);
      if (!added && cycles < it->second.cycles) it->second = {packed, cycles};
    }
  }

  // Whether the unrolled rows that are read where they are fall into one set of L1, too many for
  // it.
  bool thrashes(const RegisterTile& tile) const {
    if (tile.unroll < 0 || tile.unroll_length <= l1_ways(target_) - kOtherRows) return false;
    for (std::size_t k = 0; k < c_.in.size(); ++k)
      if (c_.in[k].strides[tile.unroll] != 0 && !(tile.packed >> k & 1) &&
          c_.in[k].strides[tile.unroll] * size_of(c_.dtype) % kPage == 0)
        return true;
    return false;
  }

  // Rows of a sliding window that unrolled positions share: the steps between them go innermost.
  void consider_windows(RegisterTile tile) {
    for (Label inner : reduced_) {
      const std::int64_t length = c_.extents[inner];
      const bool is_shared = std::ranges::any_of(
          c_.in, [&](const Access& a) { return is_window(a, tile.unroll, inner); });
      if (!is_shared || length < 2 || length > kShortSum) continue;
      tile.inner = inner;
      tile.steps = length;
      consider(tile);
    }
  }

  // Chains and unrolled steps for a tile of few accumulators.
  void consider_chains(RegisterTile tile) {
    consider(tile);
    if (reduced_.empty() || (tile.vec >= 0 && c_.is_reduced(tile.vec))) return;
    consider_windows(tile);
    const std::int64_t length = c_.extents[reduced_.back()];
    for (int chains : {2, 4, 8})
      if (length >= 2 * chains) {
        tile.steps = tile.chains = chains;
        consider(tile);
      }
    // A short sum needs no loop.
    if (length <= kShortSum)
      for (int chains : {1, 2}) {
        tile.steps = length;
        tile.chains = chains;
        consider(tile);
      }
    // Blocks to transpose along the sum.
    const bool has_blocks = std::ranges::any_of(c_.in, [&](const Access& a) {
      return tile.vec >= 0 && a.strides[tile.vec] != 0 && std::abs(a.strides[reduced_.back()]) == 1;
    });
    tile.chains = 1;
    tile.steps = lanes_;
    if (has_blocks && length >= lanes_ / 2) consider(tile);
  }

  // Vectors of an operand go along the label it is contiguous in, if the output keeps that and it
  // is long; others wait for gathers or strided copies.
  bool is_worth_vectors(Label vec) const {
    auto is_contiguous = [&](const Access& a, Label l) {
      return a.strides[l] == 1 && c_.extents[l] * 4 >= lanes_;
    };
    auto has_better = [&](const Access& a) {
      return std::ranges::any_of(kept_, [&](Label l) { return is_contiguous(a, l); });
    };
    return is_contiguous(c_.out, vec) || std::ranges::any_of(c_.in, [&](const Access& a) {
             return a.strides[vec] != 0 && (is_contiguous(a, vec) || !has_better(a));
           });
  }

  // Of two factors the one in vectors is to be used again at every unrolled position.
  bool is_worth_unrolling(Label unroll, Label vec) const {
    if (c_.in.size() != 2 || reduced_.empty()) return true;
    auto is_reused = [&](Label l) {
      return std::ranges::any_of(
          c_.in, [&](const Access& a) { return a.strides[vec] != 0 && a.strides[l] == 0; });
    };
    return is_reused(unroll) || std::ranges::none_of(kept_, [&](Label l) {
             return l != vec && c_.extents[l] > 3 && is_reused(l);
           });
  }

  void enumerate_over_output(Label vec) {
    // Rows that are read once want to be long; with reuse, unrolled labels take the registers.
    const std::int64_t whole = (c_.extents[vec] + lanes_ - 1) / lanes_;
    for (int vectors : {9, 10, 11, 12, 16, 24}) {
      if (reduced_.empty() || !is_read_once_ || c_.extents[vec] <= (vectors - 1) * lanes_) break;
      if (vectors < 12 && vectors != whole) continue;
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = std::min<std::int64_t>(c_.extents[vec], vectors * lanes_);
      consider_chains(tile);
    }
    for (int vectors = 1; vectors <= 8; ++vectors) {
      RegisterTile tile;
      tile.vec = vec;
      // Five and seven serve labels that are no longer.
      if ((vectors == 5 || vectors == 7) && c_.extents[vec] > vectors * lanes_) continue;
      tile.vec_length = std::min<std::int64_t>(c_.extents[vec], vectors * lanes_);
      if (vectors > 1 && c_.extents[vec] <= (vectors - 1) * lanes_) break;
      consider_chains(tile);
      for (Label unroll : kept_) {
        if (unroll == vec || !is_worth_unrolling(unroll, vec)) continue;
        const std::int64_t most = (target_.vector_registers - vectors - 1) / vectors;
        const std::int64_t one_set = std::min(most, l1_ways(target_) - kOtherRows);
        for (std::int64_t length : {most, most - 1, most - 2, most / 2, std::int64_t{lanes_},
                                    std::int64_t{4}, even(c_.extents[unroll], most), one_set}) {
          if (length < 2) continue;
          tile.unroll = unroll;
          tile.unroll_length = length == lanes_ ? std::min(length, c_.extents[unroll])
                                                : balanced(c_.extents[unroll], length);
          consider_chains(tile);
        }
        tile.unroll = -1;
        tile.unroll_length = 1;
      }
    }
  }

  void enumerate_over_sum(Label vec) {
    for (int vectors : {1, 2, 4, 8}) {
      if (vectors > 1 && c_.extents[vec] <= (vectors - 1) * lanes_) break;
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = vectors * lanes_;
      consider(tile);
      for (Label unroll : kept_)
        for (std::int64_t length : {2, 4, 8}) {
          tile.unroll = unroll;
          tile.unroll_length = balanced(c_.extents[unroll], length);
          tile.unroll2 = -1;
          tile.unroll2_length = 1;
          consider(tile);
          for (Label unroll2 : kept_) {
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

  // A copy pays if what is copied is read again and again.
  bool is_worth_packing(unsigned mask) const {
    for (std::size_t k = 0; k < c_.in.size(); ++k)
      if (mask >> k & 1 && position_count(c_, c_.in[k]) * kLeastReuse > c_.point_count())
        return false;
    return true;
  }

  // Panels serve tiles of two sides: the vec label in one operand, the unroll label in the other.
  // Small contractions are not worth their copies.
  bool can_pack(const RegisterTile& tile) const {
    if (c_.in.size() != 2 || tile.vec < 0 || c_.is_reduced(tile.vec) || reduced_.empty())
      return false;
    if (tile.unroll2 >= 0 || c_.point_count() < kLeastPacked) return false;
    const std::size_t vec_operand = c_.in[0].strides[tile.vec] != 0 ? 0 : 1;
    if (c_.in[1 - vec_operand].strides[tile.vec] != 0 || c_.in[vec_operand].strides[tile.vec] == 0)
      return false;
    return tile.unroll < 0 || (c_.in[vec_operand].strides[tile.unroll] == 0 &&
                               c_.in[1 - vec_operand].strides[tile.unroll] != 0);
  }

  const Contraction& c_;
  const Target& target_;
  std::int64_t lanes_;
  std::vector<Label> kept_, reduced_;
  bool is_read_once_ = false;  // some input, about
  // Per vec label, unroll labels, packed operands, and for tiles of one vector: their blocks can be
  // smaller; and by whether rows fight for a set.
  std::map<std::tuple<Label, Label, Label, unsigned, bool, bool>, RatedTile> best_;
};

}  // namespace

std::vector<RatedTile> register_tiles(const Contraction& contraction, const Target& target) {
  return Enumerator(contraction, target).run();
}

}  // namespace einjit
