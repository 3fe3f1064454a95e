#include "schedule/tile_kinds.hpp"

#include <algorithm>

#include "schedule/build.hpp"
#include "schedule/carry.hpp"
#include "schedule/streams.hpp"

namespace einjit {
namespace {

bool has_turned_inputs(const Problem& p) {
  auto is_read_once_along_rows = [&](const Operand& a) {
    return a.elements * 2 > p.points && !a.moves.empty() && a.moves[0].stride == 1;
  };
  return p.in.size() == 2 && std::ranges::all_of(p.in, is_read_once_along_rows) &&
         p.in[0].moves[0].label != p.in[1].moves[0].label;
}

}  // namespace

TileKinds::TileKinds(const Problem& problem)
    : p_(problem),
      c_(p_.c),
      target_(p_.target),
      lanes_(p_.lanes),
      are_turned_(has_turned_inputs(problem)) {}

std::uint64_t TileKinds::of(const RegisterTile& tile) const {
  auto number = [](Label l) { return static_cast<std::uint64_t>(l + 1); };
  return number(tile.vec) << 48 | number(tile.unroll) << 32 | number(tile.unroll2) << 16 |
         (are_turned_ && tile.steps * 2 >= kTurnedSteps && tile.chains == 1 ? 1u << 10 : 0u) |
         (tile.is_kept ? 1u << 9 : 0u) | (carries_strips(tile) ? 1u << 8 : 0u) |
         (writes_pairs(tile) ? 1u << 7 : 0u) | (uses_rows_once(tile) ? 1u << 6 : 0u) |
         (tile.is_by_rows ? 1u << 5 : 0u) | (moves_blocks(p_, tile) ? 1u << 4 : 0u) |
         tile.packed << 2 | (tile.vec_length <= lanes_ ? 2u : 0u) | (thrashes(tile) ? 1u : 0u);
}

bool TileKinds::writes_pairs(const RegisterTile& tile) const {
  return target_.page_streams > 0 && p_.reduced.empty() && tile.vec >= 0 &&
         c_.out.strides[tile.vec] == 1 && tile.vec_length * p_.item == 2 * target_.line_bytes;
}

bool TileKinds::carries_strips(const RegisterTile& tile) const {
  return tile.vec_length == target_.page_streams && may_carry(p_, tile);
}

bool TileKinds::uses_rows_once(const RegisterTile& tile) const {
  return tile.unroll >= 0 && tile.unroll_length == c_.extents[tile.unroll] &&
         tile.vec_length > lanes_ && sums_parts_of_rows(p_, tile);
}

bool TileKinds::thrashes(const RegisterTile& tile) const {
  if (tile.unroll < 0 || tile.unroll_length <= l1_ways(target_) - kOtherRows) return false;
  if (p_.reduced.empty() && c_.out.strides[tile.unroll] * p_.item % kPage == 0) return true;
  for (std::size_t k = 0; k < c_.in.size(); ++k)
    if (c_.in[k].strides[tile.unroll] != 0 && !(tile.packed >> k & 1) &&
        c_.in[k].strides[tile.unroll] * size_of(c_.dtype) % kPage == 0)
      return true;
  return false;
}

}  // namespace einjit
