// The loops of a tile's sum: of each reduced variable whole trips, a tail, and blocks that are
// summed on their own. What a step adds is the tile's.
#pragma once

#include <functional>

#include "box.hpp"

namespace einjit {

class SumLoops {
 public:
  struct Body {
    // Adds `count` steps of the innermost variable at the box's pointers; if a slot is given, as
    // many as it says.
    std::function<void(std::int64_t count, int count_slot, Values& sums)> steps;
    // Loads what does not move in the variables from this level on, before their loops.
    std::function<void(std::size_t level)> preload;
    std::function<Values()> zeros;
    // Whether an input is factored out of the sum over the variables from this level on, and the
    // sums so far plus that sum times such inputs, at the box's pointers.
    std::function<bool(std::size_t level)> has_factor;
    std::function<Values(std::size_t level, const Values& inner, const Values& sums)> add_scaled;
  };
  // `variables`: the reduced ones, outermost first.
  SumLoops(UnitFrame& frame, const Unit& unit, Box& box, std::vector<int> variables, Body body)
      : frame_(frame),
        unit_(unit),
        box_(box),
        variables_(std::move(variables)),
        body_(std::move(body)) {}

  // The sums over the variables from this level on, added to `sums`.
  Values emit(std::size_t level, Values sums);

 private:
  using Trip = std::function<Values(const Values& sums)>;

  auto& builder() { return frame_.builder(); }
  const UnitVar& var(std::size_t level) const {
    return unit_.vars[static_cast<std::size_t>(variables_[level])];
  }
  bool is_innermost(std::size_t level) const { return level + 1 == variables_.size(); }

  Values steps(std::size_t level, std::int64_t count, Values sums, int count_slot = -1);
  Values rest(std::size_t level, Values sums);
  Values blocks(std::size_t level, const Size& count, Values sums);
  Values trips(std::size_t level, const Size& count, std::int64_t steps_each, Values sums);
  Values indexed_trips(std::size_t level, const Size& count, Values sums);
  Values gray_trips(std::size_t level, Values sums);
  Values carry_through(std::size_t level, const Size& trips, const Values& sums, const Trip& trip);
  Values added(const Values& a, const Values& b);
  Values advanced(Values pointers, std::size_t level, std::int64_t count);
  Values advanced(Values pointers, std::size_t level, std::int64_t count, llvm::Value* number);

  UnitFrame& frame_;
  const Unit& unit_;
  Box& box_;
  std::vector<int> variables_;
  Body body_;
};

}  // namespace einjit
