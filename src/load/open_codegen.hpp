// Floor 6: opens the code generator's library. A process whose units are all prebuilt or on disk
// never does, and never pays for LLVM.
#pragma once

#include <memory>

#include "unit/codegen.hpp"

namespace einjit {

// Looks for libeinjit_codegen.so where EINJIT_CODEGEN_LIBRARY says, else beside the program, in the
// library directory next to the program's, in the run path, and where it was installed or built.
// Throws std::runtime_error with what was tried.
std::unique_ptr<Codegen> open_codegen(const Target& target);

}  // namespace einjit
