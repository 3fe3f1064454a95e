#include "schedule/build.hpp"

#include <algorithm>
#include <cstdlib>
#include <ranges>

#include "schedule/hints.hpp"
#include "schedule/panel_blocks.hpp"
#include "schedule/plain_loops.hpp"
#include "schedule/streams.hpp"

namespace einjit {
namespace {

constexpr double kWorthIt = 0.02;       // of idle time: smaller pieces have their cost
constexpr std::int64_t kFewPieces = 8;  // fewer are hard to share out
constexpr double kMostReuse = 32;       // of what memory brings: beyond, arithmetic takes longer
constexpr int kLeastGray = 8;           // steps that are worth an order of their own
constexpr std::int64_t kHalves = 4;     // half vectors of a sum of products

}  // namespace

class ScheduleBuilder::Builder : PlainLoops {
 public:
  using PlainLoops::PlainLoops;

  void add_loops(const RegisterTile& tile, const LoopPlan& plan, double cycles,
                 Schedule& schedule) {
    schedule_ = &schedule;
    schedule.outer.clear();
    tile_ = tile;
    plan_ = plan;
    cycles_ = cycles;
    length_ = c_.extents;
    tile_.packed ? add_blocked_loops() : add_plain_loops();
    if (cycles_ > kParallelCycles && !tile_.is_by_rows) make_some_parallel();
  }

  void finish(Schedule& schedule) {
    schedule_ = &schedule;
    add_tile();
    add_hints(schedule, p_, tile_, length_, plan_.carries_lines);
  }

 private:
  // The outermost loop may be cut finer to make pieces enough for threads.
  void add_block(const std::vector<LoopSpec>& loops, Order outermost = Order::serial) {
    for (std::size_t l = loops.size(); l-- > 0;) {
      const Order order = l + 1 == loops.size() ? outermost : Order::serial;
      std::int64_t step = loops[l].step;
      if (order == Order::parallel) {
        std::int64_t unit = tile_.step_of(loops[l].label);
        if (is_contiguous(loops[l].label)) unit = (2 * line_items() + unit - 1) / unit * unit;
        const std::int64_t extent = c_.extents[loops[l].label];
        const std::int64_t most = (extent / kFewPieces + unit) / unit * unit;
        step = std::min(step, most);
        double least = idle_part(extent, step);
        for (std::int64_t s = step - unit; s > 0 && s * 2 >= most && least > kWorthIt; s -= unit)
          if (const double idle = idle_part(extent, s); idle < least - kWorthIt) {
            step = s;
            least = idle;
          }
      }
      loop(loops[l].label, step, order);
    }
  }

  void add_tile_loops(const std::vector<LoopSpec>& loops) {
    for (auto l = loops.rbegin(); l != loops.rend(); ++l) loop(l->label, tile_.step_of(l->label));
  }

  bool is_packed(int operand) const { return tile_.packed >> operand & 1; }

  void pack(int operand, bool is_ahead) {
    if (is_packed(operand)) schedule_->outer.emplace_back(PackSpec{operand, is_ahead});
  }

  // Goto's five loops over sets of labels: the outer side's block in a share of the last-level
  // cache, of the sum so that a vec panel stays in L1, the inner side's in half of L2.
  void add_blocked_loops() {
    const std::int64_t item = size_of(c_.dtype);
    const bool vec_outer = plan_.order != LoopOrder::unroll_outside;
    const PanelBlocks blocks(p_, tile_, plan_);
    const int vec = blocks.vec_operand(), unroll = 1 - vec;
    blocks.cut_sum(sum_);
    std::int64_t depth = 1;
    for (const LoopSpec& l : sum_) depth *= l.step;
    const int outer_operand = vec_outer ? vec : unroll, inner_operand = 1 - outer_operand;
    const bool inner_is_ahead =
        plan_.is_ahead && is_packed(inner_operand) && p_.is_from_memory(p_.in[inner_operand]);
    const bool outer_is_ahead = plan_.is_ahead && !inner_is_ahead && is_packed(outer_operand);
    // What is asked for ahead lies in L2 beside what was copied.
    const std::int64_t ahead_cache = target_.l2_bytes / 3;
    const std::int64_t inner_cache = inner_is_ahead ? ahead_cache : target_.l2_bytes * 3 / 8;
    const std::int64_t inner = std::max<std::int64_t>(inner_cache / (depth * item), 1);
    // The outer side's block is used once by the whole inner side: if that is small, it need not be
    // large.
    const double inner_bytes = p_.in[inner_operand].elements * static_cast<double>(item);
    const std::int64_t cache = outer_is_ahead ? ahead_cache
                               : inner_bytes < static_cast<double>(target_.l2_bytes) / 4
                                   ? target_.l2_bytes
                                   : target_.l3_bytes / 4;
    const std::int64_t outer = std::max<std::int64_t>(cache / (depth * item), 1);
    blocks.cut_side(PanelBlocks::Side::vec, tile_.vec, vec, vec_outer ? outer : inner, vec_block_);
    blocks.cut_side(PanelBlocks::Side::unroll, tile_.unroll, unroll, vec_outer ? inner : outer,
                    unroll_block_);
    const auto& outside = vec_outer ? vec_block_ : unroll_block_;
    const auto& inside = vec_outer ? unroll_block_ : vec_block_;
    const Order pieces =
        cycles_ > kParallelCycles && !outer_is_ahead ? Order::parallel : Order::serial;
    bool is_parallel = false;
    for (Label l : p_.kept)
      if (blocks.side_of(l) == PanelBlocks::Side::both) {
        if (!is_parallel) is_parallel = chunk(l, 1);
        loop(l, 1);
      }
    add_block(outside);
    add_block(sum_);
    pack(outer_operand, outer_is_ahead);
    add_block(inside, is_parallel ? Order::serial : pieces);
    pack(inner_operand, inner_is_ahead);
    add_tile_loops(outside);
    add_tile_loops(inside);
  }

  // Long sums of few accumulators are added up in blocks, and those whose steps are not in turn: a
  // power of two that leaves few.
  int merge_of(const TileVar& var) const {
    if (var.is_gray) {
      int merge = kMerge;
      while (merge > kLeastGray && length_[var.label] % merge * kLeastGray > length_[var.label])
        merge /= 2;
      return merge;
    }
    const bool is_plain_sum = c_.in.size() == 1 || var.role == Role::vec || tile_.is_kept;
    const std::int64_t each = var.role == Role::vec ? 1 : var.factor / var.chains;  // of a trip
    const std::int64_t trips = std::max<std::int64_t>(kMerge / each, 1);
    return is_plain_sum && length_[var.label] / var.factor >= 2 * trips ? static_cast<int>(trips)
                                                                        : 0;
  }

  // Two arrays in turn come from L2 faster by half vectors, where registers are whole lines: on
  // AMD's Zen 5, a tenth slower on Intel's.
  bool is_dot_from_l2() const {
    return target_.vector_bytes == target_.line_bytes && target_.page_streams == 0 &&
           p_.kept.empty() && p_.reduced.size() == 1 && c_.in.size() == 2 &&
           p_.bytes > 1.5 * static_cast<double>(target_.l1_bytes) &&
           p_.bytes <= static_cast<double>(target_.l2_bytes) / 4 &&
           std::ranges::all_of(p_.in,
                               [&](const Operand& a) { return a.access->strides[tile_.vec] == 1; });
  }

  void add_tile() {
    schedule_->tile.clear();
    auto add = [&](Label l, std::int64_t length) {
      if (l >= 0) schedule_->tile.push_back({l, l == tile_.vec ? Role::vec : Role::unroll, length});
    };
    add(tile_.vec, tile_.vec_length);
    add(tile_.unroll, tile_.unroll_length);
    add(tile_.unroll2, tile_.unroll2_length);
    for (Label l = 0; l < c_.label_count(); ++l)
      if (c_.is_reduced(l) && l != tile_.vec && l != tile_.inner)
        schedule_->tile.push_back({l, Role::reduce});
    if (tile_.inner >= 0) schedule_->tile.push_back({tile_.inner, Role::reduce});
    for (TileVar& var : schedule_->tile)
      if (var.role == Role::vec && c_.is_reduced(var.label)) {
        var.is_kept = tile_.is_kept;
        if (tile_.is_kept) continue;
        if (is_dot_from_l2()) {
          var.is_halved = true;
          var.factor = kHalves * p_.lanes / 2;
        }
        var.merge = merge_of(var);
      }
    if (!schedule_->tile.empty() && schedule_->tile.back().role == Role::reduce) {
      schedule_->tile.back().factor = tile_.steps;
      schedule_->tile.back().chains = tile_.chains;
      schedule_->tile.back().is_gray = tile_.is_gray;
      if (!runs_along_vec(c_, tile_))
        schedule_->tile.back().merge = merge_of(schedule_->tile.back());
    }
  }

  std::vector<LoopSpec> sum_, vec_block_, unroll_block_;  // innermost first
};

SummedRows summed_rows(const Problem& p, Label vec) {
  for (const Operand& a : p.in) {
    const std::vector<std::int64_t>& strides = a.access->strides;
    if (strides[vec] != 1 || !a.is_summed || !p.outgrows_caches(a) || a.elements * 2 <= p.points)
      continue;
    SummedRows rows;
    std::int64_t run = 1;
    double kept = 1, piece = 1;  // elements of the output in a row, and if its last label is cut
    for (const Move& m : a.moves)
      if (p.c.is_reduced(m.label)) {
        if (p.c.is_dynamic(m.label)) return {};
        rows.sum = m.label;  // by rising stride
      }
    for (const Move& m : a.moves) {
      if (m.label == rows.sum) break;
      rows.labels.push_back(m.label);
      if (std::abs(strides[m.label]) == run) run *= p.c.extents[m.label];
      piece = kept;
      if (!p.c.is_reduced(m.label)) kept *= p.extent(m.label);
    }
    const bool stays =
        piece * static_cast<double>(p.item) * 4 <= static_cast<double>(p.target.l2_bytes);
    if (!rows.labels.empty() && kept > 1 && stays && run * p.item >= long_row(p.target) &&
        p.c.extents[rows.sum] >= 2 * kRowsAtOnce) {
      rows.at_once = kRowsAtOnce;
      while (rows.at_once * 4 <= p.c.extents[rows.sum] &&
             rows.at_once * std::abs(strides[rows.sum]) * p.item < kRowsAtOnce * kPage)
        rows.at_once *= 2;
      return rows;
    }
  }
  return {};
}

bool sums_parts_of_rows(const Problem& p, const RegisterTile& tile) {
  if (tile.vec < 0 || p.c.is_reduced(tile.vec) || tile.packed != 0 ||
      p.c.extents[tile.vec] <= tile.vec_length || p.reduced.size() != 1)
    return false;
  return std::ranges::any_of(p.in, [&](const Operand& a) {
    return a.access->strides[tile.vec] == 1 && a.is_summed && p.outgrows_caches(a) &&
           a.elements * kMostReuse >= p.points;
  });
}

bool may_buffer_boxes(const Problem& p, const RegisterTile& tile) {
  const auto& c = p.c;
  return p.reduced.empty() && p.in.size() == 1 && tile.packed == 0 && c.beta == Beta::zero &&
         c.dynamic.empty() && p.outgrows_caches(p.out) && tile.vec >= 0 &&
         p.out.row_alignment < p.target.line_bytes / p.item &&
         std::ranges::find(p.in[0].access->strides, 1) != p.in[0].access->strides.end();
}

double idle_part(std::int64_t extent, std::int64_t step) {
  double idle = 0;
  const std::int64_t whole = extent / step, rest = extent - whole * step;
  for (std::int64_t threads : {2, 4}) {
    const std::int64_t rounds = (whole + threads - 1) / threads;
    const std::int64_t last = whole % threads == 0 ? rest : 0;
    idle += static_cast<double>((rounds * step + last) * threads) / static_cast<double>(extent) - 1;
  }
  return idle / 2;
}

ScheduleBuilder::ScheduleBuilder(const Problem& problem)
    : builder_(std::make_unique<Builder>(problem)) {}

ScheduleBuilder::~ScheduleBuilder() = default;

void ScheduleBuilder::add_loops(const RegisterTile& tile, const LoopPlan& plan, double cycles,
                                Schedule& schedule) {
  builder_->add_loops(tile, plan, cycles, schedule);
}

void ScheduleBuilder::finish(Schedule& schedule) { builder_->finish(schedule); }

}  // namespace einjit
