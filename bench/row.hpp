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
  std::int64_t output_shift = 0;              // bytes from a cache line to where it begins
};

// All rows of a suite. Throws for names that are not among kSuites.
std::vector<Row> rows_of(const std::string& suite);
inline constexpr const char* kSuites[] = {"gemm", "small",  "batched", "skinny",
                                          "tccg", "memory", "compile", "conformance"};

// Of these suites it is the compilation that is measured.
inline bool is_compiled_only(const std::string& suite) {
  return suite == "compile" || suite == "conformance";
}

}  // namespace einjit_bench
