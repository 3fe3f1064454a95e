// LLVM's view of a Target: triple, CPU and features of each instruction set.
#pragma once

#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>

#include "einjit/target.hpp"

namespace einjit {

std::unique_ptr<llvm::TargetMachine> make_target_machine(const Target& target);

}  // namespace einjit
