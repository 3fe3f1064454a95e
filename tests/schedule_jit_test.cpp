// What schedules become: given ones, hints, blocks of sums, packed products, as code.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "einjit/einjit.hpp"
#include "support/arrays.hpp"

namespace einjit {
namespace {

using einjit_test::matmul;
using einjit_test::ramp;

TEST(Schedules, GivenSchedules) {
  Engine engine;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f64, {30, 30}));
  CompileOptions options;
  options.schedule = "loop k 16; pack in1; loop i 4; tile k vec 16, i unroll 4, j reduce 2";
  const auto a = ramp<double>(900, 13), b = ramp<double>(900, 11);
  std::vector<double> c(900);
  EXPECT_EQ(engine.compile("ij,jk->ik", layouts, options)(c.data(), a.data(), b.data()),
            Status::ok);
  EXPECT_EQ(c, matmul(a, b, 30, 30, 30));
  options.schedule = "loop k 16";
  EXPECT_FALSE(engine.try_compile("ij,jk->ik", layouts, options));
}

// What is asked for ahead is a hint: it changes nothing, in pieces of any length.
TEST(Schedules, LinesAskedForAhead) {
  Engine engine;
  const std::int64_t m = 50, k = 37, n = 30;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {m, k}),
                                    Layout::row_major(DType::f32, {k, n})};
  const auto a = ramp<float>(m * k, 13), b = ramp<float>(k * n, 11);
  for (const char* schedule :
       {"loop k 16; loop j 10; pack in0 ahead; loop i 4; tile k vec 16, i unroll 4, j reduce 2",
        "loop i 12 parallel; loop j 10; pack in0 ahead; pack in1; loop k 16; loop i 4; "
        "tile k vec 16, i unroll 4, j reduce",
        "pack in0 ahead; loop i 4; loop k 16; tile k vec 16, i unroll 4, j reduce",
        "loop i 4; loop k 16; prefetch in1 k 16; tile k vec 16, i unroll 4, j reduce",
        "loop i 10; prefetch in0 next; loop k 16; loop i 2; tile k vec 16, i unroll 2, j reduce",
        "loop k 16; prefetch in1 next; loop i 3; tile k vec 16, i unroll 3, j reduce 2"})
    for (Specialization how : {Specialization::always, Specialization::never}) {
      CompileOptions options;
      options.schedule = schedule;
      options.specialization = how;
      std::vector<float> c(static_cast<std::size_t>(m * n));
      EXPECT_EQ(engine.compile("ij,jk->ik", layouts, options)(c.data(), a.data(), b.data()),
                Status::ok);
      EXPECT_EQ(c, matmul(a, b, m, k, n)) << schedule;
    }
}

// Blocks of parts of lines, in registers: rows share vectors, whatever is left over.
TEST(Schedules, BlocksOfFewColumnsAreTransposed) {
  constexpr std::int64_t kRows = 101, kColumns = 83;
  const auto a = ramp<float>(kRows * kColumns, 9973);
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kRows, kColumns})};
  for (Isa isa : {Isa::x86_64_v3, Isa::x86_64_v4}) {
    if (Target::host().isa < isa) GTEST_SKIP() << "this machine is no " << name_of(isa);
    Engine engine(Target::generic(isa), {.cache_directory = ""});
    for (const std::string columns : {"2", "3", "4", "6", "8", "12"})
      for (const std::string asked : {"", "loop i 40; loop j 24; prefetch in0 next; "})
        for (Specialization how : {Specialization::always, Specialization::never}) {
          CompileOptions options;
          options.schedule =
              asked + "loop j " + columns + "; loop i 16; tile i vec 16, j unroll " + columns;
          options.specialization = how;
          std::vector<float> turned(static_cast<std::size_t>(kRows * kColumns));
          ASSERT_EQ(engine.compile("ij->ji", layouts, options)(turned.data(), a.data()),
                    Status::ok);
          for (std::int64_t i = 0; i < kRows; ++i)
            for (std::int64_t j = 0; j < kColumns; ++j)
              ASSERT_EQ(turned[static_cast<std::size_t>(j * kRows + i)],
                        a[static_cast<std::size_t>(i * kColumns + j)])
                  << options.schedule;
        }
  }
}

TEST(Schedules, GivenSchedulesGoByTheirLabels) {
  Engine engine;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f64, {30, 30}));
  CompileOptions options;
  options.schedule = "loop i 4; loop k 16; tile k vec 16, i unroll 4, j reduce";
  EXPECT_TRUE(engine.try_compile("ij,jk->ik", layouts, options));
  EXPECT_FALSE(engine.try_compile("ab,bc->ac", layouts, options));
}

// An MTTKRP of small numbers, with tails everywhere.
struct Mttkrp {
  std::vector<Layout> layouts{Layout::row_major(DType::f32, {37, 11, 13}),
                              Layout::row_major(DType::f32, {11, 29}),
                              Layout::row_major(DType::f32, {13, 29})};
  std::vector<float> a = ramp<float>(37 * 11 * 13, 7), b = ramp<float>(11 * 29, 5),
                     c = ramp<float>(13 * 29, 3), expected = std::vector<float>(37 * 29);
  Mttkrp() {
    for (int i = 0; i < 37; ++i)
      for (int r = 0; r < 29; ++r)
        for (int j = 0; j < 11; ++j)
          for (int k = 0; k < 13; ++k)
            expected[static_cast<std::size_t>(i * 29 + r)] +=
                a[static_cast<std::size_t>((i * 11 + j) * 13 + k)] *
                b[static_cast<std::size_t>(j * 29 + r)] * c[static_cast<std::size_t>(k * 29 + r)];
  }
  void expect(Engine& engine, const char* schedule, Specialization how) const {
    CompileOptions options;
    options.schedule = schedule;
    options.specialization = how;
    std::vector<float> out(37 * 29);
    const Kernel kernel = engine.compile("ijk,jr,kr->ir", layouts, options);
    ASSERT_EQ(kernel(out.data(), a.data(), b.data(), c.data()), Status::ok);
    EXPECT_EQ(out, expected) << schedule;
  }
};

// Products of inputs made while they are packed: given and chosen.
TEST(Schedules, ProductsArePacked) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const Mttkrp mttkrp;
  for (const char* schedule :
       {"loop j 4; pack in1*in2; loop i 10; loop r 16; loop i 5; tile r vec 16, i unroll 5, "
        "j reduce, k reduce",
        "loop k 5; pack in2*in1; pack in0; loop r 16; loop i 6; tile r vec 16, i unroll 6, "
        "j reduce, k reduce",
        "loop i 16; pack in1*in2; loop r 6; tile i vec 16, r unroll 6, j reduce, k reduce"})
    mttkrp.expect(engine, schedule, Specialization::always);
  // Nothing is left to be kept between steps.
  const std::vector<Layout> large{Layout::row_major(DType::f32, {128, 64, 64}),
                                  Layout::row_major(DType::f32, {64, 32}),
                                  Layout::row_major(DType::f32, {64, 32})};
  EXPECT_EQ(engine.compile("ijk,jr,kr->ir", large).workspace_bytes(), 0);
  CompileOptions twice;
  twice.schedule = "pack in1*in1; loop i 1; tile r vec 16, j reduce, k reduce";
  EXPECT_FALSE(engine.try_compile("ijk,jr,kr->ir", mttkrp.layouts, twice));
}

// Inputs that multiply sums instead of their terms, at every depth of the sum.
TEST(Schedules, FactorsMultiplySums) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const Mttkrp mttkrp;
  for (Specialization how : {Specialization::always, Specialization::never})
    for (const char* schedule :
         {"loop i 5; loop r 16; factor out in1; tile r vec 16, i unroll 5, j reduce, k reduce",
          "pack in1; loop j 4; pack in2; loop i 10; loop r 16; loop i 5; factor out in1; "
          "tile r vec 16, i unroll 5, j reduce 2, k reduce 4",
          "loop j 1; loop i 5; loop r 16; factor out in1; tile r vec 16, i unroll 5, k reduce",
          "loop i 4; loop r 16; factor out in2; tile r vec 16, i unroll 4, k reduce, "
          "j reduce 2 chains 2",
          "loop i 1; loop r 1; factor out in1; tile k vec 16, j reduce",
          "loop i 2; loop r 8; factor out in1; tile i vec 8, r unroll 8, j reduce, "
          "k reduce gray merge 4",
          "loop k 1; loop i 2; loop r 16; factor out in2; tile r vec 16, i unroll 2, j reduce "
          "merge 3"})
      mttkrp.expect(engine, schedule, how);
  for (const char* schedule :
       {"loop i 1; loop r 16; factor out in0; tile r vec 16, j reduce, k reduce",
        "loop i 1; loop r 16; factor out in1; tile r vec 16, k reduce, j reduce",
        "loop j 4; pack in1*in2; loop i 1; loop r 16; factor out in1; "
        "tile r vec 16, j reduce, k reduce",
        "loop i 1; loop r 16; loop j 1; loop k 1; factor out in1; tile r vec 16",
        "loop i 1; factor in1; tile r vec 32, j reduce, k reduce"}) {
    CompileOptions options;
    options.schedule = schedule;
    EXPECT_FALSE(engine.try_compile("ijk,jr,kr->ir", mttkrp.layouts, options)) << schedule;
  }
}

// What comes to the output is scaled as ever.
TEST(Schedules, FactorsAreChosenForBilinearForms) {
  constexpr std::int64_t kSize = 40;
  Engine engine;
  const std::vector<Layout> layouts{Layout::row_major(DType::f64, {kSize, kSize}),
                                    Layout::row_major(DType::f64, {kSize, kSize, kSize}),
                                    Layout::row_major(DType::f64, {kSize, kSize})};
  const auto a = ramp<double>(kSize * kSize, 7), b = ramp<double>(kSize * kSize * kSize, 5),
             c = ramp<double>(kSize * kSize, 3);
  CompileOptions options;
  options.scaling = Scaling::alpha_beta;
  options.path = Path::one_nest;
  const Kernel kernel = engine.compile("ik,jkl,il->ij", layouts, options);
  EXPECT_NE(value_or_throw(engine.try_explain("ik,jkl,il->ij", layouts, Stage::schedule, options))
                .find("factor out in0"),
            std::string::npos);
  std::vector<double> out(kSize * kSize, 1);
  void* const operands[] = {out.data(), const_cast<double*>(a.data()),
                            const_cast<double*>(b.data()), const_cast<double*>(c.data())};
  ASSERT_EQ(kernel.run(operands, {2, 3}), Status::ok);
  for (std::size_t i = 0; i < kSize; ++i)
    for (std::size_t j = 0; j < kSize; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < kSize; ++k)
        for (std::size_t l = 0; l < kSize; ++l)
          sum += a[i * kSize + k] * b[(j * kSize + k) * kSize + l] * c[i * kSize + l];
      EXPECT_EQ(out[i * kSize + j], 2 * sum + 3);
    }
}

}  // namespace
}  // namespace einjit
