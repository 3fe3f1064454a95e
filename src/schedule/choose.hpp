// Floor 4: choosing a schedule. Register tiles are enumerated from the labels' strides, extents and
// operand sets and compared by the cost model; packing and cache blocking follow from the tile and
// the target's caches, as in the analytical model of BLIS (Low et al., TOMS 43(2), 2016).
#pragma once

#include <vector>

#include "cost/tile_cost.hpp"
#include "einjit/target.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

struct Choice {
  Schedule schedule;
  RegisterTile tile;
  double seconds;  // predicted, one core
};

// For a canonical contraction whose output is not empty.
Choice choose_schedule(const Contraction& contraction, const Target& target,
                       Placement placement = Placement::at_line);

// The `most` schedules with the least predicted time, best first, no two equal: what tuning tries.
std::vector<Choice> best_schedules(const Contraction& contraction, const Target& target,
                                   std::size_t most);

}  // namespace einjit
