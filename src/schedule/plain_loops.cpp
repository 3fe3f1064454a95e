#include "schedule/plain_loops.hpp"

#include <algorithm>
#include <cstdlib>

#include "schedule/hints.hpp"

namespace einjit {
namespace {

constexpr double kChunkCycles = 60e3;  // the least work of a parallel piece
constexpr std::int64_t kMostChunks = 32;
constexpr std::int64_t kChunkBytes = 8192;  // the least run of a piece along a contiguous label
constexpr std::int64_t kLinesWritten = 8;   // of a row of the output, one after the other
constexpr std::int64_t kBlockWritten = 24;  // lines: wide enough for whole pages of memory
constexpr std::int64_t kBlockRead = 4;      // or as many more as there are fewer to write
constexpr std::int64_t kMostRead = 16;
constexpr std::int64_t kManyPages = 2;   // times as many as the TLB holds
constexpr std::int64_t kBoxesInL2 = 16;  // of what is made in a buffer
constexpr std::int64_t kAskedRun = 512;  // bytes of an input's row, in a block that is asked for
constexpr std::int64_t kCarriedRun = 2048;
constexpr std::int64_t kWholeRows = 5;   // of the input, against two lines of each
constexpr std::int64_t kLongRun = 1024;  // bytes of the input, in such a box

}  // namespace

void PlainLoops::make_some_parallel() {
  LoopSpec* outermost = nullptr;
  for (auto& item : schedule_->outer) {
    auto* loop = std::get_if<LoopSpec>(&item);
    if (!loop) continue;
    if (loop->order == Order::parallel) return;
    if (!outermost && !c_.is_reduced(loop->label)) outermost = loop;
  }
  if (outermost) outermost->order = Order::parallel;
}

bool PlainLoops::is_in_tile(Label l) const {
  return l == tile_.vec || l == tile_.unroll || l == tile_.unroll2;
}

void PlainLoops::loop(Label l, std::int64_t step, Order order) {
  if (step >= length_[l] && (!c_.is_dynamic(l) || has_loop(l, step))) return;
  schedule_->outer.emplace_back(LoopSpec{l, step, order});
  length_[l] = std::min(length_[l], step);
}

bool PlainLoops::has_loop(Label l, std::int64_t step) const {
  return std::ranges::any_of(schedule_->outer, [&](const auto& item) {
    const auto* loop = std::get_if<LoopSpec>(&item);
    return loop && loop->label == l && loop->step <= step;
  });
}

bool PlainLoops::is_contiguous(Label l) const {
  return std::ranges::any_of(c_.in, [&](const Access& a) { return a.strides[l] == 1; });
}

bool PlainLoops::chunk(Label l, std::int64_t step) {
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

const Access& PlainLoops::largest_input() const {
  return *std::ranges::max_element(p_.in, {}, &Operand::elements)->access;
}

void PlainLoops::order_labels() {
  std::vector<Label>& labels = order_;
  labels.clear();
  for (Label l : p_.kept)
    if (!is_in_tile(l)) labels.push_back(l);
  const auto outside = static_cast<std::ptrdiff_t>(labels.size());
  if (tile_.is_kept)
    for (Label l : p_.reduced)
      if (l != tile_.vec && l != tile_.inner) labels.push_back(l);
  for (Label l : {tile_.vec, tile_.unroll, tile_.unroll2})
    if (l >= 0 && (!c_.is_reduced(l) || tile_.is_kept)) labels.push_back(l);
  if (plan_.order == LoopOrder::unroll_outside)
    std::reverse(labels.begin() + outside, labels.end());
  if (plan_.order == LoopOrder::by_output)
    std::ranges::sort(labels);  // canonical: by output stride
  const bool by_strides = plan_.order == LoopOrder::by_input || plan_.order == LoopOrder::by_lines;
  if (by_strides && !c_.in.empty()) {
    const Access& a = largest_input();
    std::ranges::stable_sort(labels, std::greater{},
                             [&](Label l) { return std::abs(a.strides[l]); });
  }
}

void PlainLoops::add_plain_loops() {
  order_labels();
  bool chunked = false;
  if (plan_.order == LoopOrder::by_lines) chunked = add_lines();
  if (plan_.order == LoopOrder::by_blocks) return add_moved_blocks();
  if (plan_.order == LoopOrder::by_asked_blocks) return add_asked_blocks();
  if (plan_.order == LoopOrder::by_diagonals) return add_diagonals();
  if (plan_.order == LoopOrder::by_rows) return add_rows();
  if (plan_.order == LoopOrder::by_runs_written || plan_.order == LoopOrder::by_rows_read ||
      plan_.order == LoopOrder::by_runs_read)
    return add_boxes();
  if (p_.kept.empty() || only_sum_is_left()) share_sum();
  if (plan_.order == LoopOrder::by_sum) {
    add_blocks_of_rows();
    chunked = true;
    // Every block is shared out anew: in few pieces.
    if (cycles_ > kParallelCycles && c_.extents[tile_.vec] * p_.item >= 2 * kChunkBytes)
      loop(tile_.vec, even_step(tile_.vec, kChunkBytes / p_.item), Order::parallel);
  }
  for (Label l : order_)
    if (!chunked && !c_.is_reduced(l)) chunked = chunk(l, tile_.step_of(l));
  add_sum_blocks();
  for (Label l : order_) loop(l, tile_.step_of(l));
}

bool PlainLoops::add_lines() {
  const auto row = std::ranges::find_if(order_, [&](Label l) { return c_.out.strides[l] == 1; });
  if (row == order_.end()) return false;
  const Label label = *row;
  const std::int64_t unit = tile_.step_of(label);
  const std::int64_t most = std::min(kLinesWritten * line_items(), rows_in_strip(label));
  const std::int64_t step = (most + unit - 1) / unit * unit;
  if (step >= c_.extents[label] && target_.page_streams > 0) {
    continue_rows(label);
    return false;
  }
  std::rotate(row, row + 1, order_.end());
  if (step >= c_.extents[label]) return false;
  const bool is_parallel = cycles_ > kParallelCycles;
  cut_pages(label);
  loop(label, step, is_parallel ? Order::parallel : Order::serial);
  if (const Label along = rows_asked_by_blocks(p_, tile_).row; along >= 0)
    loop(along, even_step(along, kBlockLines * line_items()));
  return is_parallel;
}

void PlainLoops::continue_rows(Label row) {
  const auto next = std::ranges::find_if(
      order_, [&](Label l) { return !is_in_tile(l) && c_.out.strides[l] == c_.extents[row]; });
  const auto last = std::ranges::find_if(order_, [&](Label l) { return is_in_tile(l); });
  if (last - next > 2) std::rotate(next, next + 1, last - 1);
}

std::int64_t PlainLoops::rows_in_strip(Label row) const {
  if (target_.page_streams == 0 || c_.in.empty()) return c_.extents[row];
  const Access& a = largest_input();
  if (a.strides[row] == 0) return c_.extents[row];
  return std::min(target_.page_streams, rows_in_sets(a, row));
}

std::int64_t PlainLoops::rows_in_sets(const Access& a, Label row) const {
  const std::int64_t stride = a.strides[row] * p_.item;
  const std::int64_t apart = stride & -stride;  // of pages end to end: L2 has so many sets between
  return std::max<std::int64_t>(target_.l2_bytes / apart, 1);
}

void PlainLoops::cut_pages(Label row) {
  if (target_.tlb_pages == 0) return;
  const auto elements = static_cast<std::int64_t>(p_.out.elements);
  std::int64_t pages = std::min(elements * p_.item / kPage, elements / c_.extents[row]);
  // Where lines are carried, whole rows of the input are worth more.
  if (plan_.carries_lines && pages <= kManyPages * target_.tlb_pages) return;
  for (Label l : order_) {
    if (l == row || pages <= target_.tlb_pages) continue;
    // Entries that share no line of the table take the room of others, and of the input's.
    const bool is_apart = c_.out.strides[l] * p_.item >= kPagesTogether * kPage;
    const std::int64_t most = is_apart ? (target_.tlb_pages + 1) / 2 : target_.tlb_pages;
    const std::int64_t pieces = (pages + most - 1) / most;
    const std::int64_t step = even_step(l, std::max(c_.extents[l] / pieces, tile_.step_of(l)));
    pages = pages * step / c_.extents[l];
    loop(l, step);
  }
}

void PlainLoops::add_moved_blocks() {
  const Label row = *std::ranges::find_if(order_, [&](Label l) { return c_.out.strides[l] == 1; });
  const Access& a = largest_input();
  const Label column = *std::ranges::find_if(order_, [&](Label l) { return a.strides[l] == 1; });
  const Order order = cycles_ > kParallelCycles ? Order::parallel : Order::serial;
  loop(row, even_step(row, kBlockWritten * line_items()), order);
  for (Label l : order_)
    if (l != row && l != column) loop(l, tile_.step_of(l));
  const std::int64_t written = std::max<std::int64_t>(length_[row] / line_items(), 1);
  const std::int64_t read = std::clamp(kBlockWritten * kBlockRead / written, kBlockRead, kMostRead);
  loop(column, even_step(column, read * line_items()));
  loop(row, tile_.step_of(row));
  loop(column, tile_.step_of(column));
}

void PlainLoops::add_asked_blocks() {
  const auto [operand, column] = rows_asked_by_blocks(p_, tile_);
  Order order = cycles_ > kParallelCycles ? Order::parallel : Order::serial;
  for (Label l : order_) {
    if (l == tile_.vec || l == column) continue;
    loop(l, tile_.step_of(l), order);
    if (length_[l] < c_.extents[l]) order = Order::serial;
  }
  // Tiles that carry lines take a piece of all rows each time, of more of them then.
  const std::int64_t rows = (plan_.carries_lines ? kCarriedRun : kAskedRun) / p_.item;
  loop(column, even_step(column, rows), order);
  // The next block's part lies in L2 beside this one's.
  const Access& a = c_.in[static_cast<std::size_t>(operand)];
  const std::int64_t most = std::min(2 * kAskedRun / p_.item, rows_in_sets(a, tile_.vec) / 2);
  if (!plan_.carries_lines)
    loop(tile_.vec, even_step(tile_.vec, std::max(most, tile_.step_of(tile_.vec))));
  if (plan_.carries_lines) loop(tile_.vec, tile_.step_of(tile_.vec));
  schedule_->outer.emplace_back(NextSpec{operand});
  loop(column, tile_.step_of(column));
  loop(tile_.vec, tile_.step_of(tile_.vec));
}

void PlainLoops::add_boxes() {
  const std::vector<std::int64_t> box = box_lengths();
  const Access& a = largest_input();
  std::vector<Label> labels = p_.kept;
  std::ranges::stable_sort(labels, std::greater{}, [&](Label l) { return std::abs(a.strides[l]); });
  bool chunked = false;
  for (Label l : labels)
    if (!chunked) chunked = chunk(l, box[l]);
  for (Label l : labels) loop(l, box[l]);
  schedule_->outer.emplace_back(NextSpec{0});
  schedule_->outer.emplace_back(BufferSpec{});
  for (Label l : order_) loop(l, tile_.step_of(l));
}

std::vector<std::int64_t> PlainLoops::box_lengths() {
  const Access& a = largest_input();
  std::vector<std::int64_t> box(c_.extents.size(), 1);
  std::int64_t elements = 1;
  const std::int64_t most = target_.l2_bytes / kBoxesInL2 / p_.item;
  auto lengthen = [&](Label l, std::int64_t wanted) {
    const std::int64_t unit = tile_.step_of(l), others = elements / box[l];
    std::int64_t length = std::min({c_.extents[l], wanted, std::max(most / others, unit)});
    if (length < c_.extents[l]) length = std::max(length / unit * unit, unit);
    if (length <= box[l]) return;
    box[l] = std::min(length, c_.extents[l]);
    elements = others * box[l];
  };
  for (Label l : p_.kept) lengthen(l, tile_.step_of(l));
  // Along the rows of an array, as long as they go on: whole ones, if they are less than so many
  // times what is wanted.
  auto along = [&](const Access& rows, std::int64_t wanted, std::int64_t whole) {
    std::int64_t run = 1;
    for (bool goes_on = true; goes_on && run < wanted;) {
      const auto next = std::ranges::find(rows.strides, run);
      if (next == rows.strides.end()) break;
      const auto l = static_cast<Label>(next - rows.strides.begin());
      if (c_.extents[l] == 1) break;
      const std::int64_t more = (wanted + run - 1) / run;
      lengthen(l, whole * more > c_.extents[l] ? c_.extents[l] : more);
      goes_on = box[l] == c_.extents[l];
      run *= c_.extents[l];
    }
  };
  if (plan_.order == LoopOrder::by_runs_read)
    along(a, kLongRun / p_.item, 2);
  else
    along(a, 2 * line_items(), plan_.order == LoopOrder::by_rows_read ? kWholeRows : 2);
  // Of the output's as much as L1 has room for: longer runs are hardly better.
  along(c_.out, target_.l1_bytes / 2 / p_.item, 2);
  return box;
}

void PlainLoops::add_diagonals() {
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

std::int64_t PlainLoops::even_step(Label l, std::int64_t most) const {
  const std::int64_t extent = c_.extents[l], unit = tile_.step_of(l);
  const std::int64_t pieces = (extent + most - 1) / most;
  return ((extent + pieces - 1) / pieces + unit - 1) / unit * unit;
}

}  // namespace einjit
