// Buffers for partial sums of a part of the output: their layout, and the nest that adds them up.
#pragma once

#include "einjit/target.hpp"
#include "loop_ir/loop_nest.hpp"

namespace einjit {

struct SumBuffer {
  Ref sums;               // how tiles address the buffer
  std::int64_t elements;  // its size
  Block addition;         // to `out`
};

// The labels of the output as they lie in it.
std::vector<Label> labels_outermost_first(const Contraction& contraction);

// `length` is the most of each label's range where the buffer is allocated; `out` and `update`,
// what the sums are added to there.
SumBuffer make_sum_buffer(const Contraction& contraction, const std::vector<TileVar>& tile,
                          const std::vector<std::int64_t>& length, const Ref& out, Update update,
                          int buffer, const Target& target);

}  // namespace einjit
