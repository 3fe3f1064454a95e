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
  bool is_covered = false;  // with the tails of all other extents
};

// Products, transposes, sums and the like of many sizes; the same ones every time.
std::vector<Sample> corpus();

}  // namespace einjit
