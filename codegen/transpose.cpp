#include "transpose.hpp"

#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>

#include <algorithm>
#include <numeric>

#include "unit_frame.hpp"

namespace einjit {
namespace {

using Values = std::vector<llvm::Value*>;

constexpr int kLaneBytes = 16;
constexpr std::size_t kLargeBlock = 8;  // rows

class Transposer {
 public:
  Transposer(llvm::IRBuilder<>& builder, int n, int columns, int lane)
      : builder_(builder), n_(n), columns_(columns), lane_(lane) {}

  // Every stage replaces pairs of vectors by pairs: first the elements of groups of `lane` rows
  // change places within lanes, then whole lanes change places between groups.
  Values run(const Values& rows) {
    Values v = side_by_side(rows);
    for (int group = 1; group < lane_; group *= 2)
      v = stage(v, group, [&](llvm::Value* a, llvm::Value* b, bool high) {
        return interleave(a, b, group, high);
      });
    for (int group = lane_; group < columns_; group *= 2)
      v = stage(v, group,
                [&](llvm::Value* a, llvm::Value* b, bool odd) { return pick_lanes(a, b, odd); });
    return in_order(v);
  }

 private:
  // Rows shorter than a vector share one with those `lane` further on: so their lanes end up in the
  // order of the rows.
  Values side_by_side(const Values& rows) {
    const int parts = n_ / columns_;
    Values v;
    for (int i = 0; i < columns_; ++i) {
      Values whole;
      for (int p = 0; p < parts; ++p)
        whole.push_back(
            rows[static_cast<std::size_t>(i % lane_ + lane_ * (p + parts * (i / lane_)))]);
      for (; whole.size() > 1; whole = joined_pairs(whole)) {
      }
      v.push_back(whole.front());
    }
    return v;
  }

  Values joined_pairs(const Values& halves) {
    Values whole;
    for (std::size_t h = 0; h < halves.size(); h += 2) {
      const auto* type = llvm::cast<llvm::FixedVectorType>(halves[h]->getType());
      std::vector<int> mask(2 * type->getNumElements());
      std::iota(mask.begin(), mask.end(), 0);
      whole.push_back(builder_.CreateShuffleVector(halves[h], halves[h + 1], mask));
    }
    return whole;
  }

  // Vectors `group` apart are a pair.
  template <class Shuffle>
  Values stage(const Values& v, int group, const Shuffle& shuffle) {
    // Combining of shuffles takes LLVM time that grows fast with their depth: one block per stage
    // leaves it nothing to combine.
    if (v.size() >= kLargeBlock) start_block(builder_);
    Values next(v.size());
    for (int i = 0; i < columns_; ++i) {
      if (i & group) continue;
      for (bool second : {false, true})
        next[static_cast<std::size_t>(second ? i + group : i)] =
            shuffle(v[static_cast<std::size_t>(i)], v[static_cast<std::size_t>(i + group)], second);
    }
    return next;
  }

  // One shuffle: within each lane, groups of `group` elements of a and b interleave; `high` takes
  // those of the lane's upper half.
  llvm::Value* interleave(llvm::Value* a, llvm::Value* b, int group, bool high) const {
    std::vector<int> mask;
    for (int base = 0; base < n_; base += lane_)
      for (int at = 0; at < lane_; ++at) {
        const int pair = at / (2 * group), within = at % (2 * group);
        const int from = base + (high ? lane_ / 2 : 0) + pair * group + within % group;
        mask.push_back(within < group ? from : n_ + from);
      }
    return builder_.CreateShuffleVector(a, b, mask);
  }

  // Even (odd) lanes of a, then those of b.
  llvm::Value* pick_lanes(llvm::Value* a, llvm::Value* b, bool odd) const {
    std::vector<int> mask;
    for (int source : {0, n_})
      for (int l = odd; l < n_ / lane_; l += 2)
        for (int e = 0; e < lane_; ++e) mask.push_back(source + l * lane_ + e);
    return builder_.CreateShuffleVector(a, b, mask);
  }

  // The stages within lanes leave columns in the order of their reversed bits, lane by lane.
  Values in_order(const Values& v) const {
    Values sorted(v.size());
    for (int i = 0; i < columns_; ++i) {
      int column = i / lane_ * lane_;
      for (int bit = 1; bit < lane_; bit *= 2)
        if (i & bit) column += lane_ / 2 / bit;
      sorted[static_cast<std::size_t>(column)] = v[static_cast<std::size_t>(i)];
    }
    return sorted;
  }

  llvm::IRBuilder<>& builder_;
  int n_;        // rows, and elements of a vector
  int columns_;  // elements of a row, and vectors
  int lane_;     // elements of a 128-bit lane (or n if that is less)
};

}  // namespace

int least_columns(int n, llvm::Type* element) {
  return std::min(n, kLaneBytes * 8 / static_cast<int>(element->getPrimitiveSizeInBits()));
}

Values emit_transpose(llvm::IRBuilder<>& builder, Values rows, int columns, llvm::Type* element) {
  const int n = static_cast<int>(rows.size());
  if (n == 1) return rows;
  auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(columns));
  for (llvm::Value*& row : rows)
    if (!row) row = llvm::PoisonValue::get(type);
  return Transposer(builder, n, columns, least_columns(n, element)).run(rows);
}

}  // namespace einjit
