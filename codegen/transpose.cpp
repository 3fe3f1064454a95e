#include "transpose.hpp"

#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>

namespace einjit {
namespace {

using Values = std::vector<llvm::Value*>;

constexpr int kLaneBytes = 16;

struct Transposer {
  llvm::IRBuilder<>& builder;
  int n;     // vectors, and elements of each
  int lane;  // elements of a 128-bit lane (or n if that is less)

  // One shuffle: within each lane, groups of `group` elements of a and b interleave; `high` takes
  // those of the lane's upper half.
  llvm::Value* interleave(llvm::Value* a, llvm::Value* b, int group, bool high) const {
    std::vector<int> mask;
    for (int base = 0; base < n; base += lane)
      for (int at = 0; at < lane; ++at) {
        const int pair = at / (2 * group), within = at % (2 * group);
        const int from = base + (high ? lane / 2 : 0) + pair * group + within % group;
        mask.push_back(within < group ? from : n + from);
      }
    return builder.CreateShuffleVector(a, b, mask);
  }

  // Even (odd) lanes of a, then those of b.
  llvm::Value* pick_lanes(llvm::Value* a, llvm::Value* b, int odd) const {
    std::vector<int> mask;
    for (int source : {0, n})
      for (int l = odd; l < n / lane; l += 2)
        for (int e = 0; e < lane; ++e) mask.push_back(source + l * lane + e);
    return builder.CreateShuffleVector(a, b, mask);
  }

  // Transposes the lane x lane blocks of `lane` consecutive rows.
  Values transpose_in_lanes(const Values& rows) const {
    if (lane == 2)
      return {interleave(rows[0], rows[1], 1, false), interleave(rows[0], rows[1], 1, true)};
    const auto lo0 = interleave(rows[0], rows[1], 1, false);
    const auto hi0 = interleave(rows[0], rows[1], 1, true);
    const auto lo1 = interleave(rows[2], rows[3], 1, false);
    const auto hi1 = interleave(rows[2], rows[3], 1, true);
    return {interleave(lo0, lo1, 2, false), interleave(lo0, lo1, 2, true),
            interleave(hi0, hi1, 2, false), interleave(hi0, hi1, 2, true)};
  }

  // Transposes whole lanes among vectors: result b is lane b of each.
  Values transpose_lanes(const Values& vectors) const {
    const std::size_t count = vectors.size();
    if (count == 1) return vectors;
    Values even, odd, result(count);
    for (std::size_t v = 0; v < count; v += 2) {
      even.push_back(pick_lanes(vectors[v], vectors[v + 1], 0));
      odd.push_back(pick_lanes(vectors[v], vectors[v + 1], 1));
    }
    even = transpose_lanes(even);
    odd = transpose_lanes(odd);
    for (std::size_t v = 0; v < count / 2; ++v) {
      result[2 * v] = even[v];
      result[2 * v + 1] = odd[v];
    }
    return result;
  }
};

}  // namespace

Values emit_transpose(llvm::IRBuilder<>& builder, Values rows, llvm::Type* element) {
  const int n = static_cast<int>(rows.size());
  if (n == 1) return rows;
  auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(n));
  for (llvm::Value*& row : rows)
    if (!row) row = llvm::PoisonValue::get(type);
  const int lane_elements = kLaneBytes * 8 / static_cast<int>(element->getPrimitiveSizeInBits());
  const Transposer transposer{builder, n, std::min(n, lane_elements)};
  const int lane = transposer.lane;
  std::vector<Values> blocks;  // per group of `lane` rows
  for (int g = 0; g < n; g += lane)
    blocks.push_back(
        transposer.transpose_in_lanes(Values(rows.begin() + g, rows.begin() + g + lane)));
  Values result(static_cast<std::size_t>(n));
  for (int j = 0; j < lane; ++j) {
    Values same;
    for (const Values& block : blocks) same.push_back(block[static_cast<std::size_t>(j)]);
    same = transposer.transpose_lanes(same);
    for (std::size_t b = 0; b < same.size(); ++b) result[b * lane + j] = same[b];
  }
  return result;
}

}  // namespace einjit
