#include "join.hpp"

#include <algorithm>
#include <numeric>

namespace einjit {
namespace {

int width_of(const llvm::Value* value) {
  const auto* type = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
  return type ? static_cast<int>(type->getNumElements()) : 1;
}

// The same lanes in a vector of `lanes`: costs nothing where registers hold narrower ones.
llvm::Value* widened(llvm::IRBuilder<>& builder, llvm::Value* value, int lanes) {
  const int width = width_of(value);
  if (width == lanes) return value;
  if (width == 1) {
    auto* type = llvm::FixedVectorType::get(value->getType(), static_cast<unsigned>(lanes));
    return builder.CreateInsertElement(llvm::PoisonValue::get(type), value, std::uint64_t{0});
  }
  std::vector<int> mask(static_cast<std::size_t>(lanes), llvm::PoisonMaskElem);
  std::iota(mask.begin(), mask.begin() + width, 0);
  return builder.CreateShuffleVector(value, mask);
}

}  // namespace

std::vector<llvm::Value*> emit_join(llvm::IRBuilder<>& builder, const std::vector<Part>& parts,
                                    int lanes) {
  std::vector<llvm::Value*> vectors;
  llvm::Value* filled = nullptr;
  int count = 0;  // lanes of `filled`
  for (const Part& part : parts) {
    llvm::Value* next = widened(builder, part.value, lanes);
    for (int from = 0; from < part.active;) {
      const int taken = std::min(part.active - from, lanes - count);
      if (!filled && from == 0) {
        filled = next;
      } else {
        std::vector<int> mask(static_cast<std::size_t>(lanes), llvm::PoisonMaskElem);
        std::iota(mask.begin(), mask.begin() + count, 0);
        std::iota(mask.begin() + count, mask.begin() + count + taken, filled ? lanes + from : from);
        filled = builder.CreateShuffleVector(filled ? filled : next, next, mask);
      }
      from += taken;
      count += taken;
      if (count < lanes) continue;
      vectors.push_back(filled);
      filled = nullptr;
      count = 0;
    }
  }
  if (filled) vectors.push_back(filled);
  return vectors;
}

llvm::Value* low_lanes(llvm::IRBuilder<>& builder, llvm::Value* vector, int width) {
  if (width == width_of(vector)) return vector;
  if (width == 1) return builder.CreateExtractElement(vector, std::uint64_t{0});
  std::vector<int> mask(static_cast<std::size_t>(width));
  std::iota(mask.begin(), mask.end(), 0);
  return builder.CreateShuffleVector(vector, mask);
}

}  // namespace einjit
