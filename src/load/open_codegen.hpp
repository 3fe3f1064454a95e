// Floor 6: opens the code generator's library. A process whose units are all prebuilt or on disk
// never does, and never pays for LLVM.
#pragma once

#include "unit/codegen.hpp"

namespace einjit {

// Looks for libeinjit_codegen.so where EINJIT_CODEGEN_LIBRARY says, else beside the program, in the
// library directory next to the program's, in the run path, and where it was installed or built.
// One for all engines of a target, until the process ends. Throws std::runtime_error with what was
// tried.
Codegen& open_codegen(const Target& target);

}  // namespace einjit
