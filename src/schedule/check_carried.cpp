#include "schedule/check_carried.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <vector>

#include "schedule/alignment.hpp"

namespace einjit {
namespace {

class CarriedCheck {
 public:
  CarriedCheck(const Schedule& schedule, const Contraction& c)
      : schedule_(schedule), c_(c), length_(c.extents) {}

  Result<void> run() {
    if (auto done = check_loops(); !done || carried_.empty()) return done;
    const Label along = carried_.back()->label;
    if (has_drained_buffer(schedule_, c_)) return fail(along, ", but the output is buffered");
    const auto var = std::ranges::find(schedule_.tile, along, &TileVar::label);
    if (c_.out.strides[along] != 1 || var == schedule_.tile.end() || var->role != Role::vec ||
        c_.is_reduced(along))
      return fail(along, ": it must be 'vec', and the output contiguous along it");
    if (aligned_loop(schedule_)) return fail(along, ": it cannot be with an aligned loop");
    if (schedule_.store != Store::streaming) return fail(along, ", which is for 'stream out'");
    return check_rows();
  }

 private:
  std::unexpected<Diagnostic> fail(Label l, std::string_view what) const {
    return std::unexpected(
        Diagnostic{fmt::format("schedule: '{}' is carried{}", c_.names[l], what)});
  }

  // What waits for a row's next piece is the end of the one before.
  Result<void> check_loops() {
    for (const auto& item : schedule_.outer) {
      const auto* loop = std::get_if<LoopSpec>(&item);
      if (!loop) continue;
      if ((!carried_.empty() || loop->is_carried) && loop->order == Order::parallel)
        return loop->is_carried ? fail(loop->label, ": it cannot be parallel")
                                : fail(carried_.back()->label, ", with a parallel loop inside");
      const auto cut = std::ranges::find(carried_, loop->label, &LoopSpec::label);
      if (cut != carried_.end()) return fail(loop->label, ", and a loop cuts its pieces");
      if (loop->is_carried) carried_.push_back(loop);
      if (carried_.empty()) length_[loop->label] = std::min(length_[loop->label], loop->step);
    }
    return {};
  }

  // A loop around the one along a row goes on where that ends, at the same place of a line.
  Result<void> check_rows() const {
    std::int64_t run = length_[carried_.back()->label];
    for (const LoopSpec* loop : carried_ | std::views::reverse | std::views::drop(1)) {
      if (loop->step != 1 || std::ranges::count(schedule_.tile, loop->label, &TileVar::label) > 0)
        return fail(loop->label, " from row to row: its step must be 1, outside of the tile");
      if (c_.out.strides[loop->label] != run || run * size_of(c_.dtype) % kLineBytes != 0)
        return fail(loop->label, " from row to row, which are no whole lines side by side");
      run *= length_[loop->label];
    }
    return {};
  }

  const Schedule& schedule_;
  const Contraction& c_;
  std::vector<std::int64_t> length_;  // of the ranges that lines are carried through
  std::vector<const LoopSpec*> carried_;
};

}  // namespace

Result<void> check_carried(const Schedule& schedule, const Contraction& contraction) {
  return CarriedCheck(schedule, contraction).run();
}

}  // namespace einjit
