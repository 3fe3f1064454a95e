// Loops over what is summed: blocks, levels of buffers, pieces for threads, rows as they lie.
#include <algorithm>
#include <cstdlib>
#include <ranges>

#include "schedule/plain_loops.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kSumBlock = 16;  // rows summed at once when each lies on pages of its own
constexpr std::int64_t kMostRows = 64;  // of a block that is summed before the next
constexpr std::int64_t kTurnedBlock = 512;  // of a sum along which another input's rows lie
constexpr std::int64_t kRowPiece = 16384;   // bytes of rows that are summed
constexpr std::int64_t kLongRow = 65536;    // that is cut into such pieces
constexpr std::int64_t kSumPieces = 16;     // of a sum, that may run at the same time
constexpr std::int64_t kSumParts = 2;       // of such a piece
constexpr std::int64_t kMostBlocks = 256;   // of a sum, added one after the other

}  // namespace

bool PlainLoops::only_sum_is_left() const {
  return tile_.vec >= 0 && !c_.is_reduced(tile_.vec) &&
         std::ranges::all_of(
             p_.kept,
             [&](Label l) { return tile_.step_of(l) >= c_.extents[l] && !c_.is_dynamic(l); }) &&
         std::ranges::none_of(p_.in, [&](const Operand& a) { return is_turned(a); });
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
