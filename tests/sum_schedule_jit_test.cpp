// Schedules of sums, as code: blocks, buffers and levels, any length, pieces for threads, vectors
// that are kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "einjit/einjit.hpp"
#include "support/arrays.hpp"

namespace einjit {
namespace {

using einjit_test::matmul;
using einjit_test::ramp;

TEST(SumSchedules, SumsInBlocks) {
  Engine engine;
  const Layout layout = Layout::row_major(DType::f64, {517});
  const auto a = ramp<double>(517, 13);
  for (const char* schedule :
       {"tile i vec 16 merge 3", "tile i vec 8 merge 1", "tile i vec 16 merge 99",
        "tile i reduce 4 chains 4 merge 5", "tile i reduce merge 517",
        "tile i vec 16 halved merge 4", "tile i vec 20 halved", "tile i reduce gray merge 16",
        "tile i reduce 4 chains 2 gray merge 8"})
    for (Specialization how : {Specialization::always, Specialization::never}) {
      CompileOptions options;
      options.schedule = schedule;
      options.specialization = how;
      double sum = 0;
      EXPECT_EQ(engine.compile("i->", std::span(&layout, 1), options)(&sum, a.data()), Status::ok);
      EXPECT_EQ(sum, std::accumulate(a.begin(), a.end(), 0.0)) << schedule;
    }
}

// A number as large as all others together must not swallow them one by one.
TEST(SumSchedules, LongSumsStayAccurate) {
  std::vector<float> a(1'000'000, 1);
  a[777] = 1e8f;
  const Kernel sum = compile<float>("i->", {{1'000'000}});
  float total = 0;
  EXPECT_EQ(sum(&total, a.data()), Status::ok);
  EXPECT_NEAR(total, 1e8 + 999'999, 4 * 8);  // 8: the distance of floats there
  std::ranges::fill(a, 0.1f);
  EXPECT_EQ(sum(&total, a.data()), Status::ok);
  EXPECT_NEAR(total, 1e6 * static_cast<double>(0.1f), 8 * 0.0078125);
}

// Sums of any length through units that know of none: rows along their vectors, columns in blocks,
// unrolled steps. The same bits as code made for the length, and not far from the exact sum.
TEST(SumSchedules, OneUnitSumsAnyLength) {
  Engine engine(Target::host(), {.cache_directory = ""});
  struct Case {
    const char *expression, *schedule;
  };
  for (const Case& c :
       {Case{"ij->i", "loop i 1; tile j vec 64"}, Case{"ij->i", "loop i 1; tile j vec 32 merge 2"},
        Case{"ij->i", "loop i 3; tile j vec 16, i unroll 3"},
        Case{"ji->i", "tile i vec 16, j reduce merge 4"},
        Case{"ji->i", "loop j 16; tile i vec 16, j reduce"},
        Case{"ji->i", "tile i vec 16, j reduce 4 merge 2"},
        Case{"ji->i", "tile i vec 16, j reduce gray merge 8"},
        Case{"ij->i", "loop i 1; tile j vec 32 halved merge 2"},
        Case{"ij,kj->ik", "loop i 2; loop k 1; tile j vec 16 halved, i unroll 2"},
        Case{"ij,kj->ik", "pack in1; loop i 2; tile k vec 16, i unroll 2, j reduce 2 gray merge 4"},
        Case{"ij,kj->ik", "pack in1; loop i 2; tile k vec 16, i unroll 2, j reduce 8"}})
    for (std::int64_t length :
         {2, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 255, 256, 300}) {
      const std::string_view expression = c.expression;
      const bool is_row = expression.starts_with("ij");
      std::vector<Layout> layouts{
          Layout::row_major(DType::f32, is_row ? std::vector<std::int64_t>{16, length}
                                               : std::vector<std::int64_t>{length, 16})};
      if (expression.contains(',')) layouts.push_back(layouts[0]);
      std::vector<float> a(static_cast<std::size_t>(16 * length));
      for (std::size_t n = 0; n < a.size(); ++n) a[n] = std::sin(static_cast<float>(n));
      std::vector<std::vector<float>> results;
      for (Specialization specialization : {Specialization::always, Specialization::never}) {
        CompileOptions options;
        options.schedule = c.schedule;
        options.specialization = specialization;
        const auto kernel = engine.try_compile(expression, layouts, options);
        ASSERT_TRUE(kernel) << kernel.error().message << c.schedule;
        std::vector<float> out(static_cast<std::size_t>(kernel->output().element_count()), -1);
        void* const operands[] = {out.data(), a.data(), a.data()};
        ASSERT_EQ(kernel->run(operands), Status::ok);
        results.push_back(std::move(out));
      }
      EXPECT_EQ(results[0], results[1]) << c.expression << " " << c.schedule << " " << length;
      for (std::size_t o = 0; o < results[0].size(); ++o) {
        double sum = 0, size = 0;
        const std::size_t rows = expression.contains(',') ? o / 16 : o, other = o % 16;
        for (std::size_t j = 0; j < static_cast<std::size_t>(length); ++j) {
          const auto l = static_cast<std::size_t>(length);
          const double term = !is_row ? a[j * 16 + o]
                              : expression.contains(',')
                                  ? double{a[rows * l + j]} * a[other * l + j]
                                  : a[rows * l + j];
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(results[0][o], sum, size * 1e-6) << c.expression << c.schedule << length;
      }
    }
}

// A product of small numbers, with tails everywhere, by given schedules and as 2 c - c.
struct Product {
  std::vector<Layout> layouts{Layout::row_major(DType::f32, {37, 90}),
                              Layout::row_major(DType::f32, {90, 45})};
  std::vector<float> a = ramp<float>(37 * 90, 7), b = ramp<float>(90 * 45, 5),
                     expected = matmul(a, b, 37, 90, 45);
  void expect(Engine& engine, const char* schedule, const Executor& executor) const {
    for (Specialization how : {Specialization::always, Specialization::never}) {
      CompileOptions options;
      options.schedule = schedule;
      options.specialization = how;
      options.scaling = Scaling::alpha_beta;
      const auto kernel = engine.try_compile("ij,jk->ik", layouts, options);
      ASSERT_TRUE(kernel) << kernel.error().message << schedule;
      std::vector<float> c(37 * 45, 3);
      void* const operands[] = {c.data(), const_cast<float*>(a.data()),
                                const_cast<float*>(b.data())};
      ASSERT_EQ(kernel->run(operands, {1, 0}, &executor), Status::ok);
      EXPECT_EQ(c, expected) << schedule;
      ASSERT_EQ(kernel->run(operands, {2, -1}, &executor), Status::ok);
      EXPECT_EQ(c, expected) << schedule;
    }
  }
};

// Sums cut by loops alone: no tile holds the label, and later pieces are added all the same.
TEST(SumSchedules, SumsCutByLoopsAlone) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const Product product;
  for (const char* schedule :
       {"loop j 1; loop i 1; loop k 16; tile k vec 16", "loop i 1; loop j 1; tile k vec 48",
        "loop j 17; loop i 4; loop k 16; prefetch out; tile k vec 16, i unroll 4, j reduce",
        "loop j 1; pack in1; loop i 4; loop k 16; tile k vec 16, i unroll 4",
        "loop j 4; loop i 4; loop k 16; tile k vec 16, i unroll 4, j reduce 4 merge 1"})
    product.expect(engine, schedule, serial_executor);
}

// Partial sums in buffers, one inside the other, scaled when they come to the output; by labels
// that lie otherwise there, and that no tile holds.
TEST(SumSchedules, SumsInBuffers) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const Product product;
  const ThreadPool threads(3);
  for (const char* schedule :
       {"loop j 32; buffer out; loop j 4; loop i 4; loop k 16; tile k vec 16, i unroll 4, "
        "j reduce 4",
        "loop j 40; buffer out; loop i 5; loop j 20; buffer out; loop j 3; loop k 16; "
        "tile k vec 16, i unroll 5, j reduce",
        "loop i 10 parallel; loop j 32; buffer out; loop i 1; loop j 1; loop k 32; tile k vec 32",
        "loop j 24 parallel; buffer out; loop j 8; loop i 4; loop k 16; tile k vec 16, "
        "i unroll 4, j reduce 8",
        "loop k 20; loop j 7 parallel; buffer out; pack in1; loop i 16; loop k 4; loop j 2; "
        "tile i vec 16, k unroll 4, j reduce",
        "loop j 30 parallel; buffer out; loop j 10; buffer out; loop i 1; loop k 1; loop j 5; "
        "tile j vec 16",
        "buffer out; loop j 16; loop i 8 parallel; loop i 4; loop k 16; tile k vec 16, "
        "i unroll 4, j reduce",
        // Copies that are shared out along the sum fill no buffers.
        "pack in1; loop i 8 parallel; loop k 16; loop i 4; tile k vec 16, i unroll 4, j reduce",
        "pack in1; pack in0; loop k 16 parallel; loop i 4; tile k vec 16, i unroll 4, j reduce",
        "loop j 32; buffer out; pack in1; loop k 16 parallel; loop j 4; loop i 4; "
        "tile k vec 16, i unroll 4, j reduce 4"})
    for (const Executor& executor : {serial_executor, threads.executor()})
      product.expect(engine, schedule, executor);
}

// Columns of many rows from memory: of few additions each, to the same bits on every number of
// threads, also where the scratch is the caller's.
TEST(SumSchedules, ColumnSumsInLevels) {
  constexpr std::int64_t kRows = 40000, kColumns = 1030;
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kRows, kColumns})};
  std::vector<float> a(kRows * kColumns, 0.1f);
  a[777] = 1e8f;
  const Kernel sums = engine.compile("ij->j", layouts);
  const std::string schedule =
      value_or_throw(Engine(Target::generic(Isa::x86_64_v4), {.cache_directory = ""})
                         .try_explain("ij->j", layouts, Stage::schedule));
  EXPECT_NE(schedule.find("parallel\nbuffer out"), std::string::npos) << schedule;
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 3, 4}) {
    std::vector<float> out(kColumns);
    void* const operands[] = {out.data(), a.data()};
    const ThreadPool pool(threads);
    const Executor executor = pool.executor();
    std::vector<std::byte> scratch(static_cast<std::size_t>(sums.scratch_bytes()));
    ASSERT_EQ(sums.run(operands, {}, &executor, scratch), Status::ok);
    results.push_back(std::move(out));
    EXPECT_EQ(results.back(), results.front()) << threads;
  }
  for (std::size_t j = 0; j < kColumns; ++j) {
    const double exact = kRows * static_cast<double>(0.1f) + (j == 777 ? 1e8 - 0.1f : 0);
    const double ulp = j == 777 ? 8 : 0.000244140625;
    EXPECT_NEAR(results.front()[j], exact, 8 * ulp) << j;
  }
}

// Sums over everything are shared out: few ulps off, to the same bits on every number of threads.
TEST(SumSchedules, LongSumsAreSharedOut) {
  constexpr std::int64_t kSize = 9'000'001;
  Engine engine;
  const Layout layout = Layout::row_major(DType::f32, {kSize});
  std::vector<float> a(kSize, 1), b(kSize, 0.5f);
  a[777] = b[kSize - 5] = 1e8f;
  for (const std::string expression : {"i->", "i,i->"}) {
    const std::vector<Layout> layouts(expression.size() == 3 ? 1 : 2, layout);
    // Of a machine whose caches do not hold them, whatever this one's do.
    Engine small(Target::generic(Isa::x86_64_v4), {.cache_directory = ""});
    EXPECT_NE(value_or_throw(small.try_explain(expression, layouts, Stage::schedule))
                  .find("parallel\nbuffer out"),
              std::string::npos);
    const Kernel sum = engine.compile(expression, layouts);
    const double exact = layouts.size() == 1 ? kSize - 1 + 1e8 : 0.5 * (kSize - 2) + 0.5e8 + 1e8;
    float first = 0;
    for (int threads : {1, 2, 3, 4}) {
      const ThreadPool pool(threads);
      const Executor executor = pool.executor();
      float out = 0;
      void* const operands[] = {&out, a.data(), b.data()};
      ASSERT_EQ(sum.run(operands, {}, &executor), Status::ok);
      if (threads == 1) first = out;
      EXPECT_EQ(out, first) << threads;
    }
    EXPECT_NEAR(first, exact, 4 * 8) << expression;  // ulps
  }
}

// So are sums of short rows, whose output is one tile: exactly where numbers are whole.
TEST(SumSchedules, TallSumsAreSharedOut) {
  constexpr std::int64_t kRows = 200'003, kWidth = 13;
  Engine engine(Target::generic(Isa::x86_64_v3), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kRows, kWidth})};
  EXPECT_NE(value_or_throw(engine.try_explain("ji->i", layouts, Stage::schedule))
                .find("parallel\nbuffer out"),
            std::string::npos);
  const Kernel sum = engine.compile("ji->i", layouts);
  const auto a = ramp<float>(kRows * kWidth, 7);
  std::vector<float> expected(kWidth);
  for (std::size_t n = 0; n < a.size(); ++n) expected[n % kWidth] += a[n];
  for (int threads : {1, 2, 3, 4}) {
    const ThreadPool pool(threads);
    const Executor executor = pool.executor();
    std::vector<float> out(kWidth, -1);
    void* const operands[] = {out.data(), const_cast<float*>(a.data())};
    ASSERT_EQ(sum.run(operands, {}, &executor), Status::ok);
    EXPECT_EQ(out, expected) << threads;
  }
}

// Rows as long as they go on, a few at a time; the output, which lies across them, is written once.
TEST(SumSchedules, SumsOfTransposesAreTurnedOnce) {
  constexpr std::int64_t kTerms = 43, kRows = 121, kColumns = 517;
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kTerms, kRows, kColumns})};
  const auto a = ramp<float>(kTerms * kRows * kColumns, 7);
  std::vector<float> expected(kRows * kColumns);
  for (std::size_t n = 0; n < a.size(); ++n)
    expected[n % kColumns * kRows + n / kColumns % kRows] += a[n];
  for (const char* schedule :
       {"loop k 16 parallel; buffer out; loop i 8; loop k 1; loop j 64; tile j vec 64, i reduce 8",
        "loop i 16 parallel; buffer out; loop i 8; loop k 3; tile j vec 517, k unroll 3, i reduce",
        ""})
    for (int threads : {1, 3}) {
      CompileOptions options;
      options.schedule = schedule;
      const Kernel sum = engine.compile("ikj->jk", layouts, options);
      const ThreadPool pool(threads);
      const Executor executor = pool.executor();
      std::vector<float> out(kRows * kColumns, -1);
      void* const operands[] = {out.data(), const_cast<float*>(a.data())};
      ASSERT_EQ(sum.run(operands, {}, &executor), Status::ok);
      EXPECT_EQ(out, expected) << schedule << " " << threads;
    }
}

// Two summed labels: vectors along one, steps and blocks to transpose along the other; with tails,
// in pieces, as units for one shape and for any.
TEST(SumSchedules, TurnedDotsKeepTheirVectors) {
  Engine engine(Target::host(), {.cache_directory = ""});
  for (auto [rows, columns] : {std::pair{16, 16}, {5, 3}, {3, 40}, {37, 53}, {64, 80}, {70, 49}}) {
    const std::vector<Layout> layouts{Layout::row_major(DType::f32, {rows, columns}),
                                      Layout::row_major(DType::f32, {columns, rows})};
    const auto a = ramp<float>(rows * columns, 13), b = ramp<float>(rows * columns, 11);
    float expected = 0;
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j)
        expected += a[static_cast<std::size_t>(i * columns + j)] *
                    b[static_cast<std::size_t>(j * rows + i)];
    for (const char* schedule :
         {"loop j 16; tile j vec 16 kept, i reduce 16", "loop j 24; tile j vec 24 kept, i reduce 8",
          "loop i 8; loop j 40; tile j vec 40 kept, i reduce 4 chains 2",
          "loop i 32 parallel; buffer out; loop j 5; tile j vec 8 kept, i reduce 4 merge 2",
          "loop j 4; loop i 1; tile j vec 4 kept", "loop i 20; tile i vec 20 kept, j reduce 16",
          "loop i 32; loop j 6; loop i 3; tile i vec 3 kept, j reduce"})
      for (Specialization how : {Specialization::always, Specialization::never}) {
        CompileOptions options;
        options.schedule = schedule;
        options.specialization = how;
        const auto kernel = engine.try_compile("ij,ji->", layouts, options);
        ASSERT_TRUE(kernel) << kernel.error().message << schedule;
        float sum = -1;
        ASSERT_EQ((*kernel)(&sum, a.data(), b.data()), Status::ok);
        EXPECT_EQ(sum, expected) << schedule << " " << rows << " " << columns;
      }
  }
}

// Lanes beyond the end of a kept label take no part, whatever others are multiplied by.
TEST(SumSchedules, IdleLanesOfKeptVectorsAreLeftOut) {
  Engine engine;
  const std::vector<Layout> layouts{Layout::row_major(DType::f64, {6, 11}),
                                    Layout::row_major(DType::f64, {6})};
  const std::vector<double> a(66, 1), b(6, std::numeric_limits<double>::infinity());
  CompileOptions options;
  options.schedule = "loop j 8; tile j vec 8 kept, i reduce 2";
  double sum = 0;
  EXPECT_EQ(engine.compile("ij,i->", layouts, options)(&sum, a.data(), b.data()), Status::ok);
  EXPECT_EQ(sum, b[0]);
}

// The dot of a matrix and a transposed one: the same bits on any number of threads.
TEST(SumSchedules, TurnedDotsAreSharedOut) {
  constexpr std::int64_t kRows = 1301, kColumns = 1777;
  Engine engine(Target::generic(Isa::x86_64_v4), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kRows, kColumns}),
                                    Layout::row_major(DType::f32, {kColumns, kRows})};
  const std::string schedule =
      value_or_throw(engine.try_explain("ij,ji->", layouts, Stage::schedule));
  EXPECT_NE(schedule.find("parallel\nbuffer out"), std::string::npos) << schedule;
  EXPECT_NE(schedule.find("kept"), std::string::npos) << schedule;
  Engine host(Target::host(), {.cache_directory = ""});
  const Kernel dot = host.compile("ij,ji->", layouts);
  std::vector<float> a(kRows * kColumns), b(kRows * kColumns);
  double expected = 0, size = 0;
  for (std::size_t n = 0; n < a.size(); ++n) a[n] = std::sin(static_cast<float>(n));
  for (std::size_t n = 0; n < b.size(); ++n) b[n] = std::cos(static_cast<float>(3 * n));
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const double term = double{a[static_cast<std::size_t>(i * kColumns + j)]} *
                          b[static_cast<std::size_t>(j * kRows + i)];
      expected += term;
      size += std::abs(term);
    }
  std::vector<float> sums;
  for (int threads : {1, 2, 3, 4}) {
    const ThreadPool pool(threads);
    const Executor executor = pool.executor();
    float sum = -1;
    void* const operands[] = {&sum, a.data(), b.data()};
    ASSERT_EQ(dot.run(operands, {}, &executor), Status::ok);
    sums.push_back(sum);
  }
  EXPECT_EQ(sums, std::vector<float>(4, sums[0]));
  EXPECT_NEAR(sums[0], expected, size * 1e-6);
}

}  // namespace
}  // namespace einjit
