// Floor 7: from a kernel's plans to one module: its units as local functions, and a driver that
// walks the plans with every size known.
//
// The driver's signature is C's: void symbol(T* out, const T* in0, ..., [double alpha, double
// beta,] void* scratch). What src/plan/run_plan.cpp does at run time is unrolled here over the
// kinds of pieces: each loop becomes its whole pieces and its tail.
#pragma once

#include <llvm/IR/Module.h>

#include <memory>

#include "plan/kernel_source.hpp"

namespace einjit {

std::unique_ptr<llvm::Module> emit_kernel(llvm::LLVMContext& context, const KernelSource& source,
                                          const Target& target);

}  // namespace einjit
