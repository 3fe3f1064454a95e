// A benchmark row: an expression over shapes, as a user would write it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "einjit/layout.hpp"

namespace einjit_bench {

struct Row {
  std::string suite, name, expression;
  einjit::DType dtype;
  std::vector<einjit::Layout> operands;       // sliding windows and the like have strides
  std::optional<einjit::Layout> output = {};  // row-major if absent
};

// All rows of a suite: gemm, small, batched, skinny, tccg, memory or compile. Throws for others.
std::vector<Row> rows_of(const std::string& suite);
inline constexpr const char* kSuites[] = {"gemm", "small",  "batched", "skinny",
                                          "tccg", "memory", "compile"};

}  // namespace einjit_bench
