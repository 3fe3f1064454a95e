// How outputs are written in whole cache lines, wherever their rows begin: aligned, carried,
// drained.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "einjit/einjit.hpp"
#include "support/arrays.hpp"

namespace einjit {
namespace {

using einjit_test::ramp;

// Rows and arrays that begin anywhere: streamed in whole lines, with what is before and after them,
// and nothing else is touched.
template <class T>
void check_placed(DType dtype, const std::string& schedule, std::int64_t rows, std::int64_t row,
                  Isa isa = Target::host().isa) {
  Engine engine(isa == Target::host().isa ? Target::host() : Target::generic(isa),
                {.cache_directory = ""});
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
        check_placed<float>(DType::f32, schedule, rows, row);
        check_placed<double>(DType::f64, schedule, rows, row);
      }
  // Planes of whole lines: tiles of several.
  for (const char* schedule :
       {"loop j 1; loop i 16 aligned; loop k 8; stream out; tile i vec 16, k unroll 8",
        "loop k 10 parallel; loop j 1; loop k 5; loop i 16 aligned; stream out; prefetch in0 k 8; "
        "tile i vec 16, k unroll 5"})
    for (std::int64_t row : {16, 24, 40, 100}) {
      check_placed<float>(DType::f32, schedule, 16, row);
      check_placed<double>(DType::f64, schedule, 16, row);
    }
}

// Rows whose lines are carried from piece to piece, and boxes of rows that are drained from a
// buffer: rows of less than a line, of a few, and of whole ones; on machines whose vectors are
// lines and on others.
TEST(Schedules, LinesAreCarriedAndRunsDrained) {
  for (Isa isa : {Target::host().isa, Isa::x86_64_v3, Isa::x86_64_v2})
    for (std::int64_t rows : {3, 32})
      for (std::int64_t row : {5, 16, 31, 33, 64, 100})
        for (const char* schedule :
             {"loop k 8; loop i 16 carried; loop j 1; loop k 4; stream out; "
              "tile i vec 16, k unroll 4",
              "loop j 2 parallel; loop i 32 carried; loop k 3; loop j 1; stream out; "
              "tile i vec 32, k unroll 3",
              "loop i 64 parallel; loop i 32 carried; prefetch in0 next; loop j 1; loop k 8; "
              "stream out; tile i vec 32, k unroll 8",
              "loop k 5 parallel; buffer out; loop i 32; loop j 1; loop k 4; stream out; "
              "tile i vec 32, k unroll 4",
              "loop j 2; loop i 20; prefetch in0 next; buffer out; loop j 1; loop i 3; stream out; "
              "tile k vec 19, i unroll 3"}) {
          check_placed<float>(DType::f32, schedule, rows, row, isa);
          check_placed<double>(DType::f64, schedule, rows, row, isa);
        }
}

// Rows of whole lines that follow each other, which do not begin at lines: carried from one to the
// next, by all of the loop or pieces of it.
template <class T>
void check_rows_carried(DType dtype, Isa isa, const char* schedule) {
  Engine engine(Target::generic(isa), {.cache_directory = ""});
  constexpr std::int64_t kL = 32, kJ = 7, kM = 11;
  const std::vector<Layout> layouts{Layout::row_major(dtype, {kL, kJ, kM})};
  CompileOptions options;
  options.schedule = schedule;
  const Kernel kernel = engine.compile("ljm->mjl", layouts, options);
  const auto a = ramp<T>(kL * kJ * kM, 97);
  for (std::size_t shift : {0, 1, 4, 7}) {
    std::vector<T> memory(kL * kJ * kM + 48, -1);
    T* out = memory.data() + 8;
    while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
    out += shift;
    ASSERT_EQ(kernel(out, a.data()), Status::ok);
    for (std::int64_t m = 0; m < kM; ++m)
      for (std::int64_t j = 0; j < kJ; ++j)
        for (std::int64_t l = 0; l < kL; ++l)
          ASSERT_EQ(out[(m * kJ + j) * kL + l], a[static_cast<std::size_t>((l * kJ + j) * kM + m)])
              << schedule << " shift " << shift;
    for (const T* p = memory.data(); p < memory.data() + memory.size(); ++p)
      ASSERT_TRUE(*p == -1 || (p >= out && p < out + kL * kJ * kM)) << schedule;
  }
}

TEST(Schedules, LinesAreCarriedFromRowToRow) {
  for (Isa isa : {Target::host().isa, Isa::x86_64_v3})
    for (const char* schedule :
         {"loop m 8 parallel; loop j 1 carried; loop l 16 carried; loop m 4; stream out; "
          "tile l vec 16, m unroll 4",
          "loop j 3; loop j 1 carried; loop l 32 carried; loop m 1; stream out; tile l vec 32",
          "loop j 1 carried; loop m 4; loop l 16 carried; stream out; "
          "tile l vec 16, m unroll 4"}) {
      check_rows_carried<float>(DType::f32, isa, schedule);
      check_rows_carried<double>(DType::f64, isa, schedule);
    }
}

// Copies too large for the caches have a second schedule for outputs that begin within a line; with
// tiny caches, small ones do.
TEST(Schedules, OutputsWithinLinesHaveTheirOwn) {
  Target target = Target::host();
  target.l1_bytes = 512;
  target.l2_bytes = 2048;
  target.l3_bytes = 8192;
  Engine engine(target, {.cache_directory = ""});
  constexpr std::int64_t kI = 96, kJ = 112;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kI, kJ})};
  EXPECT_NE(value_or_throw(engine.try_explain("ij->ji", layouts, Stage::schedule))
                .find("does not begin at a cache line"),
            std::string::npos);
  const Kernel kernel = engine.compile("ij->ji", layouts);
  const auto a = ramp<float>(kI * kJ, 97);
  for (std::size_t shift : {0, 1, 4, 15}) {
    std::vector<float> memory(kI * kJ + 48, -1);
    float* out = memory.data();
    while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
    out += shift;
    ASSERT_EQ(kernel(out, a.data()), Status::ok);
    for (std::int64_t j = 0; j < kJ; ++j)
      for (std::int64_t i = 0; i < kI; ++i)
        ASSERT_EQ(out[j * kI + i], a[static_cast<std::size_t>(i * kJ + j)]) << shift;
    for (const float* p = memory.data(); p < memory.data() + memory.size(); ++p)
      ASSERT_TRUE(*p == -1 || (p >= out && p < out + kI * kJ));
  }
}

// Drains that ask for the next box's lines while they write: of one run, of some along a label, of
// some along two; the last boxes are smaller than what was asked for.
template <class T>
void check_asking_drains(DType dtype, Isa isa, const char* schedule) {
  Engine engine(Target::generic(isa), {.cache_directory = ""});
  constexpr std::int64_t kI = 9, kJ = 37, kK = 300;
  const std::vector<Layout> layouts{Layout::row_major(dtype, {kI, kJ, kK})};
  CompileOptions options;
  options.schedule = schedule;
  const auto loops = engine.try_explain("ijk->kji", layouts, Stage::loops, options);
  ASSERT_TRUE(loops && loops->find("a line ahead") != std::string::npos) << schedule;
  const Kernel kernel = engine.compile("ijk->kji", layouts, options);
  const auto a = ramp<T>(kI * kJ * kK, 97);
  for (std::size_t shift : {0, 1, 7}) {
    std::vector<T> memory(kI * kJ * kK + 48, -1);
    T* out = memory.data() + 8;
    while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
    out += shift;
    ASSERT_EQ(kernel(out, a.data()), Status::ok);
    for (std::int64_t i = 0; i < kI; ++i)
      for (std::int64_t j = 0; j < kJ; ++j)
        for (std::int64_t k = 0; k < kK; ++k)
          ASSERT_EQ(out[(k * kJ + j) * kI + i], a[static_cast<std::size_t>((i * kJ + j) * kK + k)])
              << schedule << " shift " << shift;
    for (const T* p = memory.data(); p < memory.data() + memory.size(); ++p)
      ASSERT_TRUE(*p == -1 || (p >= out && p < out + kI * kJ * kK)) << schedule;
  }
}

TEST(Schedules, DrainsAskForTheNextBox) {
  for (Isa isa : {Target::host().isa, Isa::x86_64_v3, Isa::x86_64_v2})
    for (const char* schedule :
         {"loop k 280; prefetch in0 next; buffer out; loop j 1; loop k 8; stream out; "
          "tile i vec 9, k unroll 8",
          "loop j 5 parallel; prefetch in0 next; buffer out; loop j 1; loop k 8; stream out; "
          "tile i vec 9, k unroll 8",
          "loop i 4 parallel; loop j 20; prefetch in0 next; buffer out; loop j 1; loop k 8; "
          "stream out; tile i vec 4, k unroll 8"}) {
      check_asking_drains<float>(DType::f32, isa, schedule);
      check_asking_drains<double>(DType::f64, isa, schedule);
    }
}

// An output on an odd byte, where no line begins with an element: written in the ordinary way.
TEST(Schedules, OutputsOnOddBytes) {
  Engine engine(Target::host(), {.cache_directory = ""});
  constexpr std::int64_t kI = 100, kJ = 21;
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {kI, kJ})};
  const auto a = ramp<float>(kI * kJ, 97);
  for (const char* schedule :
       {"loop i 32 carried; loop j 8; stream out; tile i vec 32, j unroll 8",
        "loop j 8; buffer out; loop i 32; stream out; tile i vec 32, j unroll 8",
        "loop j 1; loop i 32 aligned; stream out; tile i vec 32"}) {
    CompileOptions options;
    options.schedule = schedule;
    const Kernel kernel = engine.compile("ij->ji", layouts, options);
    std::vector<char> memory(kI * kJ * sizeof(float) + 8, 1);
    char* out = memory.data() + 2;
    const float* in = a.data();
    void* const pointers[] = {out, const_cast<float*>(in)};
    ASSERT_EQ(kernel.run(pointers), Status::ok);
    for (std::int64_t j = 0; j < kJ; ++j)
      for (std::int64_t i = 0; i < kI; ++i) {
        float value;
        std::memcpy(&value, out + (j * kI + i) * 4, sizeof(value));
        ASSERT_EQ(value, a[static_cast<std::size_t>(i * kJ + j)]) << schedule;
      }
    EXPECT_EQ(out[-1], 1);
    EXPECT_EQ(out[kI * kJ * 4], 1);
  }
}

}  // namespace
}  // namespace einjit
