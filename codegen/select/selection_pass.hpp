// Selector as a pass of LLVM's code generator, in the place of its own selection.
#pragma once

#include <llvm/CodeGen/MachineFunctionPass.h>

#include <optional>

#include "instructions.hpp"

namespace einjit {

class SelectionPass : public llvm::MachineFunctionPass {
 public:
  static char ID;
  // `has_failed` is set when a function holds something unknown; what is emitted is of no use then.
  SelectionPass(Isa isa, bool& has_failed)
      : MachineFunctionPass(ID), isa_(isa), has_failed_(has_failed) {}

  llvm::StringRef getPassName() const override { return "einjit's instruction selection"; }
  bool runOnMachineFunction(llvm::MachineFunction& function) override;

 private:
  const Isa isa_;
  bool& has_failed_;
  std::optional<Instructions> instructions_;  // looked up by the first function
};

}  // namespace einjit
