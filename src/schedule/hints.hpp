// How memory is to be treated: what is written past the caches, and what is asked for ahead.
#pragma once

#include <span>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// An input of a copy, or of a product of which nothing is summed, whose rows lie across those of
// the output, and their label, if tiles had better ask for the next block of them, of up to
// kBlockLines lines each, than for lines beside those they read: these are read in parts, or the
// rows are long.
struct AskedRows {
  int operand = -1;  // -1: there is none
  Label row = -1;
};
inline constexpr std::int64_t kBlockLines = 16;
AskedRows rows_asked_by_blocks(const Problem& problem, const RegisterTile& tile);

// For a schedule whose loops and tile are complete. `lengths`: of the range of each label inside
// all loops. If it is to carry lines and cannot, no loop of it does.
void add_hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
               std::span<const std::int64_t> lengths, bool carries_lines);

}  // namespace einjit
