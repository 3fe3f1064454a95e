#include "schedule/panel_blocks.hpp"

#include <algorithm>
#include <ranges>

namespace einjit {
namespace {

constexpr std::int64_t kRun = 32;         // elements read in a row where a block can choose
constexpr std::int64_t kWholeRun = 128;   // contiguous labels up to this are not cut
constexpr std::int64_t kRoomForRows = 3;  // halves of a block's size that whole rows may take
constexpr std::int64_t kLongRun = 1024;   // elements; longer rows gain nothing

}  // namespace

PanelBlocks::Side PanelBlocks::side_of(Label l) const {
  const bool in_vec = c_.in[vec_operand()].strides[l] != 0;
  const bool in_unroll = c_.in[1 - vec_operand()].strides[l] != 0;
  return in_vec && in_unroll ? Side::both : in_vec ? Side::vec : Side::unroll;
}

void PanelBlocks::cut_side(Side side, Label first, int operand, std::int64_t most,
                           std::vector<LoopSpec>& loops) const {
  loops.clear();
  auto add = [&](Label l) { loops.push_back({l, std::min(tile_.step_of(l), c_.extents[l])}); };
  if (first >= 0) add(first);
  for (Label l : p_.kept | std::views::reverse)
    if (side_of(l) == side && l != first) add(l);
  if (plan_.is_ahead) grow_run(loops, c_.in[operand], most);
  for (LoopSpec& l : loops)
    if (c_.out.strides[l.label] == 1) grow(loops, l, run_target(l.label), most);
  if (!plan_.is_ahead) grow_run(loops, c_.in[operand], most);
  for (LoopSpec& l : loops) grow(loops, l, c_.extents[l.label], most);
}

std::int64_t PanelBlocks::run_target(Label l) const {
  return c_.extents[l] <= kWholeRun ? c_.extents[l] : kRun;
}

// Grows the labels along which the operand is contiguous, the next where the last is whole, until
// rows are long.
void PanelBlocks::grow_run(std::vector<LoopSpec>& loops, const Access& a, std::int64_t most) const {
  std::int64_t run = 1;
  for (bool grown = true; grown && run < kLongRun;) {
    grown = false;
    for (LoopSpec& l : loops) {
      if (a.strides[l.label] != run || c_.extents[l.label] == 1) continue;
      grow(loops, l, run_target(l.label), plan_.is_ahead ? most * kRoomForRows / 2 : most);
      grown = l.step >= c_.extents[l.label];
      run *= l.step;
      break;
    }
  }
}

// Makes the label's step as large as `target` and the block's size allow, in even whole tiles.
void PanelBlocks::grow(const std::vector<LoopSpec>& loops, LoopSpec& loop, std::int64_t target,
                       std::int64_t most) const {
  std::int64_t others = 1;
  for (const LoopSpec& l : loops)
    if (l.label != loop.label) others *= l.step;
  const std::int64_t extent = c_.extents[loop.label], unit = tile_.step_of(loop.label);
  const std::int64_t allowed =
      std::max<std::int64_t>(std::min(target, std::max<std::int64_t>(most / others, 1)), loop.step);
  const std::int64_t pieces = (extent + allowed - 1) / allowed;
  const std::int64_t even = (extent + pieces - 1) / pieces;
  loop.step = std::max(
      loop.step, std::min((even + unit - 1) / unit * unit, (extent + unit - 1) / unit * unit));
}

void PanelBlocks::cut_sum(std::vector<LoopSpec>& loops) const {
  const std::int64_t most = sum_length();
  loops.clear();
  for (Label l : p_.reduced | std::views::reverse) loops.push_back({l, 1});
  for (LoopSpec& l : loops)
    for (const Access& a : c_.in)
      if (a.strides[l.label] == 1) grow(loops, l, target_.line_bytes / size_of(c_.dtype), most);
  for (LoopSpec& l : loops) grow(loops, l, c_.extents[l.label], most);
  // Whole vectors: copies that transpose along the sum have fewer kinds of tails.
  const std::int64_t lanes = target_.lanes(c_.dtype);
  for (LoopSpec& l : loops)
    if (l.step > lanes && l.step < c_.extents[l.label]) l.step = l.step / lanes * lanes;
}

// Steps of the sum in a panel.
std::int64_t PanelBlocks::sum_length() const {
  const std::int64_t row = tile_.vec_length * size_of(c_.dtype);
  const std::int64_t bytes = plan_.cut == SumCut::fits_l1    ? target_.l1_bytes
                             : plan_.cut == SumCut::twice_l1 ? 2 * target_.l1_bytes
                                                             : target_.l2_bytes / 2;
  return std::max<std::int64_t>(bytes / row, 64);
}

}  // namespace einjit
