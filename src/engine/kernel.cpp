#include "einjit/kernel.hpp"

#include <fmt/format.h>

#include "engine/executable.hpp"
#include "plan/arena.hpp"

namespace einjit {
namespace {

constexpr std::size_t kMostOperands = 32;  // of one step

bool run_step(const Executable& executable, const ExecutableStep& step, void* const* operands,
              char* workspace, const double* scale, const Executor& executor) {
  char* pointers[kMostOperands];
  for (std::size_t o = 0; o < step.operands.size(); ++o) {
    const int number = step.operands[o];
    pointers[o] =
        number < Executable::kFirstTemporary
            ? static_cast<char*>(operands[number])
            : workspace + executable.temporary_offsets[number - Executable::kFirstTemporary];
  }
  return run(step.plan, pointers, scale, executor);
}

Status run_all_steps(const Executable& executable, void* const* operands, const Scale& scale,
                     const Executor& executor) {
  Arena::Lease workspace(Arena::of_this_thread(),
                         static_cast<std::size_t>(executable.workspace_bytes));
  if (!workspace.data()) return Status::out_of_memory;
  for (const ExecutableStep& step : executable.steps)
    if (!run_step(executable, step, operands, workspace.data(), &scale.alpha, executor))
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

Status Kernel::run_steps(void* const* operands, const Scale& scale,
                         const Executor& executor) const noexcept {
  if (!state_) return Status::no_kernel;
  try {
    return run_all_steps(*state_->executable, operands, scale, executor);
  } catch (...) {  // what an executor or its threads could not get
    return Status::out_of_memory;
  }
}

std::span<const Layout> Kernel::inputs() const { return state_->inputs; }
const Layout& Kernel::output() const { return state_->output; }
std::int64_t Kernel::workspace_bytes() const { return state_->executable->workspace_bytes; }
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
