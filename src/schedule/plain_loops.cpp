#include "schedule/plain_loops.hpp"

#include <algorithm>
#include <cstdlib>
#include <ranges>

#include "schedule/hints.hpp"

namespace einjit {
namespace {

constexpr double kChunkCycles = 60e3;  // the least work of a parallel piece
constexpr std::int64_t kMostChunks = 32;
constexpr std::int64_t kChunkBytes = 8192;  // the least run of a piece along a contiguous label
constexpr std::int64_t kSumBlock = 16;  // rows summed at once when each lies on pages of its own
constexpr std::int64_t kMostRows = 64;  // of a block that is summed before the next
constexpr std::int64_t kTurnedBlock = 512;  // of a sum along which another input's rows lie
constexpr std::int64_t kRowPiece = 16384;   // bytes of rows that are summed
constexpr std::int64_t kLongRow = 65536;    // that is cut into such pieces
constexpr std::int64_t kSumPieces = 16;     // of a sum, that may run at the same time
constexpr std::int64_t kSumParts = 2;       // of such a piece
constexpr std::int64_t kMostBlocks = 256;   // of a sum, added one after the other
constexpr std::int64_t kLinesWritten = 8;   // of a row of the output, one after the other
constexpr std::int64_t kBlockWritten = 24;  // lines: wide enough for whole pages of memory
constexpr std::int64_t kBlockRead = 4;      // or as many more as there are fewer to write
constexpr std::int64_t kMostRead = 16;
constexpr std::int64_t kManyPages = 2;   // times as many as the TLB holds
constexpr std::int64_t kBoxesInL2 = 16;  // of what is made in a buffer
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
  if (plan_.order == LoopOrder::by_diagonals) return add_diagonals();
  if (plan_.order == LoopOrder::by_rows) return add_rows();
  if (plan_.order == LoopOrder::by_runs_written || plan_.order == LoopOrder::by_runs_read)
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

bool PlainLoops::only_sum_is_left() const {
  return tile_.vec >= 0 && !c_.is_reduced(tile_.vec) &&
         std::ranges::all_of(
             p_.kept,
             [&](Label l) { return tile_.step_of(l) >= c_.extents[l] && !c_.is_dynamic(l); }) &&
         std::ranges::none_of(p_.in, [&](const Operand& a) { return is_turned(a); });
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
  if (const Label along = rows_asked_by_blocks(p_, tile_); along >= 0)
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
  const std::int64_t stride = largest_input().strides[row] * p_.item;
  if (stride == 0) return c_.extents[row];
  const std::int64_t apart = stride & -stride;  // of pages end to end: L2 has so many sets between
  return std::min(target_.page_streams, std::max<std::int64_t>(target_.l2_bytes / apart, 1));
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
  // Along the rows of an array, as long as they go on.
  auto along = [&](const Access& rows, std::int64_t wanted) {
    std::int64_t run = 1;
    for (bool goes_on = true; goes_on && run < wanted;) {
      const auto next = std::ranges::find(rows.strides, run);
      if (next == rows.strides.end()) break;
      const auto l = static_cast<Label>(next - rows.strides.begin());
      if (c_.extents[l] == 1) break;
      const std::int64_t more = (wanted + run - 1) / run;
      lengthen(l, 2 * more > c_.extents[l] ? c_.extents[l] : more);
      goes_on = box[l] == c_.extents[l];
      run *= c_.extents[l];
    }
  };
  along(a, plan_.order == LoopOrder::by_runs_read ? kLongRun / p_.item : 2 * line_items());
  // Of the output's as much as L1 has room for: longer runs are hardly better.
  along(c_.out, target_.l1_bytes / 2 / p_.item);
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

void PlainLoops::add_rows() {
  Order order = Order::parallel;  // what comes from memory is work for several threads
  auto share_out = [&](Label l, std::int64_t step) {
    loop(l, step, order);
    if (length_[l] < c_.extents[l]) order = Order::serial;
  };
  const SummedRows rows = summed_rows(p_, tile_.vec);
  for (Label l : order_)
    if (std::ranges::find(rows.labels, l) == rows.labels.end())
      c_.extents[l] * 2 >= kSumPieces ? share_out(l, 1) : loop(l, 1);
  double run = 1;
  for (Label l : rows.labels) run *= p_.extent(l);
  const Label outer = rows.labels.back();
  if (!c_.is_reduced(outer) && run * static_cast<double>(p_.item) >= kLongRow) {
    const auto most = static_cast<std::int64_t>(kRowPiece / p_.item * p_.extent(outer) / run);
    // Whole lines of the output, wherever it has them.
    const std::int64_t unit = c_.out.strides[outer] == 1 ? line_items() : 1;
    share_out(outer, (even_step(outer, std::max<std::int64_t>(most, 1)) + unit - 1) / unit * unit);
  }
  const std::size_t inside = schedule_->outer.size();
  add_levels(rows.sum, rows.at_once, order);
  // An output that lies across the rows is turned once, not with each block of the sum.
  if (std::abs(c_.out.strides[tile_.vec]) > 1 &&
      std::ranges::none_of(schedule_->outer | std::views::drop(inside), [](const auto& item) {
        return std::holds_alternative<BufferSpec>(item);
      }))
    schedule_->outer.insert(schedule_->outer.begin() + static_cast<std::ptrdiff_t>(inside),
                            BufferSpec{});
  add_loops_of_rows(rows.labels);
}

void PlainLoops::add_loops_of_rows(const std::vector<Label>& labels) {
  auto is_cut = [&](Label l) { return !c_.is_reduced(l) && length_[l] > tile_.step_of(l); };
  for (std::size_t n = labels.size(); n-- > 0;)
    if (!c_.is_reduced(labels[n]))
      loop(labels[n], tile_.step_of(labels[n]));
    else if (std::any_of(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(n), is_cut))
      loop(labels[n], 1);
}

void PlainLoops::add_levels(Label sum, std::int64_t step, Order order) {
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

void PlainLoops::share_sum() {
  const bool is_long =
      cycles_ > kParallelCycles ||
      std::ranges::any_of(p_.in, [&](const Operand& a) { return p_.outgrows_caches(a); });
  if (p_.reduced.empty() || !is_long) return;
  if (tile_.is_kept) return share_turned_sum();
  const Access& a = largest_input();
  Label sum = tile_.vec;
  for (Label l : p_.reduced)
    if (l != tile_.vec && (sum == tile_.vec || std::abs(a.strides[l]) > std::abs(a.strides[sum])))
      sum = l;
  if (sum < 0 || c_.is_dynamic(sum)) return;
  // Pieces, and the parts a buffer has them in, are whole blocks of the tile's own sums.
  const std::int64_t block = sum == tile_.vec ? tile_.vec_length * kMerge : 1;
  auto cut = [&](std::int64_t length, std::int64_t pieces) {
    return ((length + pieces - 1) / pieces + block - 1) / block * block;
  };
  const std::int64_t piece = cut(c_.extents[sum], kSumPieces), part = cut(piece, kSumParts);
  if (part >= piece || piece >= c_.extents[sum]) return;
  loop(sum, piece, Order::parallel);
  schedule_->outer.emplace_back(BufferSpec{});
  loop(sum, part);
}

void PlainLoops::share_turned_sum() {
  for (Label l : order_) {
    const bool is_inner = l == tile_.vec && c_.extents[tile_.inner] >= 2 * kTurnedBlock;
    const Label sum = is_inner ? tile_.inner : l;
    const std::int64_t unit = is_inner ? tile_.steps : tile_.step_of(l);
    const std::int64_t most = is_inner ? kTurnedBlock : c_.extents[l] / kSumPieces + 1;
    const std::int64_t piece = (even_step(sum, most) + unit - 1) / unit * unit;
    // A buffer is for several tiles' sums.
    const bool has_tiles = std::ranges::any_of(
        order_, [&](Label m) { return (m == sum ? piece : c_.extents[m]) > tile_.step_of(m); });
    if (piece >= c_.extents[sum] || !has_tiles || c_.is_dynamic(sum)) continue;
    loop(sum, piece, Order::parallel);
    schedule_->outer.emplace_back(BufferSpec{});
    return;
  }
}

void PlainLoops::loop_over_sum(Label sum, std::int64_t step) {
  if (c_.in.size() == 1 && !c_.is_dynamic(sum) && length_[sum] > step * kMostBlocks)
    add_levels(sum, step, Order::serial);
  else
    loop(sum, step);
}

void PlainLoops::add_blocks_of_rows() {
  for (const Operand& a : p_.in) {
    if (a.access->strides[tile_.vec] != 1 || !p_.outgrows_caches(a)) continue;
    const std::int64_t row = c_.extents[tile_.vec] * p_.item;
    for (Label l : p_.reduced)
      if (a.access->strides[l] != 0)
        return loop_over_sum(l, goes_along_turned(l)
                                    ? kTurnedBlock
                                    : std::clamp(target_.l2_bytes / 8 / row, kSumBlock, kMostRows));
  }
}

void PlainLoops::add_sum_blocks() {
  if (tile_.is_kept) return loop(tile_.inner, kTurnedBlock);
  if (tile_.is_gray || tile_.vec < 0 || c_.is_reduced(tile_.vec)) return;
  for (const Operand& a : p_.in) {
    if (!is_read_once(a) || a.access->strides[tile_.vec] != 1) continue;
    for (Label l : p_.reduced)
      if (std::abs(a.access->strides[l]) * p_.item >= kPage || goes_along_turned(l))
        loop_over_sum(l, sum_block(l));
  }
}

bool PlainLoops::is_read_once(const Operand& a) const { return a.elements * 4 > p_.points; }

bool PlainLoops::is_turned(const Operand& a) const {
  return is_read_once(a) && std::abs(a.access->strides[tile_.vec]) >= line_items();
}

bool PlainLoops::goes_along_turned(Label sum) const {
  return std::ranges::any_of(
      p_.in, [&](const Operand& a) { return is_turned(a) && a.access->strides[sum] == 1; });
}

// Tiles come back to the rows of an input that lies across their vectors: after long pieces if the
// sum goes along them, or else while the block is in L2.
std::int64_t PlainLoops::sum_block(Label sum) const {
  if (goes_along_turned(sum)) return kTurnedBlock;
  if (std::ranges::none_of(p_.in, [&](const Operand& a) { return is_turned(a); })) return kSumBlock;
  double bytes = 0;  // of a step
  for (const Operand& a : p_.in)
    if (a.access->strides[sum] != 0)
      bytes += a.elements / p_.extent(sum) * static_cast<double>(p_.item);
  const double steps = static_cast<double>(target_.l2_bytes) / 4 / bytes;
  return std::clamp(static_cast<std::int64_t>(steps), std::int64_t{1}, kSumBlock);
}

}  // namespace einjit
