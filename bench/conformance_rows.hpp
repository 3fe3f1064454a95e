// The f32 and f64 cases of the conformance list that compile, as rows.
#pragma once

#include "row.hpp"

namespace einjit_bench {

// Throws if the list is not where the build was told that it lies.
std::vector<Row> conformance();

}  // namespace einjit_bench
