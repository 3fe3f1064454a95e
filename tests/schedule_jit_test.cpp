// What schedules become: given ones, hints, blocks of sums, masks, packed products, as code.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
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
        "loop i 4; loop k 16; prefetch in1 k 16; tile k vec 16, i unroll 4, j reduce"}) {
    CompileOptions options;
    options.schedule = schedule;
    std::vector<float> c(static_cast<std::size_t>(m * n));
    EXPECT_EQ(engine.compile("ij,jk->ik", layouts, options)(c.data(), a.data(), b.data()),
              Status::ok);
    EXPECT_EQ(c, matmul(a, b, m, k, n)) << schedule;
  }
}

TEST(Schedules, SumsInBlocks) {
  Engine engine;
  const Layout layout = Layout::row_major(DType::f64, {517});
  const auto a = ramp<double>(517, 13);
  for (const char* schedule :
       {"tile i vec 16 merge 3", "tile i vec 8 merge 1", "tile i vec 16 merge 99",
        "tile i reduce 4 chains 4 merge 5", "tile i reduce merge 517"})
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
TEST(Schedules, LongSumsStayAccurate) {
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

TEST(Schedules, GivenSchedulesGoByTheirLabels) {
  Engine engine;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f64, {30, 30}));
  CompileOptions options;
  options.schedule = "loop i 4; loop k 16; tile k vec 16, i unroll 4, j reduce";
  EXPECT_TRUE(engine.try_compile("ij,jk->ik", layouts, options));
  EXPECT_FALSE(engine.try_compile("ab,bc->ac", layouts, options));
}

// Blocks are transposed along the innermost sum only: nothing is read beyond the operand.
TEST(Schedules, UnrolledOuterSumsStayInBounds) {
  Engine engine;
  const std::vector<Layout> layouts{{DType::f32, {16, 20, 3}, {64, 1, 21}}};
  CompileOptions options;
  options.schedule = "tile i vec 16, k reduce 16, l reduce";
  const Kernel kernel = engine.compile("ikl->i", layouts, options);
  // The array ends where its page does; the next page is not there.
  const std::size_t page = 4096;
  const std::int64_t kSize = layouts[0].footprint();
  auto* memory = static_cast<char*>(
      mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(mprotect(memory + page, page, PROT_NONE), 0);
  auto* a = reinterpret_cast<float*>(memory + page) - kSize;
  std::fill_n(a, kSize, 1.0f);
  float sums[16];
  EXPECT_EQ(kernel(sums, a), Status::ok);
  EXPECT_EQ(sums[15], 60);
  munmap(memory, 2 * page);
}

// A tile that is no whole number of vectors wide, walked by a loop with a tail: every vector that
// is cut short is masked by an argument.
TEST(Schedules, LastVectorsAreMasked) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::int64_t lanes = engine.target().lanes(DType::f64);
  for (std::int64_t width : {lanes + 1, 2 * lanes - 1, 2 * lanes})
    for (const char* text : {"ij,jk->ik", "ij,kj->ik"}) {
      const bool is_transposed = std::string_view(text) == "ij,kj->ik";
      const std::int64_t k = 3 * width + width / 2;
      const std::vector<Layout> layouts{
          Layout::row_major(DType::f64, {7, 19}),
          Layout::row_major(DType::f64, is_transposed ? std::vector<std::int64_t>{k, 19}
                                                      : std::vector<std::int64_t>{19, k})};
      CompileOptions options;
      options.specialization = Specialization::never;
      options.schedule = "loop i 3; loop k " + std::to_string(width) + "; tile k vec " +
                         std::to_string(width) + ", i unroll 3, j reduce";
      const Kernel kernel = engine.compile(text, layouts, options);
      std::vector<double> a(7 * 19), b(static_cast<std::size_t>(19 * k)),
          c(static_cast<std::size_t>(7 * k) + 8, -1);
      for (std::size_t n = 0; n < a.size(); ++n) a[n] = static_cast<double>(n % 5) - 2;
      for (std::size_t n = 0; n < b.size(); ++n) b[n] = static_cast<double>(n % 7) - 3;
      ASSERT_EQ(kernel(c.data(), a.data(), b.data()), Status::ok);
      for (std::int64_t i = 0; i < 7; ++i)
        for (std::int64_t n = 0; n < k; ++n) {
          double sum = 0;
          for (std::int64_t j = 0; j < 19; ++j)
            sum += a[static_cast<std::size_t>(i * 19 + j)] *
                   b[static_cast<std::size_t>(is_transposed ? n * 19 + j : j * k + n)];
          ASSERT_EQ(c[static_cast<std::size_t>(i * k + n)], sum) << text << width;
        }
      for (std::size_t n = static_cast<std::size_t>(7 * k); n < c.size(); ++n) EXPECT_EQ(c[n], -1);
    }
}

// Runs that are no whole vectors and lie end to end in the output: stored as one, with tails,
// scaled, past the caches, on odd addresses.
TEST(Schedules, ShortRunsAreJoined) {
  Engine engine(Target::host(), {.cache_directory = ""});
  for (std::int64_t run : {2, 3, 5, 7, 12, 23})
    for (Specialization specialization : {Specialization::always, Specialization::never})
      for (const char* schedule : {"loop k 1; loop j 16; tile l vec 32, j unroll 16",
                                   "loop j 16; loop k 1; stream out; tile l vec 32, j unroll 16",
                                   "loop j 5; loop k 1; tile l vec 32, j unroll 5"}) {
        constexpr std::int64_t kJ = 37, kK = 16;
        const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kJ, kK, run}),
                                          Layout::row_major(DType::f32, {kK})};
        CompileOptions options;
        options.schedule = schedule;
        options.specialization = specialization;
        const bool is_streamed = options.schedule.find("stream") != std::string::npos;
        // Rows of whole lines only may be streamed.
        if (is_streamed)
          options.output =
              Layout{DType::f32, {kK, kJ, run}, {kJ * run + 64 - kJ * run % 16, run, 1}};
        options.scaling = is_streamed ? Scaling::none : Scaling::alpha_beta;
        const auto kernel = engine.try_compile("jkl,k->kjl", layouts, options);
        ASSERT_TRUE(kernel) << kernel.error().message << schedule;
        const std::int64_t row = kernel->output().strides[0];
        const auto a = ramp<float>(kJ * kK * run, 7), b = ramp<float>(kK, 5);
        for (std::size_t shift : {0, 1}) {
          std::vector<float> memory(static_cast<std::size_t>(kK * row) + 32, 2);
          float* out = memory.data();
          while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
          out += shift;
          void* const operands[] = {out, const_cast<float*>(a.data()),
                                    const_cast<float*>(b.data())};
          ASSERT_EQ(kernel->run(operands, is_streamed ? Scale{} : Scale{3, -1}), Status::ok);
          for (std::int64_t k = 0; k < kK; ++k)
            for (std::int64_t n = 0; n < row; ++n) {
              const std::int64_t j = n / run, l = n % run;
              const float product = n >= kJ * run
                                        ? 0
                                        : a[static_cast<std::size_t>((j * kK + k) * run + l)] *
                                              b[static_cast<std::size_t>(k)];
              const float expected = n >= kJ * run ? 2 : is_streamed ? product : 3 * product - 2;
              ASSERT_EQ(out[k * row + n], expected) << schedule << " run " << run << " at " << n;
            }
        }
      }
}

// Pieces that begin at cache lines, wherever rows and the array itself lie: streamed, with what is
// before and after them, and nothing else is touched. The interpreter cuts the same pieces.
template <class T>
void check_aligned(DType dtype, const std::string& schedule, std::int64_t rows, std::int64_t row) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(dtype, {row, rows, 19})};
  CompileOptions options;
  options.schedule = schedule;
  const Result<Kernel> kernel = engine.try_compile("ijk->kji", layouts, options);
  ASSERT_TRUE(kernel) << kernel.error().message << schedule;
  const auto a = ramp<T>(row * rows * 19, 97);
  const std::size_t size = a.size();
  for (std::size_t shift : {0, 1, 4, 15}) {
    std::vector<T> memory(size + 48, -1);
    T* line = memory.data();
    while (reinterpret_cast<std::uintptr_t>(line) % 64 != 0) ++line;
    T* out = line + shift;
    ASSERT_EQ((*kernel)(out, a.data()), Status::ok);
    for (std::int64_t k = 0; k < 19; ++k)
      for (std::int64_t j = 0; j < rows; ++j)
        for (std::int64_t i = 0; i < row; ++i)
          ASSERT_EQ(out[(k * rows + j) * row + i],
                    a[static_cast<std::size_t>((i * rows + j) * 19 + k)])
              << schedule << " row " << row << " shift " << shift;
    for (const T* p = memory.data(); p < memory.data() + memory.size(); ++p)
      ASSERT_TRUE(*p == -1 || (p >= out && p < out + size)) << schedule;
  }
}

TEST(Schedules, PiecesBeginAtLines) {
  for (std::int64_t rows : {4, 32})
    for (std::int64_t row : {5, 16, 33, 40, 100})
      for (const char* schedule :
           {"loop j 1; loop k 1; loop i 16 aligned; stream out; tile i vec 16",
            "loop k 1; loop j 1; loop i 48 aligned; stream out; tile i vec 48",
            "loop j 2 parallel; loop j 1; loop i 32; loop k 1; loop i 16 aligned; stream out; "
            "tile i vec 16",
            "loop k 8; loop j 1; loop i 16 aligned; tile i vec 16, k unroll 8"}) {
        check_aligned<float>(DType::f32, schedule, rows, row);
        check_aligned<double>(DType::f64, schedule, rows, row);
      }
  // Planes of whole lines: tiles of several.
  for (const char* schedule :
       {"loop j 1; loop i 16 aligned; loop k 8; stream out; tile i vec 16, k unroll 8",
        "loop k 10 parallel; loop j 1; loop k 5; loop i 16 aligned; stream out; prefetch in0 k 8; "
        "tile i vec 16, k unroll 5"})
    for (std::int64_t row : {16, 24, 40, 100}) {
      check_aligned<float>(DType::f32, schedule, 16, row);
      check_aligned<double>(DType::f64, schedule, 16, row);
    }
}

TEST(Schedules, AlignedLoopsThatCannotBe) {
  Engine engine;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {100, 100})};
  for (const char* schedule :
       {"loop j 16 aligned; loop i 1; tile j vec 16",               // not contiguous in the output
        "loop j 1; loop i 16 aligned; tile i unroll 16",            // no vectors
        "loop j 1; loop i 32 aligned; loop i 16; tile i vec 16",    // cut again
        "loop i 64 parallel aligned; loop j 1; tile i vec 64",      // parallel
        "loop i 16 aligned; loop j 1; stream out; tile i vec 16",   // rows begin anywhere
        "loop j 1; loop i 8 aligned; stream out; tile i vec 8",     // no whole lines
        "pack in0; loop j 1; loop i 16 aligned; tile i vec 16"}) {  // panels begin at pieces
    CompileOptions options;
    options.schedule = schedule;
    EXPECT_FALSE(engine.try_compile("ij->ji", layouts, options)) << schedule;
  }
}

// Channels of pixels, parts of complex numbers: taken apart and put together in registers, past the
// end of the last whole vector too.
template <class T>
void check_interleaved(DType dtype, std::int64_t length, std::int64_t channels,
                       Specialization specialization) {
  Engine engine(Target::host(), {.cache_directory = ""});
  CompileOptions options;
  options.specialization = specialization;
  const auto a = ramp<T>(length * channels, 97);
  const auto factor = ramp<T>(length, 13);
  const std::vector<Layout> apart{Layout::row_major(dtype, {length, channels}),
                                  Layout::row_major(dtype, {length})};
  const std::vector<Layout> together{Layout::row_major(dtype, {channels, length}),
                                     Layout::row_major(dtype, {length})};
  std::vector<T> out(a.size()), back(a.size());
  ASSERT_EQ(engine.compile("ij,i->ji", apart, options)(out.data(), a.data(), factor.data()),
            Status::ok);
  for (std::int64_t i = 0; i < length; ++i)
    for (std::int64_t j = 0; j < channels; ++j)
      ASSERT_EQ(out[j * length + i], a[i * channels + j] * factor[i]) << length << " " << channels;
  ASSERT_EQ(engine.compile("ji,i->ij", together, options)(back.data(), a.data(), factor.data()),
            Status::ok);
  for (std::int64_t i = 0; i < length; ++i)
    for (std::int64_t j = 0; j < channels; ++j)
      ASSERT_EQ(back[i * channels + j], a[j * length + i] * factor[i]) << length << " " << channels;
  // Summed at once: the dot products of short vectors.
  const std::vector<Layout> pair(2, apart[0]);
  std::vector<T> dots(static_cast<std::size_t>(length));
  ASSERT_EQ(engine.compile("ij,ij->i", pair, options)(dots.data(), a.data(), a.data()), Status::ok);
  for (std::int64_t i = 0; i < length; ++i) {
    T sum = 0;
    for (std::int64_t j = 0; j < channels; ++j) sum += a[i * channels + j] * a[i * channels + j];
    ASSERT_EQ(dots[i], sum) << length << " " << channels;
  }
}

TEST(Schedules, ShortLabelsAreInterleaved) {
  for (std::int64_t channels : {2, 3, 4})
    for (std::int64_t length : {16, 37, 128, 1000, 400000})
      for (Specialization specialization : {Specialization::always, Specialization::never}) {
        check_interleaved<float>(DType::f32, length, channels, specialization);
        check_interleaved<double>(DType::f64, length, channels, specialization);
      }
}

// Sums of any length through units that know of none: rows along their vectors, columns in blocks,
// unrolled steps. The same bits as code made for the length, and not far from the exact sum.
TEST(Schedules, OneUnitSumsAnyLength) {
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

// Sums cut by loops alone: no tile holds the label, and later pieces are added all the same.
TEST(Schedules, SumsCutByLoopsAlone) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {18, 18}));
  const auto a = ramp<float>(18 * 18, 7), b = ramp<float>(18 * 18, 5);
  const auto expected = matmul(a, b, 18, 18, 18);
  for (Specialization specialization : {Specialization::always, Specialization::never})
    for (const char* schedule :
         {"loop j 1; loop i 1; loop k 16; tile k vec 16", "loop i 1; loop j 1; tile k vec 32",
          "loop j 17; loop i 4; loop k 16; prefetch out; tile k vec 16, i unroll 4, j reduce",
          "loop j 1; pack in1; loop i 4; loop k 16; tile k vec 16, i unroll 4"}) {
      CompileOptions options;
      options.schedule = schedule;
      options.specialization = specialization;
      options.scaling = Scaling::alpha_beta;
      const Kernel kernel = engine.compile("ij,jk->ik", layouts, options);
      std::vector<float> c(18 * 18, 3);
      void* const operands[] = {c.data(), const_cast<float*>(a.data()),
                                const_cast<float*>(b.data())};
      ASSERT_EQ(kernel.run(operands, {1, 0}), Status::ok);
      EXPECT_EQ(c, expected) << schedule;
      ASSERT_EQ(kernel.run(operands, {2, -1}), Status::ok);
      EXPECT_EQ(c, expected) << schedule;  // 2 c - c
    }
}

// Products of inputs made while they are packed: given, with tails everywhere, and chosen.
TEST(Schedules, ProductsArePacked) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {37, 11, 13}),
                                    Layout::row_major(DType::f32, {11, 29}),
                                    Layout::row_major(DType::f32, {13, 29})};
  const auto a = ramp<float>(37 * 11 * 13, 7), b = ramp<float>(11 * 29, 5),
             c = ramp<float>(13 * 29, 3);
  std::vector<float> expected(37 * 29);
  for (int i = 0; i < 37; ++i)
    for (int r = 0; r < 29; ++r)
      for (int j = 0; j < 11; ++j)
        for (int k = 0; k < 13; ++k)
          expected[static_cast<std::size_t>(i * 29 + r)] +=
              a[static_cast<std::size_t>((i * 11 + j) * 13 + k)] *
              b[static_cast<std::size_t>(j * 29 + r)] * c[static_cast<std::size_t>(k * 29 + r)];
  for (const char* schedule :
       {"loop j 4; pack in1*in2; loop i 10; loop r 16; loop i 5; tile r vec 16, i unroll 5, "
        "j reduce, k reduce",
        "loop k 5; pack in2*in1; pack in0; loop r 16; loop i 6; tile r vec 16, i unroll 6, "
        "j reduce, k reduce",
        "loop i 16; pack in1*in2; loop r 6; tile i vec 16, r unroll 6, j reduce, k reduce"}) {
    CompileOptions options;
    options.schedule = schedule;
    std::vector<float> out(37 * 29);
    const Kernel kernel = engine.compile("ijk,jr,kr->ir", layouts, options);
    ASSERT_EQ(kernel(out.data(), a.data(), b.data(), c.data()), Status::ok);
    EXPECT_EQ(out, expected) << schedule;
  }
  // Nothing is left to be kept between steps.
  const std::vector<Layout> large{Layout::row_major(DType::f32, {128, 64, 64}),
                                  Layout::row_major(DType::f32, {64, 32}),
                                  Layout::row_major(DType::f32, {64, 32})};
  EXPECT_EQ(engine.compile("ijk,jr,kr->ir", large).workspace_bytes(), 0);
  CompileOptions twice;
  twice.schedule = "pack in1*in1; loop i 1; tile r vec 16, j reduce, k reduce";
  EXPECT_FALSE(engine.try_compile("ijk,jr,kr->ir", layouts, twice));
}

}  // namespace
}  // namespace einjit
