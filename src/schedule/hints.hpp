// How memory is to be treated: what is written past the caches, and what is asked for ahead.
#pragma once

#include <span>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// The label along which the rows of a copy's input lie, if tiles had better ask for the next block
// of them, of up to kBlockLines lines each, than for lines beside those they read: these are read
// in parts, or the rows are long. -1 if not.
inline constexpr std::int64_t kBlockLines = 16;
Label rows_asked_by_blocks(const Problem& problem, const RegisterTile& tile);

// For a schedule whose loops and tile are complete. `lengths`: of the range of each label inside
// all loops. If it is to carry lines and cannot, no loop of it does.
void add_hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
               std::span<const std::int64_t> lengths, bool carries_lines);

}  // namespace einjit
