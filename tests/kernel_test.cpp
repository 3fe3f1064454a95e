// Floors 8 and 9: the C++ API, the cache, threads, and what a call costs in allocations.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <numeric>
#include <thread>

#include "einjit/einjit.hpp"
#include "support/arrays.hpp"

namespace {
std::atomic<std::int64_t> allocations = 0;
}

// Every allocation of the program is counted. (GCC sees malloc behind new and warns.)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace einjit {
namespace {

using einjit_test::matmul;
using einjit_test::ramp;

// What these tests count is compiled here; only what says so looks at the disk.
const bool no_disk = setenv("EINJIT_CACHE", "off", 1) == 0;

TEST(Kernel, CompileOnceRunMany) {
  const Kernel kernel = compile<float>("ij,jk->ik", {{64, 128}, {128, 32}});
  const auto a = ramp<float>(64 * 128, 13), b = ramp<float>(128 * 32, 11);
  std::vector<float> c(64 * 32, -1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(kernel(c.data(), a.data(), b.data()), Status::ok);
  EXPECT_EQ(c, matmul(a, b, 64, 128, 32));
  EXPECT_EQ(kernel.output(), Layout::row_major(DType::f32, {64, 32}));
  EXPECT_EQ(kernel.flop_count(), 2 * 64 * 128 * 32);
}

TEST(Kernel, AlphaAndBeta) {
  CompileOptions options;
  options.scaling = Scaling::alpha_beta;
  for (int n : {6, 300}) {  // direct and packed
    const Kernel kernel = compile<double>("ij,jk->ik", {{n, n}, {n, n}}, options);
    const auto a = ramp<double>(n * n, 13), b = ramp<double>(n * n, 11);
    const auto product = matmul(a, b, n, n, n);
    std::vector<double> c(n * n, 3);
    void* const operands[] = {c.data(), const_cast<double*>(a.data()),
                              const_cast<double*>(b.data())};
    EXPECT_EQ(kernel.run(operands, {2, -1}), Status::ok);
    for (int i = 0; i < n * n; ++i) ASSERT_EQ(c[i], 2 * product[i] - 3);
    // beta = 0 never reads the output.
    std::fill(c.begin(), c.end(), std::nan(""));
    EXPECT_EQ(kernel.run(operands, {1, 0}), Status::ok);
    EXPECT_EQ(c, product);
  }
}

TEST(Kernel, CheckedViews) {
  const Kernel kernel = compile<float>("ij->ji", {{3, 4}});
  auto a = ramp<float>(12, 13);
  std::vector<float> b(12);
  const Layout in = Layout::row_major(DType::f32, {3, 4}),
               out = Layout::row_major(DType::f32, {4, 3});
  kernel(TensorView<float>(b.data(), out), TensorView<const float>(a.data(), in));
  EXPECT_EQ(b[1], a[4]);
  const Layout wrong = Layout::column_major(DType::f32, {3, 4});
  try {
    kernel(TensorView<float>(b.data(), out), TensorView<const float>(a.data(), wrong));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "error: operand 0 is f32 3x4 strides 1,3 but the kernel was compiled for f32 3x4");
  }
  EXPECT_THROW(kernel(TensorView<float>(b.data(), out)), Error);
}

// Anything like std::mdspan serves as a view.
struct Mdspan {
  const double* pointer;
  std::size_t rank() const { return 2; }
  std::size_t extent(std::size_t r) const { return r ? 3 : 2; }
  std::size_t stride(std::size_t r) const { return r ? 1 : 3; }
  const double* data_handle() const { return pointer; }
};

TEST(Contract, OneShotThroughTheCache) {
  const std::vector<double> a{1, 2, 3, 4, 5, 6};
  double sum = 0;
  const Layout scalar = Layout::row_major(DType::f64, {});
  contract("ij->", TensorView<double>(&sum, scalar), Mdspan{a.data()});
  EXPECT_EQ(sum, 21);
  EXPECT_THROW(contract("ijk->", TensorView<double>(&sum, scalar), Mdspan{a.data()}), Error);
}

// On this thread alone: in a pool each thread's scratch grows at its own first piece.
TEST(Kernel, RunsAllocateNothing) {
  // One unit, packed with scratch, several steps with a workspace.
  const Kernel kernels[] = {
      compile<float>("ij,jk->ik", {{8, 8}, {8, 8}}),
      compile<float>("ij,jk->ik", {{600, 600}, {600, 600}}),
      compile<float>("ij,jk,kl,lm->im", {{60, 50}, {50, 40}, {40, 30}, {30, 20}})};
  std::vector<float> a(600 * 600, 1), c(600 * 600);
  for (const Kernel& kernel : kernels) {
    void* const operands[] = {c.data(), a.data(), a.data(), a.data(), a.data()};
    ASSERT_EQ(kernel.run(operands, {}, &serial_executor), Status::ok);
    const std::int64_t before = allocations;
    for (int i = 0; i < 3; ++i) ASSERT_EQ(kernel.run(operands, {}, &serial_executor), Status::ok);
    EXPECT_EQ(allocations, before);
  }
}

TEST(Kernel, ScratchOfTheCallers) {
  const Kernel kernels[] = {
      compile<float>("ij,jk->ik", {{8, 8}, {8, 8}}),
      compile<float>("ij,jk->ik", {{600, 600}, {600, 600}}),
      compile<float>("ij,jk,kl,lm->im", {{60, 50}, {50, 40}, {40, 30}, {30, 20}})};
  std::vector<float> a(600 * 600, 1), c(600 * 600), d(600 * 600);
  for (const Kernel& kernel : kernels) {
    void* const own[] = {c.data(), a.data(), a.data(), a.data(), a.data()};
    void* const given[] = {d.data(), a.data(), a.data(), a.data(), a.data()};
    ASSERT_EQ(kernel.run(own), Status::ok);
    std::vector<std::byte> scratch(kernel.scratch_bytes() + 1);
    const std::span<std::byte> odd(scratch.data() + 1, kernel.scratch_bytes());
    ASSERT_EQ(kernel.run(given, {}, &serial_executor, odd), Status::ok);
    EXPECT_EQ(c, d);
    if (kernel.scratch_bytes() > 0) {
      EXPECT_EQ(kernel.run(given, {}, &serial_executor, odd.first(100)), Status::out_of_memory);
    }
  }
}

TEST(Contract, HitsAllocateNothing) {
  const std::vector<double> a{1, 2, 3, 4, 5, 6};
  double sum = 0;
  const Layout scalar = Layout::row_major(DType::f64, {});
  const TensorView<double> out(&sum, scalar);
  contract("ij->", out, Mdspan{a.data()});
  const std::int64_t before = allocations;
  contract("ij->", out, Mdspan{a.data()});
  EXPECT_EQ(allocations, before);
}

TEST(Engine, RenamedLabelsShareAKernel) {
  Engine engine;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {20, 20}));
  engine.compile("ij,jk->ik", layouts);
  const EngineStatistics before = engine.statistics();
  engine.compile("ab,bc->ac", layouts);
  const std::vector<std::vector<int>> inputs{{100, 7}, {7, 3}};
  ASSERT_TRUE(engine.try_compile(inputs, {100, 3}, layouts));
  const EngineStatistics after = engine.statistics();
  EXPECT_EQ(after.misses, before.misses);
  EXPECT_EQ(after.units_compiled, before.units_compiled);
  EXPECT_EQ(after.hits, before.hits + 2);
}

TEST(Engine, ShapesShareUnits) {
  Engine engine;
  CompileOptions options;
  options.schedule =
      "loop j 200; pack in1; loop i 60; pack in0; loop k 32; loop i 12; tile k vec 32, i unroll "
      "12, j reduce";
  auto compile = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    const std::vector<Layout> layouts{Layout::row_major(DType::f32, {m, k}),
                                      Layout::row_major(DType::f32, {k, n})};
    engine.compile("ij,jk->ik", layouts, options);
    return engine.statistics().units_compiled;
  };
  const std::int64_t first = compile(1200, 640, 800);
  EXPECT_EQ(compile(2400, 960, 1600), first);  // a plan, no code
}

TEST(Engine, CacheIsBounded) {
  Engine engine(Target::host(), {.most_kernels = 4});
  const std::vector<float> a(100, 1);
  Kernel kept;
  for (std::int64_t n = 1; n <= 10; ++n) {
    const std::vector<Layout> layouts{Layout::row_major(DType::f32, {n})};
    const Kernel kernel = engine.compile("i->", layouts);
    if (n == 7) kept = kernel;
  }
  EXPECT_EQ(engine.statistics().kernels, 4);
  EXPECT_EQ(engine.statistics().evictions, 6);
  engine.clear_cache();
  float sum = 0;  // code lives as long as its users
  EXPECT_EQ(kept(&sum, a.data()), Status::ok);
  EXPECT_EQ(sum, 7);
  kept = Kernel();
  EXPECT_EQ(engine.statistics().code_bytes, 0);
}

TEST(Engine, MissesCompileOnceWhileOthersWait) {
  Engine engine;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f64, {40, 40}));
  const auto a = ramp<double>(1600, 13), b = ramp<double>(1600, 11);
  const auto expected = matmul(a, b, 40, 40, 40);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      const Kernel kernel = engine.compile("ij,jk->ik", layouts);
      std::vector<double> c(1600);
      for (int i = 0; i < 100; ++i)
        wrong += kernel(c.data(), a.data(), b.data()) != Status::ok || c != expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(engine.statistics().misses, 1);
}

TEST(Engine, ManyThreadsCompileDifferentKernels) {
  Engine engine;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int n = 2; n < 20; ++n) {
        const std::vector<Layout> layouts{Layout::row_major(DType::f32, {n, t + 2})};
        const Kernel kernel = engine.compile("ij->j", layouts);
        const std::vector<float> a(n * (t + 2), 1);
        std::vector<float> sums(t + 2);
        wrong +=
            kernel(sums.data(), a.data()) != Status::ok || sums != std::vector<float>(t + 2, n);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// 32 threads over EINJIT_KERNELS kernels of one engine, whose cache holds a few: they are compiled,
// run, evicted while others run them, and compiled again.
TEST(Engine, ThirtyTwoThreadsOnOneEngine) {
  const char* given = std::getenv("EINJIT_KERNELS");
  const int count = given ? std::atoi(given) : 1000;
  Engine engine(Target::host(), {.most_kernels = 16, .cache_directory = ""});
  std::atomic<int> next = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 32; ++t)
    threads.emplace_back([&] {
      for (int k = next++; k < count; k = next++) {
        // Shapes come again while others have them.
        const std::int64_t n = 2 + k / 2 % 61, m = 2 + k / 122 % 83;
        const std::vector<Layout> layouts{Layout::row_major(DType::f32, {n, m})};
        const Kernel kernel = engine.compile(k % 3 ? "ij->j" : "ij->i", layouts);
        const std::vector<float> a(static_cast<std::size_t>(n * m), 1);
        std::vector<float> sums(static_cast<std::size_t>(k % 3 ? m : n));
        const std::vector<float> expected(sums.size(), static_cast<float>(k % 3 ? n : m));
        for (int i = 0; i < 5; ++i)
          wrong += kernel(sums.data(), a.data()) != Status::ok || sums != expected;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(engine.statistics().kernels, 16);
}

// An executor of the user's own: each piece on a thread. The bits must be those of one thread.
TEST(Kernel, ExecutorRunsThePieces) {
  const int n = 700;
  const Kernel kernel = compile<float>("ij,jk->ik", {{n, n}, {n, n}});
  std::vector<float> a(n * n), b(n * n), c(n * n), d(n * n);
  for (int i = 0; i < n * n; ++i)
    a[i] = 1.0f / static_cast<float>(i + 1), b[i] = static_cast<float>(i % 17) * 0.1f;
  std::atomic<int> pieces = 0;
  const Executor executor{
      [](void* context, std::int64_t count, Executor::Body body, void* argument) {
        *static_cast<std::atomic<int>*>(context) += static_cast<int>(count);
        std::vector<std::thread> threads;
        for (std::int64_t p = 0; p < count; ++p) threads.emplace_back([=] { body(argument, p); });
        for (std::thread& thread : threads) thread.join();
      },
      &pieces};
  void* const serial[] = {c.data(), a.data(), b.data()};
  void* const parallel[] = {d.data(), a.data(), b.data()};
  ASSERT_EQ(kernel.run(serial), Status::ok);
  ASSERT_EQ(kernel.run(parallel, {}, &executor), Status::ok);
  EXPECT_EQ(c, d);
  EXPECT_GT(pieces, 1);
}

TEST(Engine, NoPageIsWritableAndExecutable) {
  compile<double>("ijk,kl->ijl", {{5, 6, 7}, {7, 8}});
  std::ifstream maps("/proc/self/maps");
  bool executable = false;
  for (std::string line; std::getline(maps, line);) {
    const std::string permissions = line.substr(line.find(' ') + 1, 4);
    EXPECT_FALSE(permissions[1] == 'w' && permissions[2] == 'x') << line;
    executable |= permissions[2] == 'x';
  }
  EXPECT_TRUE(executable);
}

TEST(Engine, ExplainShowsEveryStage) {
  Engine engine(Target::generic(Isa::x86_64_v4));
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {128, 128}));
  auto text = [&](Stage stage) {
    return value_or_throw(engine.try_explain("ij,jk->ik", layouts, stage));
  };
  EXPECT_EQ(text(Stage::expression), "ij,jk->ik\n");
  EXPECT_NE(text(Stage::index).find("class"), std::string::npos);
  EXPECT_NE(text(Stage::loops).find("tile out"), std::string::npos);
  EXPECT_NE(text(Stage::llvm).find("@llvm.fma.v16f32"), std::string::npos);
  const std::string assembly = text(Stage::assembly);
  EXPECT_NE(assembly.find("vfmadd"), std::string::npos);
  // No vector register is spilled: nothing of 64 bytes goes to the stack.
  for (std::size_t at = 0; (at = assembly.find("zmm", at)) != std::string::npos; ++at) {
    const std::size_t begin = assembly.rfind('\n', at), end = assembly.find('\n', at);
    const std::string line = assembly.substr(begin, end - begin);
    EXPECT_FALSE(line.find("(%rsp)") != std::string::npos && line.find("vmov") != std::string::npos)
        << line;
    at = end;
  }
}

TEST(Engine, CodeIsSharedThroughTheDisk) {
  ASSERT_TRUE(no_disk);
  std::string pattern = "/tmp/einjit.XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  EngineOptions options;
  options.cache_directory = pattern;
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {300, 300}));
  const auto a = ramp<float>(90000, 13), b = ramp<float>(90000, 11);
  std::vector<std::vector<float>> results;
  CompileOptions always;  // nothing like it is prebuilt
  always.specialization = Specialization::always;
  for (bool is_first : {true, false}) {
    Engine engine(Target::host(), options);
    std::vector<float> c(90000);
    EXPECT_EQ(engine.compile("ij,jk->ik", layouts, always)(c.data(), a.data(), b.data()),
              Status::ok);
    EXPECT_EQ(engine.statistics().units_compiled == 0, !is_first);
    EXPECT_EQ(engine.statistics().units_loaded == 0, is_first);
    results.push_back(std::move(c));
  }
  EXPECT_EQ(results[0], results[1]);
  // Damage is compiled again, and mended.
  for (const auto& entry : std::filesystem::directory_iterator(pattern))
    std::filesystem::resize_file(entry.path(), 100);
  for (bool is_mended : {false, true}) {
    Engine engine(Target::host(), options);
    engine.compile("ij,jk->ik", layouts, always);
    EXPECT_EQ(engine.statistics().units_compiled == 0, is_mended);
  }
  std::filesystem::remove_all(pattern);
}

TEST(Engine, TunedKernelsStayInTheCache) {
  Engine engine;
  const std::vector<Layout> layouts{Layout::row_major(DType::f64, {40, 30}),
                                    Layout::row_major(DType::f64, {30, 50}),
                                    Layout::row_major(DType::f64, {50, 20})};
  TuneReport report;
  TuneOptions limits;
  limits.candidates = 3;
  limits.seconds = 1e-4;
  const Kernel tuned =
      value_or_throw(engine.try_tune("ij,jk,kl->il", layouts, {}, limits, &report));
  ASSERT_EQ(report.trials.size(), 6u);  // two steps
  EXPECT_EQ(std::ranges::count(report.trials, true, &TuneReport::Trial::won), 2);
  CompileReport again;
  const Kernel found = value_or_throw(engine.try_compile("ab,bc,cd->ad", layouts, {}, &again));
  EXPECT_TRUE(again.was_cached);
  const auto a = ramp<double>(1200, 13), b = ramp<double>(1500, 11), c = ramp<double>(1000, 7);
  std::vector<double> left(800), right(800);
  EXPECT_EQ(tuned(left.data(), a.data(), b.data(), c.data()), Status::ok);
  EXPECT_EQ(found(right.data(), a.data(), b.data(), c.data()), Status::ok);
  EXPECT_EQ(left, right);
  EXPECT_EQ(left, matmul(matmul(a, b, 40, 30, 50), c, 40, 50, 20));
  EXPECT_FALSE(engine.try_tune("ij,jk->ik", layouts));
  CompileOptions given;
  given.schedule = "loop i 1; loop k 1; tile j vec 8";
  EXPECT_FALSE(engine.try_tune("ij,jk->ik", std::span(layouts).first(2), given));
}

TEST(Engine, LargeShapesArePrebuilt) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, {512, 512}));
  const Kernel kernel = engine.compile("ij,jk->ik", layouts);
  const Isa isa = engine.target().isa;
  if (!EINJIT_HAS_PREBUILT || (isa != Isa::x86_64_v3 && isa != Isa::x86_64_v4))
    GTEST_SKIP() << "none for " << name_of(isa);
  EXPECT_GT(engine.statistics().units_prebuilt, 0);
  EXPECT_EQ(engine.statistics().units_compiled, 0);
}

// The first calls run on units that are there; later ones on code made for them, to the same bits.
TEST(Contract, IsSpecialisedWhenItPays) {
  Engine engine(Target::host(), {.cache_directory = ""});
  const Layout layout = Layout::row_major(DType::f32, {23, 23});
  const std::vector<Layout> layouts{layout, layout};
  CompileOptions shared;
  shared.specialization = Specialization::never;
  const Kernel units_are_there = engine.compile("ij,jk->ik", layouts, shared);
  const std::int64_t before = engine.statistics().units_compiled;
  std::vector<float> a(23 * 23), b(23 * 23), first(23 * 23), now(23 * 23);
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = std::sin(static_cast<float>(i));
    b[i] = std::cos(static_cast<float>(3 * i));
  }
  auto call = [&](std::vector<float>& c) {
    engine.contract("ij,jk->ik", TensorView<float>(c.data(), layout),
                    TensorView<const float>(a.data(), layout),
                    TensorView<const float>(b.data(), layout));
  };
  call(first);
  EXPECT_EQ(engine.statistics().units_compiled, before);
  for (int i = 0; i < 30000; ++i) call(now);
  engine.wait_for_specialization();
  EXPECT_GT(engine.statistics().units_compiled, before);
  call(now);
  EXPECT_EQ(first, now);
}

TEST(Contract, AnyByteMayStandInTheText) {
  const double one = 1;
  double out = 0;
  const Layout scalar = Layout::row_major(DType::f64, {});
  EXPECT_THROW(contract(std::string_view("\0->", 3), TensorView<double>(&out, scalar),
                        TensorView<const double>(&one, scalar)),
               Error);
}

TEST(Engine, ManyLabelsAndOperands) {
  // 60 labels in one operand of extent 1 or 2, and a product of 40 scalars.
  Engine engine;
  std::vector<int> labels(60);
  std::iota(labels.begin(), labels.end(), 0);
  std::vector<std::int64_t> extents(60, 1);
  for (int l = 0; l < 60; l += 6) extents[l] = 2;
  const std::vector<std::vector<int>> inputs{labels};
  const std::vector<Layout> layouts{Layout::row_major(DType::f64, extents)};
  const Kernel sum = value_or_throw(engine.try_compile(inputs, {0}, layouts));
  const std::vector<double> a(1024, 1);
  double out[2];
  EXPECT_EQ(sum(out, a.data()), Status::ok);
  EXPECT_EQ(out[0], 512);
  const std::vector<std::vector<int>> scalars(40);
  const std::vector<Layout> scalar_layouts(40, Layout::row_major(DType::f64, {}));
  const Kernel product = value_or_throw(engine.try_compile(scalars, {}, scalar_layouts));
  double two = 2, result = 0;
  std::vector<void*> pointers(41, &two);
  pointers[0] = &result;
  EXPECT_EQ(product.run(pointers.data()), Status::ok);
  EXPECT_EQ(result, std::ldexp(1.0, 40));
}

}  // namespace
}  // namespace einjit
