#include "schedule/choose.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "schedule/alignment.hpp"
#include "schedule/build.hpp"
#include "schedule/carry.hpp"
#include "schedule/hints.hpp"
#include "schedule/register_tile.hpp"
#include "schedule/streams.hpp"
#include "schedule/three_inputs.hpp"
#include "schedule/traffic.hpp"

namespace einjit {
namespace {

constexpr double kIdle = 0.05;          // of idle threads' time: one thread does not care
constexpr std::size_t kFirstPlans = 2;  // of a tile: if they are far behind, so are the others
constexpr double kFarBehind = 1.4;
constexpr double kLeastTraffic = 1.08;  // what a schedule takes at least, against its tiles in L1
constexpr double kCopyCycles = 250;     // to call a copy into or out of a buffer, and its tiles
constexpr double kCallCycles = 70;      // of a unit for each piece that carries lines
constexpr double kByDiagonals = 0.6;    // of a transpose's time, as measured
constexpr double kPieceCycles = 500;    // to start a parallel piece, and to order its stores

bool copies_from_memory(const Problem& p, const RegisterTile& tile) {
  for (std::size_t k = 0; k < p.in.size(); ++k)
    if (tile.packed >> k & 1 && p.is_from_memory(p.in[k])) return true;
  return false;
}

// Whether one of several inputs lies across the rows of the output, along which the tile's vectors
// are.
bool asks_for_blocks(const Problem& p, const RegisterTile& tile) {
  return p.large_inputs > 1 && tile.vec >= 0 && p.c.out.strides[tile.vec] == 1 &&
         rows_asked_by_blocks(p, tile).operand >= 0;
}

// Plans worth a look: with panels, which side is outside and how much of the sum they hold;
// without, all orders, but a contraction that fits L1 does not care.
std::vector<LoopPlan> plans_for(const Problem& p, const RegisterTile& tile, bool has_product) {
  const Contraction& c = p.c;
  std::vector<LoopPlan> plans;
  plans.reserve(12);
  if (tile.packed) {
    // Copies from memory are always better asked for ahead, but products cannot be.
    const bool is_ahead = c.dynamic.empty() && copies_from_memory(p, tile);
    for (LoopOrder order : {LoopOrder::vec_outside, LoopOrder::unroll_outside})
      for (SumCut cut : {SumCut::fits_l1, SumCut::twice_l1, SumCut::whole}) {
        plans.push_back({order, cut, is_ahead});
        if (is_ahead && has_product) plans.push_back({order, cut});
      }
    return plans;
  }
  if (tile.is_by_rows) return {{LoopOrder::by_rows}};
  if (tile.is_kept) return {{LoopOrder::vec_outside}, {LoopOrder::by_input}};
  if (p.bytes < static_cast<double>(p.target.l1_bytes)) {
    const bool is_reused = tile.unroll >= 0 && std::ranges::any_of(c.in, [&](const Access& a) {
                             return a.strides[tile.unroll] == 0;
                           });
    return {{is_reused ? LoopOrder::vec_outside : LoopOrder::by_output}};
  }
  // The first ones decide whether others are tried: carried lines, blocks of rows and pages may be
  // far ahead.
  const bool asks_blocks = asks_for_blocks(p, tile);
  if (may_carry(p, tile) && asks_blocks)
    plans.push_back({LoopOrder::by_asked_blocks, SumCut::fits_l1, false, true});
  if (may_carry(p, tile))
    for (LoopOrder order : {LoopOrder::by_lines, LoopOrder::vec_outside, LoopOrder::unroll_outside,
                            LoopOrder::by_input, LoopOrder::by_output})
      plans.push_back({order, SumCut::fits_l1, false, true});
  if (moves_blocks(p, tile)) plans.push_back({LoopOrder::by_blocks});
  if (asks_blocks) plans.push_back({LoopOrder::by_asked_blocks});
  if (transposes_in_cache(p, tile, kDiagonal)) plans.push_back({LoopOrder::by_diagonals});
  if (sums_parts_of_rows(p, tile)) plans.push_back({LoopOrder::by_sum});
  if (may_buffer_boxes(p, tile)) {
    plans.push_back({LoopOrder::by_runs_written});
    plans.push_back({LoopOrder::by_rows_read});
    plans.push_back({LoopOrder::by_runs_read});
  }
  const bool has_pages = p.target.tlb_pages > 0 && p.reduced.empty() && p.outgrows_caches(p.out);
  if (has_pages) plans.push_back({LoopOrder::by_lines});
  for (LoopOrder order : {LoopOrder::vec_outside, LoopOrder::unroll_outside, LoopOrder::by_output,
                          LoopOrder::by_input})
    plans.push_back({order});
  if (!has_pages) plans.push_back({LoopOrder::by_lines});
  return plans;
}

// What the loops of a schedule cost beside their tiles and their traffic.
class LoopCost {
 public:
  LoopCost(const Contraction& c, const Schedule& schedule, std::vector<std::int64_t>& lengths) {
    lengths = c.extents;
    double trips = 1;  // of all loops so far
    for (const auto& item : schedule.outer) {
      const auto* at = std::get_if<LoopSpec>(&item);
      if (!at) {
        if (!std::holds_alternative<NextSpec>(item)) copies_ += trips;
        continue;
      }
      const LoopSpec& loop = *at;
      std::int64_t& length = lengths[static_cast<std::size_t>(loop.label)];
      const auto times = static_cast<double>((length + loop.step - 1) / loop.step);
      trips *= times;
      if (c.is_reduced(loop.label) && !is_kept(schedule, loop.label)) sum_pieces_ *= times;
      if (loop.is_carried) calls_ = trips;
      if (loop.order == Order::parallel && parallel_pieces_ == 0) {
        parallel_pieces_ = trips;
        idle_ = idle_part(c.extents[static_cast<std::size_t>(loop.label)], loop.step);
      }
      length = std::min(length, loop.step);
    }
  }

  // `stores`: of all sums to what was stored, which every further piece of the sum costs again.
  double cycles(double stores) const {
    return (sum_pieces_ - 1) * stores + copies_ * kCopyCycles + calls_ * kCallCycles;
  }

  // Of cutting work of so many cycles into parallel pieces: threads that idle, every piece's start.
  double parallel_cycles(double work) const {
    const double idle = parallel_pieces_ > 0 ? idle_ : idle_part(1, 1);
    return parallel_pieces_ * kPieceCycles + kIdle * work * idle;
  }

 private:
  static bool is_kept(const Schedule& schedule, Label label) {
    return std::ranges::any_of(
        schedule.tile, [&](const TileVar& var) { return var.label == label && var.is_kept; });
  }

  double sum_pieces_ = 1, copies_ = 0, calls_ = 0;
  double parallel_pieces_ = 0, idle_ = 0;
};

// Tiles of `tiled` with all their plans, by falling promise of the tile, as schedules of `p.c`,
// which `as_schedule_of_c(schedule, cycles)` makes of them where it can, and adds what that costs.
// Nothing beyond `limit` cycles is of interest, or beyond what `keep(schedule, tile, cycles)` then
// says. A tile whose first plans are far behind is not looked at further. Of plans that mean the
// same loops one is looked at.
template <class AsScheduleOfC, class Keep>
void for_each_candidate(const Problem& p, const Problem& tiled, bool has_product, double limit,
                        const AsScheduleOfC& as_schedule_of_c, const Keep& keep) {
  ScheduleBuilder builder(tiled);
  std::vector<Schedule> seen;  // the tile's, then memory for the next ones
  std::vector<std::int64_t> lengths;
  for (const RatedTile& rated : register_tiles(tiled)) {
    if (rated.cycles * kLeastTraffic > limit) break;  // sorted: no later one can win
    const double stores = TileCost(tiled, rated.tile, 0).store_cycles();
    double least = HUGE_VAL;
    std::size_t tried = 0, count = 0;
    for (const LoopPlan& plan : plans_for(tiled, rated.tile, has_product)) {
      if (tried++ >= kFirstPlans && least > limit * kFarBehind) break;
      if (count == seen.size()) seen.emplace_back();
      Schedule& next = seen[count];
      builder.add_loops(rated.tile, plan, rated.cycles, next);
      if (std::any_of(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(count),
                      [&](const Schedule& s) { return s.outer == next.outer; }))
        continue;
      ++count;
      builder.finish(next);
      if (plan.carries_lines && !carried_loop(next)) continue;
      // Lines that are not written past the caches wait there until they are whole: of few rows.
      const bool moves_lines =
          plan.order == LoopOrder::by_blocks || plan.order == LoopOrder::by_asked_blocks;
      if (moves_lines && next.store == Store::cached) continue;
      if (plan.order == LoopOrder::by_diagonals && next.store == Store::cached &&
          overfills_a_set(tiled, rated.tile))
        continue;
      double cycles = 0;
      const Schedule* schedule = as_schedule_of_c(next, cycles);
      if (!schedule) continue;
      const LoopCost loops(p.c, *schedule, lengths);
      cycles += schedule_cycles(p, *schedule, rated.cycles) + loops.cycles(stores);
      if (plan.order == LoopOrder::by_diagonals) cycles *= kByDiagonals;
      if (rated.cycles > kParallelCycles) cycles += loops.parallel_cycles(cycles);
      least = std::min(least, cycles);
      if (cycles < limit) limit = keep(*schedule, rated.tile, cycles);
    }
  }
}

// All candidates; those of three inputs may go by tiles of two.
template <class Keep>
void for_each_schedule(const Contraction& c, const Target& target, Placement placement,
                       const Keep& keep) {
  double limit = HUGE_VAL;
  const Problem p(c, target, placement);
  auto keep_if_better = [&](const Schedule& schedule, const RegisterTile& tile, double cycles) {
    return cycles < limit ? limit = keep(schedule, tile, cycles) : limit;
  };
  for_each_candidate(
      p, p, false, limit, [](const Schedule& schedule, double&) { return &schedule; },
      keep_if_better);
  if (c.in.size() != 3 || c.sum_is_empty() || p.points == 0) return;
  for (const TwoInputs& two : as_two_inputs(c)) {
    Schedule of_three;
    auto as_of_three = [&](const Schedule& schedule, double& cycles) -> const Schedule* {
      of_three = schedule;
      if (!put_in_terms_of_three(of_three, two, c, target)) return nullptr;
      cycles += scaling_cycles(of_three, c, target);
      return &of_three;
    };
    for_each_candidate(p, Problem(two.contraction, target), two.is_product, limit, as_of_three,
                       keep_if_better);
  }
}

double seconds_of(const Contraction& c, const Target& target, double cycles) {
  return std::max(cycles / (target.cycles_per_ns * 1e9), predicted_seconds(c, target, 0));
}

}  // namespace

Choice choose_schedule(const Contraction& c, const Target& target, Placement placement) {
  Choice best;
  double least = HUGE_VAL;
  for_each_schedule(c, target, placement,
                    [&](const Schedule& schedule, const RegisterTile& tile, double cycles) {
                      best = {schedule, tile, 0};
                      return least = cycles;
                    });
  best.seconds = seconds_of(c, target, least);
  return best;
}

std::vector<Choice> best_schedules(const Contraction& c, const Target& target, std::size_t most) {
  std::vector<Choice> best;  // `seconds` holds cycles at first
  for_each_schedule(c, target, Placement::at_line,
                    [&](const Schedule& schedule, const RegisterTile& tile, double cycles) {
                      if (std::ranges::find(best, schedule, &Choice::schedule) == best.end()) {
                        best.insert(std::ranges::upper_bound(best, cycles, {}, &Choice::seconds),
                                    {schedule, tile, cycles});
                        if (best.size() > most) best.pop_back();
                      }
                      return best.size() < most ? HUGE_VAL : best.back().seconds;
                    });
  for (Choice& choice : best) choice.seconds = seconds_of(c, target, choice.seconds);
  return best;
}

}  // namespace einjit
