// Floor 5: the order in which three and more operands are contracted.
//
// In: one contraction over all operands. Out: a Program: steps, each a contraction of its own over
// inputs and temporaries, and how large each temporary is. Up to ten operands the order is optimal
// in predicted time (dynamic programming over subsets); beyond that greedy. Operands whose labels
// are summed alone are summed first where that saves work, and all operands stay one loop nest
// where that is predicted to be faster than the order: by the scheduler, if both ways are near.
//
//   step 0  t0 = in1 * in2     8.2e+03 multiply-adds
//   step 1  out = in0 * t0     1.6e+04 multiply-adds
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "einjit/path.hpp"
#include "einjit/target.hpp"
#include "index_ir/contraction.hpp"
#include "schedule/choose.hpp"

namespace einjit {

// Operand numbers: inputs 0 .. n - 1, then temporaries n, n + 1, ... in order of the steps.
struct Step {
  Contraction contraction;       // canonical
  LabelGroups groups;            // what it was made of
  std::vector<int> operands;     // per input of the contraction
  int result;                    // a temporary, or kOutput
  std::optional<Choice> choice;  // if finding the path took asking the scheduler
};
inline constexpr int kOutput = -1;

// A temporary of so many elements is too large to be made.
inline constexpr std::int64_t kMostTemporaryElements = std::int64_t{1} << 40;

struct Temporary {
  std::int64_t elements = 0;
  std::int64_t offset =
      0;  // elements into the workspace; temporaries that do not live at once share
};

struct Program {
  int input_count = 0;
  std::vector<Step> steps;
  std::vector<Temporary> temporaries;
  std::int64_t workspace_elements = 0;
  double fused_seconds = 0;     // predicted, as one loop nest
  double pairwise_seconds = 0;  // predicted, in the best order found; 0 if there is no choice
  std::int64_t pairwise_elements = 0;  // of that order's workspace

  std::string to_string() const;
};

Program plan_path(const Contraction& contraction, const Target& target,
                  Path path = Path::automatic);

// The same steps for other extents of dynamic labels. Nothing if some step's strides do not allow
// it.
std::optional<Program> replay_path(const Contraction& contraction, const Target& target,
                                   const Program& like);

}  // namespace einjit
