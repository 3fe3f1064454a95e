// Square transposes in registers, by shuffles that are one instruction each on x86.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <vector>

namespace einjit {

// rows: n vectors of n elements, n a power of two; null rows are undefined. Element j of result i
// is element i of row j. n log2(n) shuffles; with `lane_bytes` = 16 the first two stages stay in
// 128-bit lanes, the others move whole lanes.
std::vector<llvm::Value*> emit_transpose(llvm::IRBuilder<>& builder, std::vector<llvm::Value*> rows,
                                         llvm::Type* element);

}  // namespace einjit
