// Which units einjit's own instruction selection serves, and which are left to LLVM's.
#include <gtest/gtest.h>

#include "einjit/einjit.hpp"
#include "load/open_codegen.hpp"

namespace einjit_test {
namespace {

using namespace einjit;

struct Sample {
  const char* expression;
  std::vector<std::vector<std::int64_t>> extents;
};

// Between them: tiles with and without tails, sums along lanes, transposes, runs put end to end,
// gathers, streams, prefetches, lists of lines to ask for.
const Sample kSamples[] = {
    {"ij,jk->ik", {{21, 21}, {21, 21}}},
    {"ij,jk->ik", {{300, 500}, {500, 400}}},
    {"ij,kj->ik", {{5, 32}, {10, 32}}},
    {"bij,bjk->bik", {{100, 8, 8}, {100, 8, 8}}},
    {"ij,j->i", {{100, 100}, {100}}},
    {"ij->", {{100, 100}}},
    {"ij->j", {{100, 100}}},
    {"ij->ji", {{1000, 900}}},
    {"ijkl->ikjl", {{6, 50, 40, 3}}},
    {"i,j->ij", {{3000}, {3000}}},
    {"xyz->zyx", {{20, 30, 40}}},
    {"ik,jkl,il->ij", {{10, 20}, {15, 20, 25}, {10, 25}}},
};
const Sample kDiagonal{"ii->i", {{100, 100}}};

// How many of the units of `sample` are left to LLVM.
std::int64_t left(const Target& target, const Sample& sample, DType dtype) {
  Engine engine(target, {.cache_directory = ""});
  std::vector<Layout> layouts;
  for (const auto& extents : sample.extents) layouts.push_back(Layout::row_major(dtype, extents));
  Codegen& codegen = open_codegen(target);
  const std::int64_t before = codegen.left_to_llvm();
  const Result<std::string> text = engine.try_explain(sample.expression, layouts, Stage::assembly);
  EXPECT_TRUE(text) << sample.expression;
  EXPECT_NE(text.value_or("").find("ret"), std::string::npos) << sample.expression;
  return codegen.left_to_llvm() - before;
}

TEST(Selection, KnowsAllOfAvx512) {
  for (const Sample& sample : kSamples)
    for (DType dtype : {DType::f32, DType::f64})
      EXPECT_EQ(left(Target::generic(Isa::x86_64_v4), sample, dtype), 0) << sample.expression;
  EXPECT_EQ(left(Target::generic(Isa::x86_64_v4), kDiagonal, DType::f64), 0);
}

TEST(Selection, LeavesGathersBeforeAvx512ToLlvm) {
  EXPECT_EQ(left(Target::generic(Isa::x86_64_v3), kSamples[0], DType::f32), 0);
  EXPECT_EQ(left(Target::generic(Isa::x86_64_v3), kDiagonal, DType::f64), 1);
}

// Labels of two or three are taken apart by permutations; a block of eight by eight is transposed.
TEST(Selection, BlocksAreNotTakenApart) {
  Engine engine(Target::generic(Isa::x86_64_v4), {.cache_directory = ""});
  auto assembly = [&](const char* expression, const std::vector<std::int64_t>& extents) {
    const Layout layout = Layout::row_major(DType::f64, extents);
    return value_or_throw(engine.try_explain(expression, std::span(&layout, 1), Stage::assembly));
  };
  EXPECT_EQ(assembly("bij->bji", {100, 8, 8}).find("vperm"), std::string::npos);
  EXPECT_NE(assembly("ij->ji", {800, 3}).find("vperm"), std::string::npos);
}

}  // namespace
}  // namespace einjit_test
