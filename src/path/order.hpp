// Contraction orders: a binary tree over operands given by their label sets.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "index_ir/contraction.hpp"

namespace einjit {

// Pairs in order; operand n + i is the result of pair i.
using ContractionOrder = std::vector<std::pair<int, int>>;

// What an order is chosen over: labels per operand (sorted), those of the output, and extents.
struct Network {
  std::vector<std::vector<Label>> operands;
  std::vector<Label> output;
  std::span<const std::int64_t> extents;
};

inline constexpr int kMostOptimalOperands = 10;

// Least cost by dynamic programming; at most kMostOptimalOperands operands and 64 labels. The cost
// of a pair is its multiply-adds plus its result's and operands' elements times `element_cost`.
ContractionOrder optimal_order(const Network& network, double element_cost);

// Repeatedly contracts the pair of neighbours that shrinks the total size most.
ContractionOrder greedy_order(const Network& network);

}  // namespace einjit
