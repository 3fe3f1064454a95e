#include "schedule/next_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ranges>

#include "schedule/streams.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLinesNear = 5;         // of rows that share a set
constexpr std::int64_t kTilesOfRows = 4;       // end to end, where rows are short
constexpr std::int64_t kLinesOfBox = 32;       // whose next one is asked for
constexpr std::int64_t kBytesOfRows = 4096;    // summed one after the other, asked for ahead
constexpr std::int64_t kBytesOfNarrow = 8192;  // if they are parts of vectors
// In a block of a sum: more are asked for ahead, and as many if there is work for each and room.
constexpr std::int64_t kSumRows = 16;
constexpr std::int64_t kBlockAhead = 256 << 10;  // bytes
constexpr std::int64_t kMostAhead = 512 << 10;   // bytes of such a block

}  // namespace

Label NextRows::label_of_stride(const Access& a, std::int64_t stride) const {
  const auto found = std::ranges::find(a.strides, stride);
  return found == a.strides.end() ? -1 : static_cast<Label>(found - a.strides.begin());
}

bool NextRows::is_elsewhere(const Access& a, Label l) const {
  return std::abs(a.strides[l]) >= line_items();
}

double NextRows::box_bytes(const Access& a, std::span<const std::int64_t> length) const {
  double elements = 1;
  for (Label l = 0; l < c_.label_count(); ++l)
    if (a.strides[l] != 0) elements *= static_cast<double>(length[l]);
  return elements * static_cast<double>(size_of(c_.dtype));
}

std::optional<NextRows::Ahead> NextRows::next_rows(const Access& a) const {
  if (tile_.vec < 0 || !c_.is_reduced(tile_.vec) || a.strides[tile_.vec] != 1) return std::nullopt;
  std::int64_t run = c_.extents[tile_.vec];
  const std::int64_t most = kBytesOfRows / size_of(c_.dtype);
  if (run > most) return std::nullopt;
  std::optional<Ahead> found;
  for (Label next = label_of_stride(a, run);
       next >= 0 && run <= kTilesOfRows * most && c_.extents[next] > 1;
       next = label_of_stride(a, run)) {
    const std::int64_t distance = std::max((most + run - 1) / run, tile_.step_of(next));
    if (c_.extents[next] >= kTilesOfRows * distance) found = {next, distance};
    run *= c_.extents[next];
  }
  return found;
}

std::optional<NextRows::Ahead> NextRows::next_narrow_rows(const Access& a) const {
  const Label row = label_of_stride(a, 1);
  if (row < 0 || c_.is_reduced(row) || tile_.step_of(row) < c_.extents[row]) return std::nullopt;
  const std::int64_t run = c_.extents[row];
  const Label next = label_of_stride(a, run);
  if (run % p_.lanes == 0 || run > 2 * p_.lanes || next < 0 || !c_.is_reduced(next))
    return std::nullopt;
  const std::int64_t distance = kBytesOfNarrow / (run * p_.item);
  if (c_.extents[next] < kTilesOfRows * distance) return std::nullopt;
  return Ahead{next, distance};
}

std::optional<NextRows::Ahead> NextRows::next_rows_of_sum(const Access& a) const {
  if (tile_.packed != 0 || tile_.vec < 0 || c_.is_reduced(tile_.vec) || a.strides[tile_.vec] != 1)
    return std::nullopt;
  const std::int64_t row = c_.extents[tile_.vec] * p_.item;
  const bool is_small = row * kSumRows <= kBlockAhead;
  const std::int64_t least = tile_.unroll >= 0 && is_small ? kSumRows : kSumRows + 1;
  bool is_cut = false;  // the rows, inside the loop
  for (const auto& item : schedule_.outer | std::views::reverse)
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      is_cut |= loop->label == tile_.vec;
      if (is_cut && c_.is_reduced(loop->label) && loop->step >= least &&
          a.strides[loop->label] != 0 && row * loop->step <= kMostAhead)
        return Ahead{loop->label, loop->step};
    }
  return std::nullopt;
}

std::int64_t NextRows::block_along(Label row) const {
  bool goes_along = false, goes_across = false;
  for (const auto& item : schedule_.outer | std::views::reverse)
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      if (loop->label != row)
        goes_across |= goes_along;
      else if (goes_across)
        return loop->step <= kLinesAhead * line_items() ? loop->step : 0;
      else
        goes_along = true;
    }
  return 0;
}

std::optional<NextRows::Ahead> NextRows::next_box(const Access& a) {
  std::optional<Ahead> found, small;
  Shrinking length = whole_lengths();
  auto bytes = [&](const Access& access) { return box_bytes(access, length); };
  const auto least = static_cast<double>(kLinesOfBox * target_.line_bytes);
  for (const auto& item : schedule_.outer)
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      length[loop->label] = std::min(length[loop->label], loop->step);
      double all = bytes(c_.out);
      for (const Access& access : c_.in) all += bytes(access);
      if (!is_elsewhere(a, loop->label) || tile_.step_of(loop->label) > 1 ||
          length[loop->label] > 1 || all * kBoxesInL2 > static_cast<double>(target_.l2_bytes))
        continue;
      const bool is_far = p_.bytes * 2 > static_cast<double>(target_.fast_cache_bytes());
      const auto steps = static_cast<std::int64_t>(std::ceil(2 * least / bytes(a)));
      if (bytes(a) >= least)
        found = {loop->label, loop->step * (is_far ? steps : 1)};
      else if (!small && is_far)
        small = {loop->label, steps};
    }
  return found ? found : small;
}

NextRows::Ahead NextRows::nearer(const Access& a, const Ahead& box) const {
  if (rows_in_a_set(p_, tile_, a) <= l1_ways(target_)) return box;
  Ahead near = box;
  std::int64_t run = 1;
  for (Label l = label_of_stride(a, 1); l >= 0 && l != box.label; l = label_of_stride(a, run)) {
    if (c_.extents[l] == 1) return box;
    if (run <= kLinesNear * line_items()) near = {l, kLinesNear * line_items() / run};
    run *= c_.extents[l];
  }
  return run == a.strides[box.label] ? near : box;
}

Label NextRows::label_across(const Access& a) const {
  std::vector<Label> along;  // a row may be one of several labels
  std::int64_t run = 1;
  bool goes_across = false;  // in the tile
  for (Label next = label_of_stride(a, 1); next >= 0; next = label_of_stride(a, run)) {
    const bool is_cut = tile_.step_of(next) < c_.extents[next];
    if (!along.empty() && tile_.step_of(next) > 1 && is_cut) {
      const bool has_time = goes_across || is_outside(next, along) || is_summed(along);
      if (c_.extents[next] >= kTilesOfRows * tile_.step_of(next)) return has_time ? next : -1;
    }
    goes_across |= !along.empty() && tile_.step_of(next) > 1 && is_summed(along);
    along.push_back(next);
    if (c_.extents[next] == 1) break;
    run *= c_.extents[next];
  }
  return -1;
}

bool NextRows::is_summed(const std::vector<Label>& along) const {
  return c_.is_reduced(along.front()) && along.front() != tile_.vec;
}

bool NextRows::is_outside(Label label, const std::vector<Label>& others) const {
  for (const auto& item : schedule_.outer | std::views::reverse)
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      if (loop->label == label) return false;
      if (std::ranges::find(others, loop->label) != others.end()) return true;
    }
  return false;
}

}  // namespace einjit
