#include "schedule/choose.hpp"

#include <algorithm>
#include <cmath>

#include "schedule/build.hpp"
#include "schedule/register_tile.hpp"
#include "schedule/traffic.hpp"

namespace einjit {
namespace {

// Plans worth a look: with panels, which side is outside and how much of the sum they hold;
// without, all orders, but a contraction that fits L1 does not care.
std::vector<LoopPlan> plans_for(const Contraction& c, const Target& target,
                                const RegisterTile& tile) {
  std::vector<LoopPlan> plans;
  if (tile.packed) {
    for (LoopOrder order : {LoopOrder::vec_outside, LoopOrder::unroll_outside})
      for (SumCut cut : {SumCut::fits_l1, SumCut::twice_l1, SumCut::whole})
        plans.push_back({order, cut});
    return plans;
  }
  if (byte_count(c) < static_cast<double>(target.l1_bytes)) {
    const bool is_reused = tile.unroll >= 0 && std::ranges::any_of(c.in, [&](const Access& a) {
                             return a.strides[tile.unroll] == 0;
                           });
    return {{is_reused ? LoopOrder::vec_outside : LoopOrder::by_output}};
  }
  for (LoopOrder order : {LoopOrder::vec_outside, LoopOrder::unroll_outside, LoopOrder::by_output,
                          LoopOrder::by_input})
    plans.push_back({order});
  return plans;
}

}  // namespace

Choice choose_schedule(const Contraction& c, const Target& target) {
  Choice best;
  double least = HUGE_VAL;  // cycles
  for (const RatedTile& rated : register_tiles(c, target)) {
    if (rated.cycles > least) break;  // sorted: no later one can win
    for (const LoopPlan& plan : plans_for(c, target, rated.tile)) {
      Schedule schedule = build_schedule(c, target, rated.tile, plan, rated.cycles);
      const double cycles = schedule_cycles(c, schedule, target, rated.cycles);
      if (cycles >= least) continue;
      least = cycles;
      best = {std::move(schedule), rated.tile, 0};
    }
  }
  best.seconds = std::max(least / (target.cycles_per_ns * 1e9), predicted_seconds(c, target, 0));
  return best;
}

}  // namespace einjit
