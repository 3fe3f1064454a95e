// Random expressions over random layouts, and how a failing one is made smaller.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "einjit/layout.hpp"
#include "support/naive.hpp"

namespace einjit_test {

// How an array lies in memory; every one occurs for inputs, the overlapping ones not for outputs.
enum class Placement { row_major, permuted, padded, negative, broadcast, window };

struct RandomCase {
  std::uint64_t seed = 0;
  einjit::DType dtype = einjit::DType::f32;
  std::map<char, std::int64_t> extents;  // digits name ellipsis axes
  std::vector<std::string> terms;        // labels in order, digits for ellipsis axes
  std::string output;
  std::vector<std::vector<bool>> is_one;  // per term and axis: extent 1 in this operand
  std::vector<Placement> placements;      // output last
  bool scaled = false;                    // alpha and beta at run time

  std::string expression() const;
  std::vector<std::int64_t> operand_extents(std::size_t k) const;
  std::vector<std::int64_t> output_extents() const;
  std::string to_string() const;
};

RandomCase make_random_case(std::uint64_t seed);

// Arrays for a case: small integers, so that every order of summation gives the same.
struct CaseData {
  std::vector<einjit::Layout> layouts;  // inputs
  einjit::Layout output;
  std::vector<std::vector<double>> buffers;  // in double; inputs, then the output
  std::vector<std::int64_t> offsets;         // of element (0, 0, ...) in its buffer
  double alpha = 1, beta = 0;
};
CaseData make_data(const RandomCase& c);

// The naive result in the output's buffer: all elements, also those the output does not cover.
std::vector<double> expected_buffer(const RandomCase& c, const CaseData& data);

// Smaller cases that may still fail: labels cut, operands and layouts made plain.
std::vector<RandomCase> smaller(const RandomCase& c);

// Calls check(case) (empty: fine, else what is wrong) for `count` cases from a printed seed;
// shrinks the first failure and reports it as the test's.
int run_random_cases(int count, std::string (*check)(const RandomCase&));

}  // namespace einjit_test
