// How memory is to be treated: what is written past the caches, and what is asked for ahead.
#pragma once

#include <span>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// For a schedule whose loops and tile are complete. `lengths`: of the range of each label inside
// all loops.
void add_hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
               std::span<const std::int64_t> lengths);

}  // namespace einjit
