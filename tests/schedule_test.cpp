// Floors 5 and 6: schedules as text, their checks, verified nests and what verify refuses.
#include <gtest/gtest.h>

#include <algorithm>

#include "lower/lower.hpp"
#include "plan/plan.hpp"
#include "schedule/choose.hpp"

namespace einjit {
namespace {

Contraction matmul(std::int64_t m, std::int64_t k, std::int64_t n) {
  const std::vector<Layout> layouts{Layout::row_major(DType::f32, {m, k}),
                                    Layout::row_major(DType::f32, {k, n})};
  return canonical(
      value_or_throw(einjit::bind(value_or_throw(parse("ij,jk->ik")), layouts)).contraction);
}

TEST(Schedule, PrintsAndParsesBack) {
  const Contraction c = matmul(1000, 1000, 1000);
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4}) {
    const Schedule chosen = choose_schedule(c, Target::generic(isa)).schedule;
    EXPECT_EQ(value_or_throw(parse_schedule(to_string(chosen, c), c)), chosen);
    EXPECT_TRUE(check(chosen, c));
  }
}

TEST(Schedule, GivenByTheUser) {
  const Contraction c = matmul(64, 32, 48);
  const auto given = parse_schedule(
      "loop i 8 parallel; pack in1\nloop k 16; loop i 4; tile k vec 16, i unroll 4, j reduce 2", c);
  ASSERT_TRUE(given);
  EXPECT_TRUE(check(*given, c));
  EXPECT_TRUE(verify(lower(c, *given, Target::generic(Isa::x86_64_v4))));
}

TEST(Schedule, MistakesAreNamed) {
  const Contraction c = matmul(64, 32, 48);
  auto error = [&](const char* text) {
    const auto parsed = parse_schedule(text, c);
    if (!parsed) return parsed.error().render();
    const auto valid = check(*parsed, c);
    return valid ? std::string("no error") : valid.error().render();
  };
  EXPECT_EQ(error("loop x 4; tile k vec 16"),
            "error: schedule: not a label of the contraction, which has i, k, j\n  loop x 4; tile "
            "k vec 16\n       ^");
  EXPECT_NE(error("tile k vec"), "no error");
  EXPECT_NE(error("tile k vec 0"), "no error");
  EXPECT_NE(error(""), "no error");
  EXPECT_NE(error("tile k vec 48, i unroll 4, j reduce"), "no error");
  EXPECT_NE(error("loop j 4 parallel; loop i 1; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48, k unroll 4, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48, j unroll 32"), "no error");
  EXPECT_NE(error("pack in2; loop i 1; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("pack in1; loop k 10; loop i 1; tile k vec 16, j reduce"), "no error");
  // A vec label that is summed runs over more than a panel.
  EXPECT_NE(error("pack in0; loop i 1; loop k 1; tile j vec 16"), "no error");
  EXPECT_NE(error("loop i 4; loop i 8; loop k 16; tile k vec 16, i unroll 4, j reduce"),
            "no error");
  EXPECT_NE(error("loop i 4; loop k 16; tile i unroll 4, k vec 16, j reduce 4 chains 4294967296"),
            "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48, j reduce gray merge 12"), "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48, j reduce gray"), "no error");
  EXPECT_EQ(error("loop i 1; tile k vec 48, j reduce gray merge 8"), "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48 halved, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; tile k vec 48 kept, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; loop k 1; tile j vec 16 kept"), "no error");
  EXPECT_NE(error("loop i 1; loop k 1; loop j 16; tile j vec 16 kept merge 2"), "no error");
  EXPECT_NE(error("loop i 1; loop k 1; loop j 16; tile j vec 16 halved kept"), "no error");
  EXPECT_EQ(error("loop i 1; loop k 1; loop j 16; tile j vec 16 kept"), "no error");
  EXPECT_NE(error("loop k 16 diagonal; loop i 4; tile k vec 16, i unroll 4, j reduce"), "no error");
  EXPECT_NE(error("loop k 32; loop k 16 diagonal; loop i 1; tile k vec 16, j reduce"), "no error");
  EXPECT_NE(error("loop i 4 parallel; loop k 16 diagonal; tile k vec 16, i unroll 4, j reduce"),
            "no error");
  EXPECT_NE(error("loop i 1; loop k 48; loop j 4 diagonal; tile k vec 48, j reduce"), "no error");
  EXPECT_EQ(error("loop i 4; loop k 16 diagonal; tile k vec 16, i unroll 4, j reduce"), "no error");
  EXPECT_EQ(error("loop j 4; buffer out; loop i 1; loop j 2; tile k vec 48, j reduce"), "no error");
  EXPECT_EQ(error("loop j 4 parallel; buffer out; loop j 2; loop i 1; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("loop j 4; buffer out; loop i 1; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("loop j 4 parallel; loop i 1; buffer out; loop j 2; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("buffer in0; loop i 1; loop j 2; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("buffer out; stream out; loop i 1; loop j 2; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("buffer out; stream out; loop i 1; loop j 32; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("buffer out; loop i 1; loop j 2; loop k 16 aligned; tile k vec 16, j reduce"),
            "no error");
  EXPECT_NE(error("tile i unroll 1024, k vec 1024, j reduce 64"), "no error");
  EXPECT_NE(error("loop i 4; tile i unroll 4 chains 2, k vec 48, j reduce"), "no error");
  EXPECT_NE(error("pack in0 ahead; pack in1 ahead; loop i 1; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; prefetch in0 j; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; prefetch in2 j 4; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("pack in1; loop i 1; prefetch in1 k 4; tile k vec 48, j reduce"), "no error");
  EXPECT_EQ(error("pack in1 ahead; loop i 1; prefetch in0 j 4; tile k vec 48, j reduce"),
            "no error");
  EXPECT_EQ(error("loop j 4; prefetch in1 next; loop i 1; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("pack in1; loop i 1; prefetch in1 next; tile k vec 48, j reduce"), "no error");
  EXPECT_NE(error("loop i 1; prefetch in1 next; prefetch in0 next; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("pack in0 ahead; loop i 1; prefetch in1 next; tile k vec 48, j reduce"),
            "no error");
  EXPECT_NE(error("loop i 1; prefetch in1 next; prefetch in1 j 4; tile k vec 48, j reduce"),
            "no error");
  std::string many = "loop i 32; ";
  for (int l = 0; l < 40; ++l) many += "loop i 8 parallel; ";
  EXPECT_NE(error((many + "loop i 1; tile k vec 48, j reduce").c_str()), "no error");
  EXPECT_EQ(error("loop i 1; tile k vec 48, j reduce"), "no error");
}

TEST(Verify, RefusesBrokenNests) {
  const Contraction c = matmul(64, 32, 48);
  const Schedule schedule = value_or_throw(
      parse_schedule("pack in1; loop k 16; loop i 4; tile k vec 16, i unroll 4, j reduce", c));
  const LoopNest good = lower(c, schedule, Target::generic(Isa::x86_64_v4));
  ASSERT_TRUE(verify(good));

  LoopNest small = good;  // a scratch buffer that is too small
  small.scratch[0].elements = 100;
  EXPECT_FALSE(verify(small));

  LoopNest missing = good;  // no output tile
  missing.body.clear();
  EXPECT_FALSE(verify(missing));

  LoopNest twice = good;  // the output written twice
  twice.body.push_back(twice.body[0]);
  EXPECT_FALSE(verify(twice));

  LoopNest racing = good;  // pieces of a summed label at the same time
  racing.body = {Node{For{2, 8, Order::parallel, good.body}}};
  EXPECT_FALSE(verify(racing));

  LoopNest asking = good;  // for what is asked for already
  const std::vector<std::int64_t> box{64, 48, 32};
  asking.body = {Node{Ask{0, box, {Node{Ask{0, box, good.body}}}}}};
  EXPECT_FALSE(verify(asking));
  asking.body = {Node{Ask{0, box, good.body}}};
  EXPECT_TRUE(verify(asking));
  asking.body = {Node{Ask{2, box, good.body}}};
  EXPECT_FALSE(verify(asking));

  LoopNest uncut = good;  // a loop left out: the tile's range is larger than its factor
  uncut.body = std::get<For>(std::get<Alloc>(good.body[0].value).body[1].value).body;
  EXPECT_FALSE(verify(uncut));
}

// The nest of partial sums, by the interpreter; and such nests that are wrong.
TEST(Verify, PartialSums) {
  const Contraction c = matmul(7, 90, 20);
  std::vector<float> a(7 * 90), b(90 * 20), out(7 * 20), expected(7 * 20);
  for (std::size_t n = 0; n < a.size(); ++n) a[n] = static_cast<float>(n % 7);
  for (std::size_t n = 0; n < b.size(); ++n) b[n] = static_cast<float>(n % 5);
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t k = 0; k < 20; ++k)
      for (std::size_t j = 0; j < 90; ++j) expected[i * 20 + k] += a[i * 90 + j] * b[j * 20 + k];
  auto nest_of = [&](const char* text) {
    const Schedule schedule = value_or_throw(parse_schedule(text, c));
    EXPECT_TRUE(check(schedule, c)) << text;
    return lower(c, schedule, Target::generic(Isa::x86_64_v4));
  };
  for (const char* text :
       {"loop j 32; buffer out; loop i 3; loop j 4; loop k 8; tile k vec 8, i unroll 3, j reduce",
        "loop j 40 parallel; buffer out; loop j 20; buffer out; loop j 3; loop i 1; loop k 16; "
        "tile k vec 16, j reduce"}) {
    const LoopNest nest = nest_of(text);
    EXPECT_TRUE(verify(nest)) << nest.to_string();
    interpret(nest, {out.data(), a.data(), b.data()}, 1, 0);
    EXPECT_EQ(out, expected) << text;
  }
  const LoopNest good = nest_of(
      "loop j 30 parallel; buffer out; loop j 3; loop i 1; loop k 16; tile k vec 16, j reduce");
  auto body = [](LoopNest& nest) -> Block& {
    return std::get<Alloc>(std::get<For>(nest.body[0].value).body[0].value).body;
  };
  ASSERT_TRUE(verify(good));
  LoopNest lost = good;  // never added
  body(lost).pop_back();
  EXPECT_FALSE(verify(lost));
  LoopNest early = good;  // added before they are there
  std::swap(body(early).front(), body(early).back());
  EXPECT_FALSE(verify(early));
  LoopNest again = good;  // written by two tiles
  body(again).insert(body(again).begin(), body(again).front());
  EXPECT_FALSE(verify(again));
}

Contraction transpose(const std::vector<std::int64_t>& extents, const char* text) {
  const std::vector<Layout> layouts{Layout::row_major(DType::f64, extents)};
  return canonical(value_or_throw(einjit::bind(value_or_throw(parse(text)), layouts)).contraction);
}

// Lines carried from piece to piece and boxes drained from a buffer, by the interpreter, wherever
// the output begins; and such nests that are wrong.
TEST(Verify, CarriedLinesAndDrainedBuffers) {
  const Contraction c = transpose({21, 50, 9}, "ijk->kij");
  const std::int64_t kSize = 21 * 50 * 9;
  std::vector<double> a(kSize);
  for (std::size_t n = 0; n < a.size(); ++n) a[n] = static_cast<double>(n);
  auto nest_of = [&](const char* text) {
    const Schedule schedule = value_or_throw(parse_schedule(text, c));
    EXPECT_TRUE(check(schedule, c)) << text;
    return lower(c, schedule, Target::generic(Isa::x86_64_v4));
  };
  const LoopNest carried = nest_of(
      "loop k 5 parallel; loop ij 16 carried; loop k 4; stream out; tile ij vec 16, k unroll 4");
  const LoopNest drained = nest_of(
      "loop ij 40; loop k 4 parallel; buffer out; loop ij 16; stream out; tile ij vec 16, k unroll "
      "4");
  for (const LoopNest* nest : {&carried, &drained})
    for (std::size_t shift : {0, 3}) {
      EXPECT_TRUE(verify(*nest)) << nest->to_string();
      std::vector<double> memory(static_cast<std::size_t>(kSize) + 16, -1);
      double* out = memory.data();
      while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
      out += shift;
      interpret(*nest, {out, a.data()}, 1, 0);
      for (std::size_t k = 0; k < 9; ++k)
        for (std::size_t ij = 0; ij < 21 * 50; ++ij)
          ASSERT_EQ(out[k * 21 * 50 + ij], a[ij * 9 + k]) << nest->to_string();
      EXPECT_EQ(out[kSize], -1);
    }
  auto inside = [](LoopNest& nest) -> Alloc& {
    return std::get<Alloc>(std::get<For>(nest.body[0].value).body[0].value);
  };
  LoopNest shared = carried;  // a place for two rows
  std::get<Tile>(
      std::get<For>(std::get<For>(inside(shared).body[0].value).body[0].value).body[0].value)
      .carry->strides[0] = {};
  EXPECT_FALSE(verify(shared));
  LoopNest plain = carried;  // a loop that leaves nothing to its next piece
  std::get<For>(inside(plain).body[0].value).is_carried = false;
  EXPECT_FALSE(verify(plain));
  auto buffer = [](LoopNest& nest) -> Alloc& {
    auto& outer = std::get<For>(nest.body[0].value);
    return std::get<Alloc>(std::get<For>(outer.body[0].value).body[0].value);
  };
  LoopNest lost = drained;  // never written
  buffer(lost).body.pop_back();
  EXPECT_FALSE(verify(lost));
  LoopNest early = drained;  // before it is there
  std::swap(buffer(early).body.front(), buffer(early).body.back());
  EXPECT_FALSE(verify(early));
}

// Lines carried from one row to the next, by the interpreter; and rows that do not follow.
TEST(Verify, LinesCarriedFromRowToRow) {
  const Contraction c = transpose({16, 5, 9}, "ljm->mjl");
  const std::int64_t kSize = 16 * 5 * 9;
  std::vector<double> a(kSize);
  for (std::size_t n = 0; n < a.size(); ++n) a[n] = static_cast<double>(n);
  const char* text =
      "loop m 6; loop j 1 carried; loop l 8 carried; loop m 3; stream out; "
      "tile l vec 8, m unroll 3";
  const Schedule schedule = value_or_throw(parse_schedule(text, c));
  ASSERT_TRUE(check(schedule, c));
  const LoopNest nest = lower(c, schedule, Target::generic(Isa::x86_64_v4));
  ASSERT_TRUE(verify(nest)) << nest.to_string();
  for (std::size_t shift : {0, 3}) {
    std::vector<double> memory(static_cast<std::size_t>(kSize) + 24, -1);
    double* out = memory.data() + 8;
    while (reinterpret_cast<std::uintptr_t>(out) % 64 != 0) ++out;
    out += shift;
    interpret(nest, {out, a.data()}, 1, 0);
    for (std::size_t m = 0; m < 9; ++m)
      for (std::size_t j = 0; j < 5; ++j)
        for (std::size_t l = 0; l < 16; ++l)
          ASSERT_EQ(out[(m * 5 + j) * 16 + l], a[(l * 5 + j) * 9 + m]) << nest.to_string();
    EXPECT_EQ(out[-1], -1);
    EXPECT_EQ(out[kSize], -1);
  }
  auto rows = [](LoopNest& of) -> For& {
    auto& outer = std::get<For>(of.body[0].value);
    return std::get<For>(std::get<Alloc>(outer.body[0].value).body[0].value);
  };
  LoopNest two = nest;  // rows at a time
  rows(two).step = 2;
  EXPECT_FALSE(verify(two));
  LoopNest apart = nest;
  apart.contraction.out.strides[rows(apart).label] = 24;
  EXPECT_FALSE(verify(apart));
  LoopNest plain = nest;  // the places of all rows' lines are one
  rows(plain).is_carried = false;
  EXPECT_FALSE(verify(plain));
}

// What is left of a loop, if it is whole vectors, is stored without masks where stores go past the
// caches: masked ones cannot.
TEST(Plan, WholeTailsAreStreamed) {
  const Contraction c = transpose({48, 64, 64}, "ikl->ilk");
  const Target target = Target::generic(Isa::x86_64_v4);
  auto has_masks = [&](const std::string& text) {
    const Schedule schedule = value_or_throw(parse_schedule(text, c));
    EXPECT_TRUE(check(schedule, c));
    const Plan plan = make_plan(lower(c, schedule, target), UnitShape::argument);
    bool is_masked = false;
    for (const PlanCall& call : plan.calls)
      for (const PlanCall::Variant& variant : call.variants)
        for (const UnitVar& var : variant.unit.vars) is_masked |= var.active_slot >= 0;
    return is_masked;
  };
  const std::string loops = "loop i 1; loop k 24; loop l 8; ", tile = "tile k vec 24, l unroll 8";
  EXPECT_TRUE(has_masks(loops + tile));
  EXPECT_FALSE(has_masks(loops + "stream out; " + tile));
}

// Short rows are read whole, whatever the vectors: the sum is all there is to share.
TEST(Schedule, TallSumsGoAlongTheirRows) {
  for (bool has_mesh : {false, true})
    for (auto [expression, width] : {std::pair{"ji->i", 25}, {"ji,j->i", 36}, {"ji->i", 13}})
      for (DType type : {DType::f32, DType::f64}) {
        Target target = Target::generic(Isa::x86_64_v4);
        if (has_mesh) target.describe_mesh();
        std::vector<Layout> layouts{Layout::row_major(type, {100000, width})};
        if (std::string_view(expression).contains(','))
          layouts.push_back(Layout::row_major(type, {100000}));
        const Expression parsed = value_or_throw(parse(expression));
        const Contraction c = canonical(value_or_throw(einjit::bind(parsed, layouts)).contraction);
        const Schedule chosen = choose_schedule(c, target).schedule;
        SCOPED_TRACE(to_string(chosen, c));
        const auto vec = std::ranges::find(chosen.tile, Role::vec, &TileVar::role);
        ASSERT_NE(vec, chosen.tile.end());
        EXPECT_EQ(c.in[0].strides[vec->label], 1);
        EXPECT_EQ(vec->factor, width);
        const auto* outermost = std::get_if<LoopSpec>(&chosen.outer.front());
        ASSERT_TRUE(outermost);
        EXPECT_TRUE(c.is_reduced(outermost->label));
        EXPECT_EQ(outermost->order, Order::parallel);
        EXPECT_TRUE(std::holds_alternative<BufferSpec>(chosen.outer[1]));
      }
}

// Sums by rows are buffered in pieces that L2 holds, or not at all.
TEST(Schedule, BuffersOfSummedRowsStayInL2) {
  for (auto [expression, rows] : {std::pair{"i,m,imkj->jk", 64}, {"ikj->jk", 1}}) {
    Target target = Target::generic(Isa::x86_64_v4);
    target.describe_mesh();
    std::vector<Layout> layouts;
    if (rows > 1) layouts.assign(2, Layout::row_major(DType::f32, {64}));
    layouts.push_back(rows > 1 ? Layout::row_major(DType::f32, {64, rows, 100, 4000})
                               : Layout::row_major(DType::f32, {64, 100, 4000}));
    const Expression parsed = value_or_throw(parse(expression));
    const Contraction c = canonical(value_or_throw(einjit::bind(parsed, layouts)).contraction);
    const Schedule chosen = choose_schedule(c, target).schedule;
    SCOPED_TRACE(to_string(chosen, c));
    for (const Buffer& buffer : lower(c, chosen, target).scratch)
      EXPECT_LE(buffer.elements * size_of(c.dtype), target.l2_bytes);
  }
}

// Transposes from memory read and write several lines of a row before they go to other pages.
TEST(Schedule, TransposesFromMemoryGoInBlocks) {
  const Target target = Target::generic(Isa::x86_64_v4);
  const Contraction c = transpose({8192, 8192}, "ij->ji");
  const Schedule chosen = choose_schedule(c, target).schedule;
  std::vector<std::pair<Label, std::int64_t>> loops;
  for (const auto& item : chosen.outer) {
    const auto& loop = std::get<LoopSpec>(item);
    loops.emplace_back(loop.label, loop.step);
  }
  ASSERT_EQ(loops.size(), 4U);
  const auto [row, column] = std::pair(loops[0], loops[1]);
  EXPECT_EQ(c.out.strides[row.first], 1);
  EXPECT_EQ(c.in[0].strides[column.first], 1);
  EXPECT_GT(row.second, loops[2].second);
  EXPECT_GT(column.second, loops[3].second);
  EXPECT_EQ(chosen.store, Store::streaming);
  ASSERT_EQ(chosen.ahead.size(), 1U);
  EXPECT_EQ(chosen.ahead[0].label, column.first);
  EXPECT_EQ(chosen.ahead[0].distance, column.second);
}

}  // namespace
}  // namespace einjit
