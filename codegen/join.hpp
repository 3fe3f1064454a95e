// Vectors put end to end, or in turn, in registers.
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

// Of n vectors that hold values of n kinds in turn, v[0] first, a vector of each kind.
std::vector<llvm::Value*> emit_deinterleave(llvm::IRBuilder<>& builder,
                                            const std::vector<llvm::Value*>& vectors);
// The contrary.
std::vector<llvm::Value*> emit_interleave(llvm::IRBuilder<>& builder,
                                          const std::vector<llvm::Value*>& values);

}  // namespace einjit
