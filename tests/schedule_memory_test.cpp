// How tiles read and write memory: within bounds, under masks, as whole vectors and lines.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "einjit/einjit.hpp"
#include "support/arrays.hpp"

namespace einjit {
namespace {

using einjit_test::ramp;

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

// The last rows of an array end where its page does, and what lies beyond is not there: tails of
// transposed tiles neither read nor write it.
TEST(Schedules, TailsOfTransposesStayInBounds) {
  Engine engine(Target::host(), {.cache_directory = ""});
  constexpr std::size_t kPage = 4096;
  for (const auto& extents : {std::vector<std::int64_t>{20, 13, 29}, {33, 4, 17}, {7, 7, 7}})
    for (const char* schedule : {"loop j 1; loop k 8; loop i 8; tile i vec 8, k unroll 8",
                                 "loop j 1; loop k 8; loop i 8; tile k vec 8, i unroll 8"}) {
      const std::vector<Layout> layouts{Layout::row_major(DType::f64, extents)};
      CompileOptions options;
      options.specialization = Specialization::never;
      options.schedule = schedule;
      const Kernel kernel = engine.compile("ijk->kji", layouts, options);
      const auto count = static_cast<std::size_t>(layouts[0].footprint());
      const std::size_t bytes = (count * sizeof(double) + kPage - 1) / kPage * kPage;
      double* arrays[2];
      for (double*& array : arrays) {
        auto* memory = static_cast<char*>(mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE,
                                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        ASSERT_NE(memory, MAP_FAILED);
        ASSERT_EQ(mprotect(memory + bytes, kPage, PROT_NONE), 0);
        array = reinterpret_cast<double*>(memory + bytes) - count;
      }
      const auto a = ramp<double>(static_cast<std::int64_t>(count), 97);
      std::ranges::copy(a, arrays[1]);
      ASSERT_EQ(kernel(arrays[0], arrays[1]), Status::ok);
      const std::int64_t ni = extents[0], nj = extents[1], nk = extents[2];
      for (std::int64_t i = 0; i < ni; ++i)
        for (std::int64_t j = 0; j < nj; ++j)
          for (std::int64_t k = 0; k < nk; ++k)
            ASSERT_EQ(arrays[0][(k * nj + j) * ni + i], arrays[1][(i * nj + j) * nk + k])
                << schedule;
      for (double* array : arrays)
        munmap(reinterpret_cast<char*>(array + count) - bytes, bytes + kPage);
    }
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

// Whole blocks of tiles and what is left at two edges, with the output on a cache line and beside
// one; the interpreter knows of no diagonals.
TEST(Schedules, BlocksGoByDiagonals) {
  Engine engine(Target::host(), {.cache_directory = ""});
  constexpr std::int64_t kRows = 150, kColumns = 208;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {2, kRows, kColumns})};
  const auto a = ramp<float>(2 * kRows * kColumns, 1013);
  for (Specialization how : {Specialization::always, Specialization::never})
    for (const char* schedule :
         {"loop b 1; loop j 64; loop i 128; loop j 8; loop i 16 diagonal; tile i vec 16, j unroll "
          "8",
          "loop j 16; loop b 1; loop i 64; loop j 2; loop i 8 diagonal; tile i vec 8, j unroll 2",
          "loop i 128; loop b 1; loop j 128; loop i 16; loop j 16 diagonal; "
          "tile j vec 16, i unroll 16",
          "loop b 1; loop j 64; loop i 128; loop j 8; loop i 16 aligned diagonal; "
          "tile i vec 16, j unroll 8"})
      for (std::size_t offset : {0, 3}) {
        CompileOptions options;
        options.schedule = schedule;
        options.specialization = how;
        const Kernel kernel = engine.compile("bij->bji", layouts, options);
        struct alignas(64) Line {
          float values[16];
        };
        std::vector<Line> lines(2 * kRows * kColumns / 16 + 2);
        float* out = lines[0].values + offset;
        ASSERT_EQ(kernel(out, a.data()), Status::ok);
        std::size_t wrong = 0;
        for (std::int64_t b = 0; b < 2; ++b)
          for (std::int64_t i = 0; i < kRows; ++i)
            for (std::int64_t j = 0; j < kColumns; ++j)
              wrong += out[(b * kColumns + j) * kRows + i] !=
                       a[static_cast<std::size_t>((b * kRows + i) * kColumns + j)];
        EXPECT_EQ(wrong, 0u) << schedule << " " << offset;
      }
  const std::vector<Layout> square{Layout::row_major(DType::f32, {512, 512})};
  EXPECT_NE(value_or_throw(Engine(Target::generic(Isa::x86_64_v4), {.cache_directory = ""})
                               .try_explain("ij->ji", square, Stage::schedule))
                .find("diagonal"),
            std::string::npos);
}

TEST(Schedules, AlignedLoopsThatCannotBe) {
  Engine engine;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {100, 100})};
  for (const char* schedule :
       {"loop j 16 aligned; loop i 1; tile j vec 16",              // not contiguous in the output
        "loop j 1; loop i 16 aligned; tile i unroll 16",           // no vectors
        "loop j 1; loop i 32 aligned; loop i 16; tile i vec 16",   // cut again
        "loop i 64 parallel aligned; loop j 1; tile i vec 64",     // parallel
        "loop i 16 aligned; loop j 1; stream out; tile i vec 16",  // rows begin anywhere
        "loop j 1; loop i 8 aligned; tile i vec 8",                // no whole lines
        "pack in0; loop j 1; loop i 16 aligned; tile i vec 16",    // panels begin at pieces
        "loop i 16 carried; loop j 1; tile i vec 16",              // not streamed
        "loop i 8 carried; loop j 1; stream out; tile i vec 8",    // no whole lines
        "loop j 16 carried; loop i 1; stream out; tile j vec 16",  // not contiguous in the output
        "loop i 16 carried; loop j 1 parallel; stream out; tile i vec 16",
        "loop i 32 carried; loop i 16; loop j 1; stream out; tile i vec 16",
        "buffer out; loop i 16 carried; loop j 1; stream out; tile i vec 16",
        "loop j 8; buffer out; loop j 4; buffer out; loop j 1; loop i 16; stream out; "
        "tile i vec 16",
        "loop j 8; buffer out; loop j 1; loop i 16; tile i vec 16"}) {  // not streamed
    CompileOptions options;
    options.schedule = schedule;
    EXPECT_FALSE(engine.try_compile("ij->ji", layouts, options)) << schedule;
  }
  const std::vector<Layout> rows{Layout::row_major(DType::f32, {32, 6, 10})};
  for (auto [text, schedule] :
       {std::pair{"ljm->mjl",
                  "loop j 2 carried; loop l 16 carried; loop m 1; loop j 1; stream out; "
                  "tile l vec 16"},  // two rows at a time
        {"ljm->mjl", "loop j 1 carried; loop m 1; stream out; tile l vec 32"},  // not within a row
        {"ljm->mjl",
         "loop l 16; loop j 1 carried; loop l 16 carried; loop m 1; stream out; "
         "tile l vec 16"},  // parts of rows
        {"ljm->lmj",
         "loop m 1 carried; loop j 16 carried; loop l 1; stream out; "
         "tile j vec 16"}}) {  // no whole lines
    CompileOptions options;
    options.schedule = schedule;
    EXPECT_FALSE(engine.try_compile(text, rows, options)) << schedule;
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

}  // namespace
}  // namespace einjit
