#include "schedule/alignment.hpp"

#include <algorithm>
#include <ranges>

namespace einjit {
namespace {

constexpr double kTorn = 4;  // of an unaligned part that comes in two pieces, long after each other

template <class AnySchedule>
auto* find_loop(AnySchedule& schedule, bool LoopSpec::*kind) {
  using Loop = std::conditional_t<std::is_const_v<AnySchedule>, const LoopSpec, LoopSpec>;
  for (auto& item : schedule.outer)
    if (auto* loop = std::get_if<LoopSpec>(&item); loop && loop->*kind) return loop;
  return static_cast<Loop*>(nullptr);
}

}  // namespace

const LoopSpec* aligned_loop(const Schedule& schedule) {
  return find_loop(schedule, &LoopSpec::is_aligned);
}

const LoopSpec* carried_loop(const Schedule& schedule) {
  const LoopSpec* innermost = nullptr;
  for (const auto& item : schedule.outer)
    if (const auto* loop = std::get_if<LoopSpec>(&item); loop && loop->is_carried) innermost = loop;
  return innermost;
}

bool carries_along(const Schedule& schedule, Label label) {
  return std::ranges::any_of(schedule.outer, [&](const auto& item) {
    const auto* loop = std::get_if<LoopSpec>(&item);
    return loop && loop->is_carried && loop->label == label;
  });
}

bool has_drained_buffer(const Schedule& schedule, const Contraction& c) {
  return !c.has_sum() && std::ranges::any_of(schedule.outer, [](const auto& item) {
    return std::holds_alternative<BufferSpec>(item);
  });
}

bool depends_on_place(const Schedule& schedule, const Contraction& c) {
  return aligned_loop(schedule) || carried_loop(schedule) || has_drained_buffer(schedule, c);
}

void align(Schedule& schedule, const Contraction& c) {
  if (c.has_sum()) return;  // short ones want code for their extents
  const auto vec = std::ranges::find(schedule.tile, Role::vec, &TileVar::role);
  if (vec == schedule.tile.end() || c.out.strides[vec->label] != 1 ||
      is_packed_along(schedule, c, vec->label))
    return;
  for (auto& item : schedule.outer | std::views::reverse)
    if (auto* loop = std::get_if<LoopSpec>(&item); loop && loop->label == vec->label) {
      loop->is_aligned =
          loop->order == Order::serial && loop->step * size_of(c.dtype) % kLineBytes == 0;
      return;
    }
}

void unalign(Schedule& schedule) {
  if (LoopSpec* loop = find_loop(schedule, &LoopSpec::is_aligned)) loop->is_aligned = false;
  while (LoopSpec* loop = find_loop(schedule, &LoopSpec::is_carried)) loop->is_carried = false;
}

Schedule without_alignment(Schedule schedule, const Contraction& contraction) {
  unalign(schedule);
  if (has_drained_buffer(schedule, contraction))
    std::erase_if(schedule.outer,
                  [](const auto& item) { return std::holds_alternative<BufferSpec>(item); });
  if (!check(schedule, contraction)) schedule.store = Store::cached;
  return schedule;
}

double aligned_elements(const Schedule& schedule, const Contraction& c) {
  std::vector<std::int64_t> length = c.extents;
  auto elements = [&] {
    double product = 1;
    for (Label l = 0; l < c.label_count(); ++l)
      if (!c.is_reduced(l)) product *= static_cast<double>(length[l]);
    return product;
  };
  double most = elements();
  for (const auto& item : schedule.outer)
    if (const auto* loop = std::get_if<LoopSpec>(&item)) {
      if (loop->is_aligned) break;
      length[loop->label] = std::min(length[loop->label], loop->step);
      if (c.out.strides[loop->label] * loop->step * size_of(c.dtype) % kLineBytes != 0)
        most = elements();
    }
  return most;
}

double unaligned_part(const Schedule& schedule, const Contraction& c, std::int64_t row_alignment) {
  const LoopSpec* aligned = aligned_loop(schedule);
  if (!aligned) return 0;
  std::int64_t row = c.extents[aligned->label];
  for (const auto& item : schedule.outer)
    if (const auto* loop = std::get_if<LoopSpec>(&item); loop && loop->label == aligned->label) {
      if (loop == aligned) break;
      row = std::min(row, loop->step);
    }
  const std::int64_t line = kLineBytes / size_of(c.dtype);
  const std::int64_t apart = std::min(row_alignment, line);
  std::int64_t left = 0;
  for (std::int64_t past = 0; past < line; past += apart) {
    const std::int64_t head = std::min((line - past) % line, row);
    left += head + (row - head) % aligned->step;
  }
  // A row's last line is its neighbour's first, and still there then; a cut row's is not.
  const double torn = row < c.extents[aligned->label] ? kTorn : 1;
  return torn * static_cast<double>(left * apart) / static_cast<double>(line * row);
}

}  // namespace einjit
