// A naive einsum that shares no code with src/: it parses the expression itself and walks all index
// tuples in double precision. Only for valid expressions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace einjit_test {

struct NaiveOperand {
  const double* data;  // element (0, 0, ...)
  std::vector<std::int64_t> extents, strides;
};

struct NaiveResult {
  std::vector<std::int64_t> extents;
  std::vector<double> values;     // row-major
  std::vector<double> magnitude;  // the same sum over absolute values
  double terms = 1;               // summed per element
};

NaiveResult naive_einsum(const std::string& expression, const std::vector<NaiveOperand>& operands);

}  // namespace einjit_test
