#include "schedule/register_tile.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace einjit {
namespace {

constexpr double kPackReuse = 12;           // uses of an element that pay for its packing
constexpr std::int64_t kMostUnrolled = 64;  // multiply-adds in the body of a loop of many steps
constexpr std::int64_t kPage = 4096;        // strides of this many bytes fall into one set of L1

// Pieces of at most `most`, as equal as they can be.
std::int64_t balanced(std::int64_t extent, std::int64_t most) {
  if (extent <= most) return extent;
  const std::int64_t pieces = (extent + most - 1) / most;
  return (extent + pieces - 1) / pieces;
}

class Enumerator {
 public:
  Enumerator(const Contraction& c, const Target& target)
      : c_(c), target_(target), lanes_(target.lanes(c.dtype)) {
    for (Label l = 0; l < c.label_count(); ++l) (c.is_reduced(l) ? reduced_ : kept_).push_back(l);
  }

  RatedTile run() {
    consider_chains({});
    for (Label vec : kept_) enumerate_over_output(vec);
    for (Label vec : reduced_) enumerate_over_sum(vec);
    return best_;
  }

 private:
  void consider(RegisterTile tile) {
    if (registers_used(c_, target_, tile) > target_.vector_registers) return;
    const std::int64_t sums = (tile.vec_length + lanes_ - 1) / lanes_ * tile.unroll_length;
    if (tile.steps > 1 && sums * tile.steps > kMostUnrolled) return;
    tile.packed = packing(tile);
    const double cycles = tile_cycles(c_, target_, tile);
    if (cycles < best_.cycles) best_ = {tile, cycles};
  }

  // Chains and unrolled steps for a tile of few accumulators.
  void consider_chains(RegisterTile tile) {
    consider(tile);
    if (reduced_.empty() || (tile.vec >= 0 && c_.is_reduced(tile.vec))) return;
    const std::int64_t length = c_.extents[reduced_.back()];
    for (int chains : {2, 4, 8})
      if (length >= 2 * chains) {
        tile.steps = tile.chains = chains;
        consider(tile);
      }
    tile.chains = 1;
    tile.steps = lanes_;  // blocks to transpose along the sum
    if (length >= lanes_ / 2) consider(tile);
  }

  void enumerate_over_output(Label vec) {
    for (int vectors : {1, 2, 3, 4, 6, 8}) {
      RegisterTile tile;
      tile.vec = vec;
      tile.vec_length = std::min<std::int64_t>(c_.extents[vec], vectors * lanes_);
      if (vectors > 1 && c_.extents[vec] <= (vectors - 1) * lanes_) break;
      consider_chains(tile);
      for (Label unroll : kept_) {
        if (unroll == vec) continue;
        const std::int64_t most = (target_.vector_registers - vectors - 1) / vectors;
        for (std::int64_t length :
             {most, most - 1, most - 2, most / 2, std::int64_t{lanes_}, std::int64_t{4}}) {
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

  // Which inputs to copy into panels: those used often enough that are strided along the vec label,
  // do not fit the cache, or whose strides fall into few sets of it.
  unsigned packing(const RegisterTile& tile) const {
    if (c_.in.size() != 2 || tile.vec < 0 || c_.is_reduced(tile.vec) || reduced_.empty()) return 0;
    // Panels serve tiles of two sides: the vec label in one operand, the unroll label in the other.
    auto in_both = [&](Label l) { return c_.in[0].strides[l] != 0 && c_.in[1].strides[l] != 0; };
    if (in_both(tile.vec)) return 0;
    if (tile.unroll >= 0) {
      const std::size_t vec_operand = c_.in[0].strides[tile.vec] != 0 ? 0 : 1;
      if (in_both(tile.unroll) || c_.in[vec_operand].strides[tile.unroll] != 0) return 0;
    }
    unsigned packed = 0;
    for (std::size_t k = 0; k < 2; ++k) {
      const Access& a = c_.in[k];
      const double elements = element_count(c_, a);
      const double reuse = c_.point_count() / elements / static_cast<double>(tile.vec_length);
      const bool by_vec = a.strides[tile.vec] != 0;
      if (!by_vec && (tile.unroll < 0 || a.strides[tile.unroll] == 0)) continue;
      const double uses =
          by_vec ? c_.point_count() / elements / static_cast<double>(tile.unroll_length) : reuse;
      if (uses < kPackReuse / 4) continue;
      if (by_vec ? needs_vec_panels(a, tile, elements) : needs_unroll_panels(a, tile, elements))
        packed |= 1u << k;
    }
    return packed;
  }

  std::int64_t bytes(std::int64_t elements) const { return elements * size_of(c_.dtype); }

  bool needs_vec_panels(const Access& a, const RegisterTile& tile, double elements) const {
    if (a.strides[tile.vec] != 1) return true;
    if (bytes(static_cast<std::int64_t>(elements)) > target_.l2_bytes / 2) return true;
    return falls_into_few_sets(a, reduced_.back(), tile);
  }

  bool needs_unroll_panels(const Access& a, const RegisterTile& tile, double elements) const {
    if (bytes(static_cast<std::int64_t>(elements)) > target_.l2_bytes / 2) return true;
    return std::abs(bytes(a.strides[tile.unroll])) % (kPage / 2) == 0 && tile.unroll_length > 4 &&
           bytes(static_cast<std::int64_t>(elements)) > target_.l1_bytes;
  }

  // The steps of the sum are a multiple of half a page apart and more than L1's ways.
  bool falls_into_few_sets(const Access& a, Label l, const RegisterTile& tile) const {
    const std::int64_t stride = std::abs(bytes(a.strides[l]));
    return stride % (kPage / 2) == 0 && stride > 0 && c_.extents[l] > 16 &&
           bytes(c_.extents[l] * tile.vec_length) > target_.l1_bytes / 4;
  }

  const Contraction& c_;
  const Target& target_;
  std::int64_t lanes_;
  std::vector<Label> kept_, reduced_;
  RatedTile best_{{}, HUGE_VAL};
};

}  // namespace

RatedTile best_register_tile(const Contraction& contraction, const Target& target) {
  return Enumerator(contraction, target).run();
}

}  // namespace einjit
