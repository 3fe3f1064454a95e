// Transposes in registers, by shuffles that are one instruction each on x86.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <vector>

namespace einjit {

// rows: n vectors of `columns` elements, both powers of two, least_columns(n) <= columns <= n; null
// rows are undefined. Element j of result i, of `columns` vectors of n elements, is element i of
// row j. columns log2(columns) shuffles, and one for each row that shares a vector; the first
// stages stay in 128-bit lanes, the others move whole lanes.
std::vector<llvm::Value*> emit_transpose(llvm::IRBuilder<>& builder, std::vector<llvm::Value*> rows,
                                         int columns, llvm::Type* element);

// The fewest columns of n rows that can be transposed: a 128-bit lane of them.
int least_columns(int n, llvm::Type* element);

}  // namespace einjit
