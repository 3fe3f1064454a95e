// Contractions of three inputs that are walked as ones of two.
//
// Two inputs are multiplied while they are packed, and tiles see the product (a Khatri-Rao product
// of panels); or one is factored out of the sum over labels it does not have, and tiles sum the
// other two.
#pragma once

#include <vector>

#include "einjit/target.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

struct TwoInputs {
  Contraction contraction;  // of two inputs: `of[0]` and `of[1]`, or that and a product
  int of[2];
  int other;        // the third: the product's other factor, or what is factored out
  bool is_product;  // in1 is of[1] times `other`
};

// Every way to see three inputs as two that may be worth a look.
std::vector<TwoInputs> as_two_inputs(const Contraction& contraction);

// Puts a schedule of `two.contraction` in terms of the contraction of three; false if it has none.
bool put_in_terms_of_three(Schedule& schedule, const TwoInputs& two, const Contraction& contraction,
                           const Target& target);

// What it costs to multiply sums by what is factored out of them, and to add them up.
double scaling_cycles(const Schedule& schedule, const Contraction& contraction,
                      const Target& target);

}  // namespace einjit
