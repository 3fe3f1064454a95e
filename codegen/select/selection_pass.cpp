#include "selection_pass.hpp"

#include <llvm/CodeGen/MachineFunction.h>
#include <llvm/CodeGen/MachineInstrBuilder.h>
#include <llvm/CodeGen/TargetInstrInfo.h>

#include "selector.hpp"

namespace einjit {
namespace {

// What is left of a function that is not finished: one block that returns.
void empty(llvm::MachineFunction& function, const Instructions& instructions) {
  for (llvm::MachineBasicBlock& block : function) {
    block.clear();
    while (!block.succ_empty()) block.removeSuccessor(block.succ_begin());
  }
  if (function.empty()) function.push_back(function.CreateMachineBasicBlock());
  while (function.size() > 1) function.erase(std::prev(function.end()));
  function.getRegInfo().clearVirtRegs();
  const llvm::TargetInstrInfo& names = *function.getSubtarget().getInstrInfo();
  if (const unsigned leave = instructions.find(Plain::leave))
    llvm::BuildMI(&function.front(), {}, names.get(leave));
}

}  // namespace

char SelectionPass::ID = 0;

bool SelectionPass::runOnMachineFunction(llvm::MachineFunction& function) {
  if (!instructions_) instructions_.emplace(function.getSubtarget(), isa_);
  if (!instructions_->is_complete() || !Selector(function, *instructions_).run()) {
    has_failed_ = true;
    empty(function, *instructions_);
  }
#ifndef NDEBUG
  function.verify(this, "after einjit's instruction selection");
#endif
  return true;
}

}  // namespace einjit
