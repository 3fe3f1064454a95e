#include "einjit/kernel.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/executable.hpp"
#include "plan/arena.hpp"

namespace einjit {
namespace {

constexpr std::size_t kMostOperands = 32;  // of one step

bool run_step(const Executable& executable, const ExecutableStep& step, void* const* operands,
              char* workspace, const double* scale, const Executor& executor, Arena& arena) {
  char* pointers[kMostOperands];
  for (std::size_t o = 0; o < step.operands.size(); ++o) {
    const int number = step.operands[o];
    pointers[o] =
        number < Executable::kFirstTemporary
            ? static_cast<char*>(operands[number])
            : workspace + executable.temporary_offsets[number - Executable::kFirstTemporary];
  }
  const bool is_elsewhere = step.elsewhere && items_past_line(pointers[0], 1) > 0;
  return run(is_elsewhere ? *step.elsewhere : step.plan, pointers, scale, executor, arena);
}

Status run_all_steps(const Executable& executable, void* const* operands, const Scale& scale,
                     const Executor& executor, Arena& arena) {
  Arena::Lease workspace(arena, static_cast<std::size_t>(executable.workspace_bytes));
  if (!workspace.data()) return Status::out_of_memory;
  for (const ExecutableStep& step : executable.steps)
    if (!run_step(executable, step, operands, workspace.data(), &scale.alpha, executor, arena))
      return Status::out_of_memory;
  return Status::ok;
}

}  // namespace

Kernel::Kernel(std::shared_ptr<const KernelState> state) : state_(std::move(state)) {
  if (const PlanCall::Variant* variant = state_->executable->direct()) {
    direct_ = variant->code[0]->run;
    slots_ = variant->slots.data();
  }
}

Status Kernel::run_steps(void* const* operands, const Scale& scale, const Executor& executor,
                         std::span<std::byte> scratch) const noexcept {
  if (!state_) return Status::no_kernel;
  try {
    Arena given(scratch);
    return run_all_steps(*state_->executable, operands, scale, executor,
                         scratch.data() ? given : Arena::of_this_thread());
  } catch (...) {  // what an executor or its threads could not get
    return Status::out_of_memory;
  }
}

std::size_t Kernel::scratch_bytes() const {
  const Executable& executable = *state_->executable;
  if (direct_) return 0;
  std::size_t most = 0;
  for (const ExecutableStep& step : executable.steps) {
    most = std::max(most, arena_bytes(step.plan));
    if (step.elsewhere) most = std::max(most, arena_bytes(*step.elsewhere));
  }
  // One line more, for memory that does not begin on one.
  return most + Arena::rounded(static_cast<std::size_t>(executable.workspace_bytes)) + Arena::kLine;
}

std::span<const Layout> Kernel::inputs() const { return state_->inputs; }
const Layout& Kernel::output() const { return state_->output; }
std::int64_t Kernel::workspace_bytes() const { return state_->executable->workspace_bytes; }
double Kernel::predicted_seconds() const { return state_->executable->predicted_seconds; }
std::int64_t Kernel::flop_count() const {
  return static_cast<std::int64_t>(state_->executable->flops);
}

const Layout& Kernel::operand(std::size_t number) const {
  return number == 0 ? state_->output : state_->inputs[number - 1];
}

void Kernel::check_count(std::size_t operands) const {
  if (!state_) throw Error({"this kernel was never compiled"});
  const std::size_t expected = 1 + state_->inputs.size();
  if (operands != expected)
    throw Error({fmt::format("the kernel takes an output and {} inputs, {} views are given",
                             expected - 1, operands)});
}

void Kernel::fail(std::size_t number, const Layout& given) const {
  const std::string name = number == 0 ? "the output" : fmt::format("operand {}", number - 1);
  throw Error({fmt::format("{} is {} but the kernel was compiled for {}", name, given.to_string(),
                           operand(number).to_string())});
}

void Kernel::check_status(Status status) {
  if (status != Status::ok) throw Error({"no memory for the kernel's scratch"});
}

}  // namespace einjit
