// Products of which nothing is summed, with operands that lie across the output's rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "einjit/einjit.hpp"
#include "schedule/choose.hpp"
#include "support/arrays.hpp"

namespace einjit {
namespace {

using einjit_test::ramp;

// Of two matrices, the second transposed, to an output a few elements into a line.
template <class T>
void expect_product(Engine& engine, int rows, int columns, const CompileOptions& options,
                    int shift) {
  const std::vector<Layout> layouts{Layout::row_major(dtype_of<T>, {rows, columns}),
                                    Layout::row_major(dtype_of<T>, {columns, rows})};
  const auto product = engine.try_compile("ij,ji->ij", layouts, options);
  ASSERT_TRUE(product) << product.error().message;
  const std::int64_t count = std::int64_t{rows} * columns;
  const auto a = ramp<T>(count, 13), b = ramp<T>(count, 11);
  constexpr std::size_t kLine = 64 / sizeof(T);
  std::vector<T> memory(static_cast<std::size_t>(count) + 3 * kLine, T{99});
  const std::size_t to_line =
      kLine - reinterpret_cast<std::uintptr_t>(memory.data()) / sizeof(T) % kLine;
  T* out = memory.data() + to_line + shift;
  ASSERT_EQ((*product)(out, a.data(), b.data()), Status::ok);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j)
      ASSERT_EQ(out[i * columns + j], a[i * columns + j] * b[j * rows + i]) << i << " " << j;
  EXPECT_EQ(out[-1], 99);
  EXPECT_EQ(out[count], 99);
}

TEST(Products, TurnedOperandsAreAskedForByBlocks) {
  Engine engine(Target::host(), {.cache_directory = ""});
  for (auto [rows, columns] : {std::pair{64, 96}, {64, 80}, {37, 53}, {130, 71}, {9, 200}})
    for (const char* schedule :
         {"loop i 32; loop j 64; prefetch in1 next; loop i 8; loop j 32; tile j vec 32, i unroll 8",
          "loop i 40 parallel; loop j 16 carried; prefetch in1 next; loop i 4; stream out; "
          "prefetch in0 j 32; tile j vec 16, i unroll 4",
          "loop i 16; loop j 32 aligned; prefetch in1 next; loop i 8; stream out; "
          "tile j vec 32, i unroll 8"})
      for (Specialization how : {Specialization::always, Specialization::never})
        for (int shift : {0, 3}) {
          // Lines begin at the same place of all rows, or are carried.
          if (std::string_view(schedule).contains("aligned") && columns % 16 != 0) continue;
          CompileOptions options;
          options.schedule = schedule;
          options.specialization = how;
          SCOPED_TRACE(schedule);
          expect_product<float>(engine, rows, columns, options, shift);
          if (columns % 16 == 0) expect_product<double>(engine, rows, columns, options, shift);
        }
}

// Whatever this machine's schedules are: sizes that L2 holds, that it does not, and odd ones.
TEST(Products, OfTransposedMatrices) {
  Engine engine(Target::host(), {.cache_directory = ""});
  for (auto [rows, columns] : {std::pair{100, 300}, {640, 640}, {701, 803}, {1024, 512}})
    for (int shift : {0, 5}) {
      expect_product<float>(engine, rows, columns, {}, shift);
      expect_product<double>(engine, rows, columns, {}, shift);
    }
}

// Where L3 is far, arrays that outgrow L2 together are written past the caches, and what lies
// across is asked for by blocks.
TEST(Products, OutgrowL2Together) {
  Target target = Target::generic(Isa::x86_64_v4);
  target.l1_bytes = 48 << 10;
  target.l2_bytes = 2 << 20;
  target.describe_mesh();
  for (auto [extent, outgrows] : {std::pair{384, false}, {640, true}, {1500, true}, {2048, true}}) {
    const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {extent, extent}));
    const Contraction c = canonical(
        value_or_throw(einjit::bind(value_or_throw(parse("ij,ji->ij")), layouts)).contraction);
    const Schedule chosen = choose_schedule(c, target).schedule;
    SCOPED_TRACE(to_string(chosen, c));
    EXPECT_EQ(chosen.store == Store::streaming, outgrows);
    const bool asks = std::ranges::any_of(
        chosen.outer, [](const auto& item) { return std::holds_alternative<NextSpec>(item); });
    EXPECT_EQ(asks, outgrows);
  }
}

}  // namespace
}  // namespace einjit
