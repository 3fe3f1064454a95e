// What a kernel runs: the steps of a program, each with its plan, and where temporaries lie.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "einjit/kernel.hpp"
#include "path/path.hpp"
#include "plan/plan.hpp"

namespace einjit {

struct ExecutableStep {
  Plan plan;
  std::vector<int> operands;  // output first: kernel operand numbers, or kFirstTemporary + t
  std::optional<Plan> elsewhere = {};  // for an output that does not begin at a cache line
};

struct Executable {
  static constexpr int kFirstTemporary = 1 << 20;

  std::vector<ExecutableStep> steps;            // none: the output is empty
  std::vector<std::int64_t> temporary_offsets;  // bytes into the workspace
  std::int64_t workspace_bytes = 0;
  double flops = 0;
  double predicted_seconds = 0;

  // The one unit to call with the operands as they are, or null.
  const PlanCall::Variant* direct() const {
    if (steps.size() != 1 || !steps[0].plan.is_direct || steps[0].elsewhere) return nullptr;
    const PlanCall& call = steps[0].plan.calls[0];
    const PlanCall::Variant& variant = call.variants[0];
    for (const auto& code : variant.code)
      if (code != variant.code[0]) return nullptr;
    for (std::size_t o = 0; o < call.operands.size(); ++o)
      if (steps[0].operands[o] != static_cast<int>(o)) return nullptr;
    return &variant;
  }
};

// What a Kernel points to. Expressions that come down to the same canonical contraction share the
// executable; the layouts are each expression's own.
struct KernelState {
  std::shared_ptr<const Executable> executable;
  std::vector<Layout> inputs;
  Layout output;
};

}  // namespace einjit
