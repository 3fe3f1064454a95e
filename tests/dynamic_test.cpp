// Kernels of dynamic extents against kernels compiled for each extent.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "einjit/einjit.hpp"

namespace einjit {
namespace {

std::vector<float> numbers(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(std::max<std::int64_t>(count, 1)));
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 9) - 4);
  return values;
}

// Runs the dynamic kernel and one compiled for these extents; integers agree exactly.
void expect_same(Engine& engine, const DynamicKernel& dynamic, const std::string& expression,
                 const std::vector<std::vector<std::int64_t>>& shapes) {
  std::vector<Layout> layouts;
  std::vector<std::vector<float>> data;
  for (const auto& shape : shapes) {
    layouts.push_back(Layout::row_major(DType::f32, shape));
    data.push_back(numbers(layouts.back().element_count(), static_cast<unsigned>(data.size())));
  }
  const Kernel plain = engine.compile(expression, layouts);
  const Result<Kernel> bound = dynamic.try_at(layouts);
  ASSERT_TRUE(bound) << bound.error().render();
  std::vector<float> expected = numbers(plain.output().element_count(), 99), result = expected;
  auto run = [&](const Kernel& kernel, std::vector<float>& out) {
    std::vector<void*> operands{out.data()};
    for (auto& values : data) operands.push_back(values.data());
    ASSERT_EQ(kernel.run(operands.data()), Status::ok);
  };
  run(plain, expected);
  run(*bound, result);
  EXPECT_EQ(expected, result) << expression << " at " << layouts[0].to_string();
}

TEST(Dynamic, ABatchCompilesOnce) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::string expression = "bij,bjk->bik";
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {16, 24, 24}));
  const DynamicKernel kernel = engine.compile_dynamic(expression, {"b"}, layouts);
  const std::int64_t compiled = engine.statistics().units_compiled;
  for (std::int64_t b = 1; b <= 50; ++b) {
    const std::vector<Layout> now(2, Layout::row_major(DType::f32, {b, 24, 24}));
    ASSERT_TRUE(kernel.try_at(now));
  }
  EXPECT_EQ(engine.statistics().units_compiled, compiled);
  EXPECT_EQ(kernel.compiled_count(), 0);
  EXPECT_EQ(kernel.plan_count(), 50);
  for (std::int64_t b : {0, 1, 2, 7, 33})
    expect_same(engine, kernel, expression, {{b, 24, 24}, {b, 24, 24}});
}

// Rows, columns and the sum itself, one at a time and together, around and below the tiles.
TEST(Dynamic, EveryRoleOfALabel) {
  Engine engine(Target::host(), {.cache_directory = ""});
  for (const std::vector<std::string>& labels :
       std::vector<std::vector<std::string>>{{"i"}, {"k"}, {"j"}, {"i", "k"}, {"i", "j", "k"}}) {
    const std::vector<Layout> typical{Layout::row_major(DType::f32, {100, 90}),
                                      Layout::row_major(DType::f32, {90, 110})};
    const DynamicKernel kernel = engine.compile_dynamic("ij,jk->ik", labels, typical);
    const std::int64_t compiled = engine.statistics().units_compiled;
    auto is_dynamic = [&](const char* l) { return std::ranges::find(labels, l) != labels.end(); };
    std::vector<std::vector<std::vector<std::int64_t>>> cases;
    for (std::int64_t extent : {2, 3, 5, 16, 31, 63, 64, 65, 130, 257, 1}) {
      const std::int64_t i = is_dynamic("i") ? extent : 100, j = is_dynamic("j") ? extent : 90,
                         k = is_dynamic("k") ? extent : 110;
      cases.push_back({{i, j}, {j, k}});
      const std::vector<Layout> now{Layout::row_major(DType::f32, {i, j}),
                                    Layout::row_major(DType::f32, {j, k})};
      // An extent of 1 makes the axis outside of it contiguous, which is other code.
      if (extent == 1) {
        EXPECT_EQ(engine.statistics().units_compiled, compiled);
      }
      ASSERT_TRUE(kernel.try_at(now));
    }
    EXPECT_LE(engine.statistics().units_compiled, compiled + 2);
    EXPECT_EQ(kernel.compiled_count(), 0);
    for (const auto& shapes : cases) expect_same(engine, kernel, "ij,jk->ik", shapes);
  }
}

TEST(Dynamic, OtherExpressions) {
  Engine engine(Target::host(), {.cache_directory = ""});
  struct Case {
    std::string expression;
    std::vector<std::string> labels;
    std::vector<std::vector<std::int64_t>> typical;
    std::vector<std::vector<std::vector<std::int64_t>>> others;
  };
  const std::vector<Case> cases{
      {"ij->ji", {"i"}, {{40, 50}}, {{{1, 50}}, {{17, 50}}, {{300, 50}}}},
      {"ij->ji", {"i", "j"}, {{40, 50}}, {{{1, 1}}, {{17, 3}}, {{300, 129}}}},
      {"ij->j", {"i"}, {{1000, 64}}, {{{1, 64}}, {{3000, 64}}, {{77, 64}}}},
      {"ij->i", {"j"}, {{64, 1000}}, {{{64, 1}}, {{64, 3000}}, {{64, 77}}}},
      {"bhid,bhjd->bhij",
       {"b", "i", "j"},
       {{2, 4, 64, 32}, {2, 4, 64, 32}},
       {{{1, 4, 1, 32}, {1, 4, 9, 32}}, {{3, 4, 33, 32}, {3, 4, 70, 32}}}},
      {"ij,jk,kl->il",
       {"i"},
       {{30, 40}, {40, 50}, {50, 20}},
       {{{7, 40}, {40, 50}, {50, 20}}, {{111, 40}, {40, 50}, {50, 20}}}},
      {"ik,jkl,il->ij",
       {"i", "l"},
       {{20, 12}, {15, 12, 25}, {20, 25}},
       {{{3, 12}, {15, 12, 7}, {3, 7}}, {{50, 12}, {15, 12, 60}, {50, 60}}}},
      {"...ij,jk->...ik", {"i"}, {{2, 30, 40}, {40, 50}}, {{{2, 5, 40}, {40, 50}}}},
      {"i,i->", {"i"}, {{1000}, {1000}}, {{{1}, {1}}, {{123}, {123}}, {{4096}, {4096}}}},
      {"ii->i", {"i"}, {{30, 30}}, {{{5, 5}}, {{64, 64}}}},
  };
  for (const Case& c : cases) {
    std::vector<Layout> layouts;
    for (const auto& shape : c.typical) layouts.push_back(Layout::row_major(DType::f32, shape));
    const auto kernel = engine.try_compile_dynamic(c.expression, c.labels, layouts);
    ASSERT_TRUE(kernel) << c.expression << kernel.error().render();
    for (const auto& shapes : c.others) expect_same(engine, *kernel, c.expression, shapes);
    expect_same(engine, *kernel, c.expression, c.typical);
  }
}

// Of operands from memory, whose next blocks are asked for at planned strides.
TEST(Dynamic, ProductsOfTransposedMatrices) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::string expression = "ij,ji->ij";
  for (const char* label : {"i", "j"}) {
    const std::vector<Layout> layouts{Layout::row_major(DType::f32, {1000, 1104}),
                                      Layout::row_major(DType::f32, {1104, 1000})};
    const DynamicKernel kernel = engine.compile_dynamic(expression, {label}, layouts);
    for (std::int64_t extent : {1000, 1301, 700, 33, 1}) {
      const bool is_row = *label == 'i';
      const std::int64_t rows = is_row ? extent : 1000, columns = is_row ? 1104 : extent;
      expect_same(engine, kernel, expression, {{rows, columns}, {columns, rows}});
    }
  }
}

TEST(Dynamic, MistakesAreToldClearly) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {4, 5}),
                                    Layout::row_major(DType::f32, {5, 6})};
  const std::vector<std::string> unknown{"x"}, i{"i"};
  EXPECT_NE(engine.try_compile_dynamic("ij,jk->ik", unknown, layouts).error().message.find("'x'"),
            std::string::npos);
  const DynamicKernel kernel = engine.compile_dynamic("ij,jk->ik", {"i"}, layouts);
  const std::vector<Layout> wrong{Layout::row_major(DType::f32, {4, 7}),
                                  Layout::row_major(DType::f32, {7, 6})};
  EXPECT_NE(kernel.try_at(wrong).error().message.find("'j'"), std::string::npos);
  const std::vector<Layout> single{Layout::row_major(DType::f32, {1, 5}),
                                   Layout::row_major(DType::f32, {5, 6})};
  EXPECT_FALSE(engine.try_compile_dynamic("ij,jk->ik", i, single));
  EXPECT_FALSE(DynamicKernel().try_at(layouts));
}

TEST(Dynamic, TakesViews) {
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {8, 4}),
                                    Layout::row_major(DType::f32, {4, 3})};
  const DynamicKernel kernel = Engine::standard().compile_dynamic("ij,jk->ik", {"i"}, layouts);
  std::vector<float> a(20, 1), b(12, 2), c(15);
  const Layout left = Layout::row_major(DType::f32, {5, 4}), right = layouts[1],
               out = Layout::row_major(DType::f32, {5, 3});
  kernel(TensorView<float>(c.data(), out), TensorView<const float>(a.data(), left),
         TensorView<const float>(b.data(), right));
  for (float value : c) EXPECT_EQ(value, 8);
}

}  // namespace
}  // namespace einjit
