// What users of every target will ask for: the contractions whose units are compiled when the
// project is built.
#pragma once

#include <string>
#include <vector>

#include "einjit/layout.hpp"

namespace einjit {

struct Sample {
  std::string expression;
  std::vector<std::vector<std::int64_t>> shapes;
  bool is_common = false;  // asked for as it is, not as one of a kind
};

// Products, transposes, sums and the like of many sizes; the same ones every time.
std::vector<Sample> corpus();

}  // namespace einjit
