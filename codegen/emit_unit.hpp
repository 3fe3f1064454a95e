// Floor 7: from a code unit to LLVM IR.
//
// In: a Unit (loops around one tile; sizes constant or arguments). Out: a module with one function
// of type UnitFunction, with explicit vectors, FMAs and masks: what is emitted is what runs, no IR
// optimisation follows. Loops count down and carry their pointers; everything of a tile's box lies
// in registers. Other element types widen in load_value and narrow in the store (see Emitter).
#pragma once

#include <llvm/IR/Module.h>

#include <memory>

#include "unit/unit.hpp"

namespace einjit {

std::unique_ptr<llvm::Module> emit_unit(llvm::LLVMContext& context, const Unit& unit,
                                        const Target& target, const std::string& symbol);

}  // namespace einjit
