#include "sum_loops.hpp"

namespace einjit {

Values SumLoops::emit(std::size_t level, Values sums) {
  const UnitVar& v = var(level);
  body_.preload(level);
  const Values pointers_before = box_.pointers;
  if (v.merge == 0) {
    sums = rest(level, std::move(sums));
  } else {
    sums = carry_through(level, v.superblocks, sums, [&](const Values& in) {
      return added(in, blocks(level, Size{v.merge}, body_.zeros()));
    });
    if (!v.blocks.is(0)) sums = added(sums, blocks(level, v.blocks, body_.zeros()));
    if (!v.trips.is(0) || v.tail > 0 || v.tail_slot >= 0)
      sums = added(sums, rest(level, body_.zeros()));
  }
  box_.pointers = pointers_before;
  return sums;
}

// Trips that are in no block, and the tail.
Values SumLoops::rest(std::size_t level, Values sums) {
  const UnitVar& v = var(level);
  sums = v.is_halved ? indexed_trips(level, v.trips, std::move(sums))
                     : trips(level, v.trips, v.factor, std::move(sums));
  if (v.tail_slot >= 0 && v.role != Role::vec)
    return trips(level, Size{0, v.tail_slot}, 1, std::move(sums));
  if (v.tail_slot >= 0)
    return frame_.emit_unless_zero(v.tail_slot, std::move(sums), [&](const Values& in) {
      return steps(level, v.factor, in, v.tail_slot);
    });
  return v.tail > 0 ? steps(level, v.tail, std::move(sums)) : sums;
}

// Sums of `count` blocks, added up one after the other.
Values SumLoops::blocks(std::size_t level, const Size& count, Values sums) {
  const UnitVar& v = var(level);
  return carry_through(level, count, sums, [&](const Values& total) {
    return added(total, v.is_gray     ? gray_trips(level, body_.zeros())
                        : v.is_halved ? indexed_trips(level, Size{v.merge}, body_.zeros())
                                      : trips(level, Size{v.merge}, v.factor, body_.zeros()));
  });
}

// `count` steps from the current pointers, or as many as a slot says.
Values SumLoops::steps(std::size_t level, std::int64_t count, Values sums, int count_slot) {
  // Only the innermost steps are at hand together, for blocks to be transposed.
  box_.lengths[static_cast<std::size_t>(variables_[level])] = is_innermost(level) ? count : 1;
  if (is_innermost(level)) {
    box_.push_scope();
    body_.steps(count, count_slot, sums);
    box_.pop_scope();
    return sums;
  }
  const Values first = box_.pointers;
  for (std::int64_t step = 0; step < count; ++step) {
    box_.pointers = advanced(first, level, step);
    box_.push_scope();
    if (body_.has_factor(level + 1))
      sums = body_.add_scaled(level + 1, emit(level + 1, body_.zeros()), sums);
    else
      sums = emit(level + 1, std::move(sums));
    box_.pop_scope();
  }
  box_.pointers = first;
  return sums;
}

Values SumLoops::trips(std::size_t level, const Size& count, std::int64_t steps_each, Values sums) {
  return carry_through(level, count, sums, [&](const Values& in) {
    const Values at = box_.pointers;
    Values next = steps(level, steps_each, in);
    box_.pointers = advanced(at, level, steps_each);
    return next;
  });
}

// All inputs are addressed by one index; the pointers move at the end.
Values SumLoops::indexed_trips(std::size_t level, const Size& count, Values sums) {
  const std::int64_t factor = var(level).factor;
  const Values first = box_.pointers;
  sums.push_back(builder().getInt64(0));
  auto trip = [&](Values in) {
    llvm::Value* index = in.back();
    in.pop_back();
    box_.pointers = advanced(first, level, 1, index);
    in = steps(level, factor, std::move(in));
    in.push_back(
        builder().CreateSub(index, builder().getInt64(static_cast<std::uint64_t>(-factor))));
    return in;
  };
  sums = frame_.emit_loop(count, std::move(sums), trip, UnitFrame::Least::zero);
  box_.pointers = advanced(first, level, 1, sums.back());
  sums.pop_back();
  return sums;
}

// The trips of a block in the order of the Gray code of their numbers, from the last down.
Values SumLoops::gray_trips(std::size_t level, Values sums) {
  const std::int64_t factor = var(level).factor, merge = var(level).merge;
  const Values first = box_.pointers;
  sums.push_back(builder().getInt64(static_cast<std::uint64_t>(merge - 1)));
  sums = frame_.emit_loop(Size{merge}, std::move(sums), [&](Values in) {
    llvm::Value* number = in.back();
    in.pop_back();
    box_.pointers = advanced(first, level, factor, frame_.gray_code(number));
    in = steps(level, factor, std::move(in));
    in.push_back(builder().CreateSub(number, builder().getInt64(1)));
    return in;
  });
  sums.pop_back();
  box_.pointers = advanced(first, level, factor * merge);
  return sums;
}

// A loop that carries the pointers that move in a variable, then the sums.
Values SumLoops::carry_through(std::size_t level, const Size& trips, const Values& sums,
                               const Trip& trip) {
  const auto variable = static_cast<std::size_t>(variables_[level]);
  std::vector<std::size_t> moving;
  Values carried;
  for (std::size_t o = 1; o < box_.pointers.size(); ++o)
    if (!unit_.in[o - 1].var_strides[variable].is(0)) {
      moving.push_back(o);
      carried.push_back(box_.pointers[o]);
    }
  const auto pointers = static_cast<long>(moving.size());
  const bool any_length = var(level).tail_slot >= 0 || var(level).merge > 0;
  const auto least = any_length ? UnitFrame::Least::zero : UnitFrame::Least::one;
  carried.insert(carried.end(), sums.begin(), sums.end());
  carried = frame_.emit_loop(
      trips, std::move(carried),
      [&](const Values& in) {
        for (std::size_t m = 0; m < moving.size(); ++m) box_.pointers[moving[m]] = in[m];
        const Values next = trip(Values(in.begin() + pointers, in.end()));
        Values out;
        for (std::size_t o : moving) out.push_back(box_.pointers[o]);
        out.insert(out.end(), next.begin(), next.end());
        return out;
      },
      least);
  for (std::size_t m = 0; m < moving.size(); ++m) box_.pointers[moving[m]] = carried[m];
  return {carried.begin() + pointers, carried.end()};
}

Values SumLoops::added(const Values& a, const Values& b) {
  Values sums;
  for (std::size_t s = 0; s < a.size(); ++s) sums.push_back(builder().CreateFAdd(a[s], b[s]));
  return sums;
}

Values SumLoops::advanced(Values pointers, std::size_t level, std::int64_t count) {
  const auto variable = static_cast<std::size_t>(variables_[level]);
  for (std::size_t k = 0; k < unit_.in.size(); ++k)
    pointers[k + 1] = frame_.advance(pointers[k + 1], unit_.in[k].var_strides[variable], count);
  return pointers;
}

// By a number of such counts that is known when the unit runs.
Values SumLoops::advanced(Values pointers, std::size_t level, std::int64_t count,
                          llvm::Value* number) {
  const auto variable = static_cast<std::size_t>(variables_[level]);
  for (std::size_t k = 0; k < unit_.in.size(); ++k)
    pointers[k + 1] =
        frame_.advance(pointers[k + 1], unit_.in[k].var_strides[variable], count, number);
  return pointers;
}

}  // namespace einjit
