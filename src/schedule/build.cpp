#include "schedule/build.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <ranges>

#include "schedule/hints.hpp"
#include "schedule/panel_blocks.hpp"

namespace einjit {
namespace {

constexpr double kChunkCycles = 60e3;  // the least work of a parallel piece
constexpr std::int64_t kMostChunks = 32;
constexpr double kWorthIt = 0.02;           // of idle time: smaller pieces have their cost
constexpr std::int64_t kFewPieces = 8;      // fewer are hard to share out
constexpr std::int64_t kChunkBytes = 8192;  // the least run of a piece along a contiguous label
constexpr std::int64_t kSumBlock = 16;     // rows summed at once when each lies on pages of its own
constexpr std::int64_t kMostRows = 64;     // of a block that is summed before the next
constexpr double kMostReuse = 32;          // of what memory brings: beyond, arithmetic takes longer
constexpr int kMerge = 32;                 // additions to an accumulator
constexpr std::int64_t kRowPiece = 16384;  // bytes of rows that are summed
constexpr std::int64_t kLongRow = 65536;   // that is cut into such pieces
constexpr std::int64_t kSumPieces = 16;    // of a sum, that may run at the same time
constexpr std::int64_t kMostBlocks = 256;  // of a sum, added one after the other
constexpr int kLeastGray = 8;              // steps that are worth an order of their own
constexpr std::int64_t kHalves = 4;        // half vectors of a sum of products
constexpr std::int64_t kLinesWritten = 8;  // of a row of the output, one after the other
constexpr std::int64_t kBlockWritten = 24;  // lines: wide enough for whole pages of memory
constexpr std::int64_t kBlockRead = 4;      // or as many more as there are fewer to write
constexpr std::int64_t kMostRead = 16;

}  // namespace

class ScheduleBuilder::Builder {
 public:
  explicit Builder(const Problem& problem) : p_(problem), c_(p_.c), target_(p_.target) {}

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
    add_hints(schedule, p_, tile_, length_);
  }

 private:
  // Large work that no rule has cut for threads yet: the outermost loop over an output label.
  void make_some_parallel() {
    LoopSpec* outermost = nullptr;
    for (auto& item : schedule_->outer) {
      auto* loop = std::get_if<LoopSpec>(&item);
      if (!loop) continue;
      if (loop->order == Order::parallel) return;
      if (!outermost && !c_.is_reduced(loop->label)) outermost = loop;
    }
    if (outermost) outermost->order = Order::parallel;
  }

  bool is_in_tile(Label l) const {
    return l == tile_.vec || l == tile_.unroll || l == tile_.unroll2;
  }

  // A loop of one piece is left out, unless other extents have more.
  void loop(Label l, std::int64_t step, Order order = Order::serial) {
    if (step >= length_[l] && (!c_.is_dynamic(l) || has_loop(l, step))) return;
    schedule_->outer.emplace_back(LoopSpec{l, step, order});
    length_[l] = std::min(length_[l], step);
  }

  bool has_loop(Label l, std::int64_t step) const {
    return std::ranges::any_of(schedule_->outer, [&](const auto& item) {
      const auto* loop = std::get_if<LoopSpec>(&item);
      return loop && loop->label == l && loop->step <= step;
    });
  }

  bool is_contiguous(Label l) const {
    return std::ranges::any_of(c_.in, [&](const Access& a) { return a.strides[l] == 1; });
  }

  // Cuts the label's range into chunks that can run at the same time, if there is work enough.
  bool chunk(Label l, std::int64_t step) {
    if (cycles_ < kParallelCycles || c_.extents[l] <= step) return false;
    const std::int64_t most =
        std::min<std::int64_t>(kMostChunks, static_cast<std::int64_t>(cycles_ / kChunkCycles));
    std::int64_t length = (c_.extents[l] + most - 1) / most;
    if (is_contiguous(l)) length = std::max(length, kChunkBytes / size_of(c_.dtype));
    length = (length + step - 1) / step * step;
    // Equal pieces are one kind of code.
    for (std::int64_t even = length; even * 2 <= length * 3; even += step)
      if (c_.extents[l] % even == 0) {
        length = even;
        break;
      }
    if (length >= c_.extents[l]) return false;
    loop(l, length, Order::parallel);
    return true;
  }

  const Access& largest_input() const {
    return *std::ranges::max_element(p_.in, {}, &Operand::elements)->access;
  }

  void order_labels() {
    std::vector<Label>& labels = order_;
    labels.clear();
    for (Label l : p_.kept)
      if (!is_in_tile(l)) labels.push_back(l);
    const auto outside = static_cast<std::ptrdiff_t>(labels.size());
    for (Label l : {tile_.vec, tile_.unroll, tile_.unroll2})
      if (l >= 0 && !c_.is_reduced(l)) labels.push_back(l);
    if (plan_.order == LoopOrder::unroll_outside)
      std::reverse(labels.begin() + outside, labels.end());
    if (plan_.order == LoopOrder::by_output)
      std::ranges::sort(labels);  // canonical: by output stride
    const bool by_strides =
        plan_.order == LoopOrder::by_input || plan_.order == LoopOrder::by_lines;
    if (by_strides && !c_.in.empty()) {
      const Access& a = largest_input();
      std::ranges::stable_sort(labels, std::greater{},
                               [&](Label l) { return std::abs(a.strides[l]); });
    }
  }

  void add_plain_loops() {
    order_labels();
    bool chunked = false;
    if (plan_.order == LoopOrder::by_lines) chunked = add_lines();
    if (plan_.order == LoopOrder::by_blocks) return add_moved_blocks();
    if (plan_.order == LoopOrder::by_diagonals) return add_diagonals();
    if (plan_.order == LoopOrder::by_rows) return add_rows();
    if (plan_.order == LoopOrder::by_sum) {
      add_blocks_of_rows();
      chunked = true;
    }
    for (Label l : order_)
      if (!chunked) chunked = chunk(l, tile_.step_of(l));
    add_sum_blocks();
    for (Label l : order_) loop(l, tile_.step_of(l));
  }

  // Cuts the output's contiguous label into a few lines and moves it innermost: they are written
  // one after the other. True if it has become parallel.
  bool add_lines() {
    const auto row = std::ranges::find_if(order_, [&](Label l) { return c_.out.strides[l] == 1; });
    if (row == order_.end()) return false;
    const Label label = *row;
    std::rotate(row, row + 1, order_.end());
    const std::int64_t unit = tile_.step_of(label);
    const std::int64_t step = (kLinesWritten * line_items() + unit - 1) / unit * unit;
    if (step >= c_.extents[label]) return false;
    const bool is_parallel = cycles_ > kParallelCycles;
    loop(label, step, is_parallel ? Order::parallel : Order::serial);
    return is_parallel;
  }

  // Some lines of rows of the output by a few lines of rows of the input, tiles going along these:
  // memory reads and writes several lines of a page at a time, and of few pages.
  void add_moved_blocks() {
    const Label row =
        *std::ranges::find_if(order_, [&](Label l) { return c_.out.strides[l] == 1; });
    const Access& a = largest_input();
    const Label column = *std::ranges::find_if(order_, [&](Label l) { return a.strides[l] == 1; });
    const Order order = cycles_ > kParallelCycles ? Order::parallel : Order::serial;
    loop(row, even_step(row, kBlockWritten * line_items()), order);
    for (Label l : order_)
      if (l != row && l != column) loop(l, tile_.step_of(l));
    const std::int64_t written = std::max<std::int64_t>(length_[row] / line_items(), 1);
    const std::int64_t read =
        std::clamp(kBlockWritten * kBlockRead / written, kBlockRead, kMostRead);
    loop(column, even_step(column, read * line_items()));
    loop(row, tile_.step_of(row));
    loop(column, tile_.step_of(column));
  }

  // Blocks of tiles, each by its diagonals.
  void add_diagonals() {
    const bool vec_is_row = c_.out.strides[tile_.vec] == 1;
    const Label row = vec_is_row ? tile_.vec : tile_.unroll;
    const Label column = vec_is_row ? tile_.unroll : tile_.vec;
    Order order = cycles_ > kParallelCycles ? Order::parallel : Order::serial;
    for (Label l : order_) {
      if (l == row || l == column) continue;
      loop(l, tile_.step_of(l), order);
      if (length_[l] < c_.extents[l]) order = Order::serial;
    }
    loop(column, kDiagonal * tile_.step_of(column), order);
    loop(row, kDiagonal * tile_.step_of(row));
    loop(column, tile_.step_of(column));
    loop(row, tile_.step_of(row));
    std::get<LoopSpec>(schedule_->outer.back()).is_diagonal = true;
  }

  // Whole tiles, at most as many elements as `most` and few in the last piece.
  std::int64_t even_step(Label l, std::int64_t most) const {
    const std::int64_t extent = c_.extents[l], unit = tile_.step_of(l);
    const std::int64_t pieces = (extent + most - 1) / most;
    return ((extent + pieces - 1) / pieces + unit - 1) / unit * unit;
  }

  // Whole rows, a few at a time, are what the hardware follows best; their sums stay in L1.
  void add_rows() {
    Order order = cycles_ > kParallelCycles ? Order::parallel : Order::serial;
    auto share_out = [&](Label l, std::int64_t step) {
      loop(l, step, order);
      if (length_[l] < c_.extents[l]) order = Order::serial;
    };
    for (Label l : order_)
      if (l != tile_.vec) share_out(l, 1);
    if (c_.extents[tile_.vec] * p_.item >= kLongRow)
      share_out(tile_.vec, even_step(tile_.vec, kRowPiece / p_.item));
    add_levels(p_.reduced.front(), tile_.steps, order);
    loop(tile_.vec, tile_.vec_length);
  }

  // A loop over a sum, inside buffers for blocks of its steps, blocks of these and so on, of few
  // additions each.
  void add_levels(Label sum, std::int64_t step, Order order) {
    auto block_within = [&](std::int64_t length) {
      std::int64_t block = step;
      while (block * kMerge < length) block *= kMerge;
      return block;
    };
    std::int64_t outside = length_[sum];
    auto level = [&](std::int64_t block) {
      loop(sum, block, order);
      schedule_->outer.emplace_back(BufferSpec{});
      order = Order::serial;
      outside = block;
    };
    if (order == Order::parallel) {
      const std::int64_t piece = (outside + kSumPieces - 1) / kSumPieces;
      const std::int64_t block = block_within(piece);
      if (piece > block) level((piece + block - 1) / block * block);
    }
    while (block_within(outside) > step) level(block_within(outside));
    loop(sum, step);
  }

  // The same for long sums of nothing but elements: in those of products, errors of these weigh as
  // much, and buffers cost.
  void loop_over_sum(Label sum, std::int64_t step) {
    if (c_.in.size() == 1 && !c_.is_dynamic(sum) && length_[sum] > step * kMostBlocks)
      add_levels(sum, step, Order::serial);
    else
      loop(sum, step);
  }

  // Blocks of rows that stay a small part of L2, with the next one beside them.
  void add_blocks_of_rows() {
    for (const Operand& a : p_.in) {
      if (a.access->strides[tile_.vec] != 1 || !p_.outgrows_caches(a)) continue;
      const std::int64_t row = c_.extents[tile_.vec] * p_.item;
      for (Label l : p_.reduced)
        if (a.access->strides[l] != 0)
          return loop_over_sum(l, std::clamp(target_.l2_bytes / 6 / row, kSumBlock, kMostRows));
    }
  }

  // A sum over rows far apart touches a page a row: a few rows at a time, all along the vec label.
  void add_sum_blocks() {
    if (tile_.is_gray || tile_.vec < 0 || c_.is_reduced(tile_.vec)) return;
    for (const Operand& a : p_.in) {
      const bool is_read_once = a.elements * 4 > p_.points;
      if (!is_read_once || a.access->strides[tile_.vec] != 1) continue;
      for (Label l : p_.reduced)
        if (std::abs(a.access->strides[l]) * p_.item >= kPage) loop_over_sum(l, kSumBlock);
    }
  }

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

  std::int64_t line_items() const { return target_.line_bytes / size_of(c_.dtype); }

  // Long sums of few accumulators are added up in blocks, and those whose steps are not in turn: a
  // power of two that leaves few.
  int merge_of(const TileVar& var) const {
    if (var.is_gray) {
      int merge = kMerge;
      while (merge > kLeastGray && length_[var.label] % merge * kLeastGray > length_[var.label])
        merge /= 2;
      return merge;
    }
    const bool is_plain_sum = c_.in.size() == 1 || var.role == Role::vec;
    const std::int64_t each = var.role == Role::vec ? 1 : var.factor / var.chains;  // of a trip
    const std::int64_t trips = std::max<std::int64_t>(kMerge / each, 1);
    return is_plain_sum && length_[var.label] / var.factor >= 2 * trips ? static_cast<int>(trips)
                                                                        : 0;
  }

  // Two arrays in turn come from L2 faster by half vectors, where registers are whole lines.
  bool is_dot_from_l2() const {
    return target_.vector_bytes == target_.line_bytes && p_.kept.empty() &&
           p_.reduced.size() == 1 && c_.in.size() == 2 &&
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
      if (tile_.vec < 0 || !c_.is_reduced(tile_.vec))
        schedule_->tile.back().merge = merge_of(schedule_->tile.back());
    }
  }

  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  RegisterTile tile_;
  LoopPlan plan_;
  double cycles_;
  std::vector<std::int64_t> length_;  // of each label's pieces so far
  std::vector<Label> order_;
  std::vector<LoopSpec> sum_, vec_block_, unroll_block_;  // innermost first
  Schedule* schedule_ = nullptr;
};

bool sums_whole_rows(const Problem& p, Label vec) {
  if (p.reduced.size() != 1 || p.c.extents[vec] * p.item < kPage ||
      p.c.is_dynamic(p.reduced.front()))
    return false;
  return std::ranges::any_of(p.in, [&](const Operand& a) {
    return a.access->strides[vec] == 1 && a.is_summed && p.outgrows_caches(a) &&
           a.elements * 2 > p.points;
  });
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
