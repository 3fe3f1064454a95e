// Short vectors put end to end, in registers.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <vector>

namespace einjit {

// The first `active` lanes of a vector count; a scalar is one.
struct Part {
  llvm::Value* value;
  int active;
};

// The parts' lanes one after the other as vectors of `lanes`; lanes beyond the end are poison.
std::vector<llvm::Value*> emit_join(llvm::IRBuilder<>& builder, const std::vector<Part>& parts,
                                    int lanes);

// The first `width` lanes of a vector; a scalar if that is 1.
llvm::Value* low_lanes(llvm::IRBuilder<>& builder, llvm::Value* vector, int width);

}  // namespace einjit
