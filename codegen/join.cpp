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

// Consecutive lanes of a vector.
struct Run {
  llvm::Value* vector;
  int from, count;
};

// Neighbours are put together pair by pair: as few shuffles wait for each other as can be.
llvm::Value* joined(llvm::IRBuilder<>& builder, std::vector<Run> runs, int lanes) {
  while (runs.size() > 1 || runs.front().from != 0) {
    std::vector<Run> longer;
    for (std::size_t r = 0; r < runs.size(); r += 2) {
      const Run& a = runs[r];
      const Run b = r + 1 < runs.size() ? runs[r + 1] : Run{a.vector, 0, 0};
      std::vector<int> mask(static_cast<std::size_t>(lanes), llvm::PoisonMaskElem);
      std::iota(mask.begin(), mask.begin() + a.count, a.from);
      std::iota(mask.begin() + a.count, mask.begin() + a.count + b.count, lanes + b.from);
      const bool is_there = b.count == 0 && (a.from == 0 || runs.size() > 1);
      longer.push_back(is_there ? a
                                : Run{builder.CreateShuffleVector(a.vector, b.vector, mask), 0,
                                      a.count + b.count});
    }
    runs = std::move(longer);
  }
  return runs.front().vector;
}

// Lane l of the result is lane `from(l).second` of vector `from(l).first`.
template <class From>
llvm::Value* picked(llvm::IRBuilder<>& builder, const std::vector<llvm::Value*>& vectors,
                    const From& from) {
  const int lanes = width_of(vectors.front());
  llvm::Value* result = vectors.front();
  for (std::size_t v = 1; v < vectors.size(); ++v) {
    std::vector<int> mask(static_cast<std::size_t>(lanes), llvm::PoisonMaskElem);
    for (int l = 0; l < lanes; ++l) {
      const auto [vector, lane] = from(l);
      if (static_cast<std::size_t>(vector) > v) continue;
      const bool is_here = static_cast<std::size_t>(vector) == v;
      mask[static_cast<std::size_t>(l)] = is_here ? lanes + lane : v == 1 ? lane : l;
    }
    result = builder.CreateShuffleVector(result, vectors[v], mask);
  }
  return result;
}

}  // namespace

std::vector<llvm::Value*> emit_deinterleave(llvm::IRBuilder<>& builder,
                                            const std::vector<llvm::Value*>& vectors) {
  const int lanes = width_of(vectors.front()), kinds = static_cast<int>(vectors.size());
  std::vector<llvm::Value*> values;
  for (int kind = 0; kind < kinds; ++kind)
    values.push_back(picked(builder, vectors, [&](int l) {
      const int at = l * kinds + kind;
      return std::pair(at / lanes, at % lanes);
    }));
  return values;
}

std::vector<llvm::Value*> emit_interleave(llvm::IRBuilder<>& builder,
                                          const std::vector<llvm::Value*>& values) {
  const int lanes = width_of(values.front()), kinds = static_cast<int>(values.size());
  std::vector<llvm::Value*> vectors;
  for (int vector = 0; vector < kinds; ++vector)
    vectors.push_back(picked(builder, values, [&](int l) {
      const int at = vector * lanes + l;
      return std::pair(at % kinds, at / kinds);
    }));
  return vectors;
}

std::vector<llvm::Value*> emit_join(llvm::IRBuilder<>& builder, const std::vector<Part>& parts,
                                    int lanes) {
  std::vector<llvm::Value*> vectors;
  std::vector<Run> runs;  // of the vector that is being filled
  int count = 0;          // lanes of it
  for (const Part& part : parts) {
    llvm::Value* next = widened(builder, part.value, lanes);
    for (int from = 0; from < part.active;) {
      const int taken = std::min(part.active - from, lanes - count);
      runs.push_back({next, from, taken});
      from += taken;
      count += taken;
      if (count < lanes) continue;
      vectors.push_back(joined(builder, std::move(runs), lanes));
      runs.clear();
      count = 0;
    }
  }
  if (count > 0) vectors.push_back(joined(builder, std::move(runs), lanes));
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
