// Floor 6: a whole kernel as the code generator needs it to make one object of it: plans, and where
// their operands lie.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace einjit {

struct KernelSource {
  struct Operand {
    int number = 0;           // 0 the output, 1 + k input k; -1: a temporary
    std::int64_t offset = 0;  // of a temporary: bytes into the scratch
  };
  struct Step {
    Plan plan;
    std::vector<Operand> operands;  // output first
  };
  std::string symbol;
  int input_count = 0;
  bool is_scaled = false;  // takes alpha and beta after the pointers
  std::int64_t workspace_bytes = 0;
  std::vector<Step> steps;
};

// Bytes of scratch a kernel of this source takes: its temporaries, then the buffers of a step.
std::int64_t scratch_bytes(const KernelSource& source);
// Where each buffer of a plan begins in the step's part of the scratch.
std::vector<std::int64_t> scratch_offsets(const Plan& plan, std::int64_t& size);

}  // namespace einjit
