#include "measure_row.hpp"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "limit.hpp"
#include "measure/peaks.hpp"
#include "peers/contraction.hpp"

namespace einjit_bench {
namespace {

using namespace einjit;

// Collects each contestant's repetitions; prints nothing.
class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs)
      if (run.run_type == Run::RT_Iteration && run.iterations > 0)
        samples[run.run_name.function_name].push_back(run.real_accumulated_time /
                                                      static_cast<double>(run.iterations));
  }
  double median(const std::string& name) {
    std::vector<double>& s = samples.at(name);
    std::ranges::sort(s);
    return s[s.size() / 2];
  }
  std::map<std::string, std::vector<double>> samples;
};

// Arrays of a row, on cache lines, filled with small numbers.
struct Arrays {
  std::vector<std::shared_ptr<char>> memory;
  std::vector<void*> pointers;  // output first

  static std::size_t bytes_of(const Layout& layout) {
    const std::int64_t bytes =
        std::max<std::int64_t>(layout.footprint(), 1) * size_of(layout.dtype);
    return static_cast<std::size_t>((bytes + 63) / 64 * 64 + 64);  // room to begin within a line
  }

  void add_memory(const Layout& layout) {
    memory.emplace_back(static_cast<char*>(std::aligned_alloc(64, bytes_of(layout))), std::free);
    pointers.push_back(memory.back().get() - layout.lowest_offset() * size_of(layout.dtype));
  }

  void add(const Layout& layout, std::mt19937& random) {
    add_memory(layout);
    for (std::int64_t i = 0; i < layout.footprint(); ++i) {
      const double value = static_cast<double>(random() % 17) / 16 - 0.5;
      if (layout.dtype == DType::f32)
        reinterpret_cast<float*>(memory.back().get())[i] = static_cast<float>(value);
      else
        reinterpret_cast<double*>(memory.back().get())[i] = value;
    }
  }

  void add_copy(const Layout& layout, const Arrays& other) {
    add_memory(layout);
    std::memcpy(memory.back().get(), other.memory[memory.size() - 1].get(), bytes_of(layout));
  }
};

using Run = std::function<void()>;

// One after the other, over and over.
Run in_turn(std::vector<Run> runs) {
  if (runs.size() == 1) return runs.front();
  return [runs = std::move(runs), next = std::make_shared<std::size_t>(0)] {
    runs[*next]();
    *next = (*next + 1) % runs.size();
  };
}

// The cache that holds so many bytes, and how many such sets of arrays must be used in turn so that
// each comes from there: L3 may be far larger than it says, and what of it is ours changes.
struct Level {
  const char* name;
  std::int64_t sets = 1;
};
Level level_of(double bytes) {
  const Target target = Target::host();
  if (bytes <= static_cast<double>(target.l1_bytes)) return {"L1"};
  if (bytes <= static_cast<double>(target.l2_bytes)) return {"L2"};
  if (bytes <= static_cast<double>(target.l3_bytes)) return {"L3"};
  const auto l3 =
      static_cast<double>(std::max<std::int64_t>(target.l3_bytes, sysconf(_SC_LEVEL3_CACHE_SIZE)));
  return {"memory", bytes > 2 * l3 ? 1 : static_cast<std::int64_t>(std::ceil(l3 / bytes)) + 1};
}

void add_contestant(const std::string& name, const Settings& settings, const Run& run) {
  // Idle threads of the contestant before spin for a while (OpenBLAS 25 ms): they must be asleep.
  const auto pause = std::chrono::milliseconds(settings.threads > 1 ? 40 : 0);
  benchmark::RegisterBenchmark(name.c_str(),
                               [run, pause](benchmark::State& state) {
                                 std::this_thread::sleep_for(pause);
                                 for (auto _ : state) run();
                               })
      ->Repetitions(settings.repetitions)
      ->MinTime(settings.seconds);
}

constexpr std::int64_t kLine = 64;

struct Work {
  double flops, read, written;
  double lines = 0;  // bytes of the cache lines touched
};
Work work_of(const Row& row, const Contraction& c, const Layout& output) {
  Work work{c.point_count() * 2, 0, 0};
  if (c.in.size() == 1)
    work.flops =
        c.point_count() * (c.point_count() > static_cast<double>(output.element_count()) ? 1 : 0);
  const auto item = static_cast<double>(size_of(row.dtype));
  for (const Layout& layout : row.operands)
    work.read += item * static_cast<double>(std::min(layout.element_count(), layout.footprint()));
  // A diagonal is less than its matrix: count what the contraction touches.
  double touched = 0;
  for (std::size_t k = 0; k < c.in.size(); ++k) {
    double elements = 1;
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.in[k].strides[l] != 0) elements *= static_cast<double>(c.extents[l]);
    touched += item * elements;
    work.lines += std::min(item * static_cast<double>(row.operands[k].footprint()),
                           static_cast<double>(kLine) * elements);
  }
  work.read = std::min(work.read, touched);
  work.written = item * static_cast<double>(output.element_count());
  work.lines += work.written;
  return work;
}

// What the row is held against: a stream of its bytes, or elements far apart one by one.
Run limit_loop(const Row& row, const Contraction& c, const Work& work) {
  if (c.in.size() == 1 && c.label_count() == 1) {
    const std::int64_t stride = std::abs(c.in[0].strides[0]) * size_of(row.dtype);
    if (c.is_reduced(0) && stride >= kLine) return strided_loop(c.extents[0], stride);
  }
  return streaming_loop(static_cast<std::int64_t>(work.read),
                        static_cast<std::int64_t>(work.written), Target::host().l2_bytes * 2);
}

// Whether every element of the input goes to one place of the output, in arrays without gaps.
bool only_moves(const Row& row, const Contraction& c, const Layout& output) {
  return row.operands.size() == 1 && !c.has_sum() &&
         row.operands[0].element_count() == output.element_count() &&
         row.operands[0].footprint() == output.footprint();
}

// Three and more operands: the multiply-adds of the order einjit takes.
double pairwise_flops(const Kernel& kernel, const Contraction& c, double flops) {
  return c.in.size() > 2 ? static_cast<double>(kernel.flop_count()) : flops;
}

Contraction contraction_of(const Row& row) {
  const Expression expression = value_or_throw(parse(row.expression));
  return canonical(value_or_throw(einjit::bind(expression, row.operands, row.output)).contraction);
}

std::vector<Arrays> sets_of_arrays(const Row& row, const Layout& output, std::int64_t count) {
  std::mt19937 random(1);
  std::vector<Arrays> sets(static_cast<std::size_t>(count));
  for (Arrays& arrays : sets) {
    auto add = [&](const Layout& layout) {
      &arrays == &sets.front() ? arrays.add(layout, random) : arrays.add_copy(layout, sets.front());
    };
    add(output);
    arrays.pointers.back() = static_cast<char*>(arrays.pointers.back()) + row.output_shift;
    for (const Layout& layout : row.operands) add(layout);
  }
  return sets;
}

}  // namespace

const PeerTime* RowResult::best_peer() const {
  const auto it = std::ranges::min_element(peers, {}, &PeerTime::seconds);
  return it == peers.end() ? nullptr : &*it;
}

RowResult measure_row(const Row& row, const PeerSet& peers, NumpyPeer* numpy,
                      const Settings& settings) {
  CompileOptions options;
  options.output = row.output;
  const Kernel kernel = Engine::standard().compile(row.expression, row.operands, options);
  const Contraction c = contraction_of(row);
  const Work work = work_of(row, c, kernel.output());
  const Level level = level_of(work.lines);
  const std::vector<Arrays> sets = sets_of_arrays(row, kernel.output(), level.sets);
  // A contestant runs on one set of arrays after the other.
  auto on_each = [&](const auto& make) {
    std::vector<Run> runs;
    for (const Arrays& arrays : sets) runs.push_back(make(arrays.pointers));
    return in_turn(std::move(runs));
  };
  // Huge rows run once a repetition anyway; fewer repetitions keep a suite short.
  Settings chosen = settings;
  if (work.flops > 5e9 || work.read + work.written > 5e8)
    chosen.repetitions = std::max(3, settings.repetitions / 2);

  benchmark::ClearRegisteredBenchmarks();
  const ThreadPool pool(settings.threads);
  auto kernel_on = [&pool](const Kernel& kernel) {
    return [&kernel, executor = pool.executor()](const std::vector<void*>& pointers) -> Run {
      return [&kernel, executor, &pointers] { (void)kernel.run(pointers.data(), {}, &executor); };
    };
  };
  add_contestant("einjit", chosen, on_each(kernel_on(kernel)));
  add_contestant("stream", chosen, on_each([&](const auto&) { return limit_loop(row, c, work); }));
  const bool is_copy = only_moves(row, c, kernel.output());
  if (is_copy)
    add_contestant("memcpy", chosen, on_each([&](const std::vector<void*>& pointers) -> Run {
                     return [to = pointers[0], from = pointers[1], work] {
                       std::memcpy(to, from, static_cast<std::size_t>(work.written));
                       benchmark::ClobberMemory();
                     };
                   }));
  RowResult result{row,
                   settings.threads,
                   0,
                   pairwise_flops(kernel, c, work.flops),
                   work.read + work.written,
                   level.name,
                   0,
                   0,
                   {}};
  result.peak_gflops = measure_fma_peak(row.dtype);
  for (const auto& peer : peers.peers) {
    const PeerRun first = peer_contraction(*peer, c, sets.front().pointers);
    if (!first.run) continue;
    add_contestant(peer->name, chosen, on_each([&](const std::vector<void*>& pointers) {
                     return &pointers == &sets.front().pointers
                                ? first.run
                                : peer_contraction(*peer, c, pointers).run;
                   }));
    result.peers.push_back({peer->name, first.how, 0});
  }
  // Where all operands go in one pass, the other way is a contestant too.
  if (c.in.size() > 2) options.path = Path::pairwise;
  const Kernel pairwise = Engine::standard().compile(row.expression, row.operands, options);
  if (pairwise.workspace_bytes() > kernel.workspace_bytes()) {
    add_contestant("pairwise", chosen, on_each(kernel_on(pairwise)));
    result.peers.push_back({"pairwise",
                            fmt::format("einjit, workspace {} bytes against {}",
                                        pairwise.workspace_bytes(), kernel.workspace_bytes()),
                            0});
  }
  if (numpy) {
    benchmark::RegisterBenchmark(
        "numpy",
        [&](benchmark::State& state) {
          for (auto _ : state) state.SetIterationTime(numpy->time(row, chosen.seconds, level.sets));
        })
        ->Repetitions(std::max(1, chosen.repetitions / 2))
        ->Iterations(1)
        ->UseManualTime();
    result.peers.push_back({"numpy", "einsum", 0});
  }
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector, ".");
  result.seconds = collector.median("einjit");
  result.peak_gflops = std::max(result.peak_gflops, measure_fma_peak(row.dtype));
  result.limit_seconds =
      std::max(result.flops / (result.peak_gflops * 1e9), collector.median("stream"));
  if (is_copy) result.copy_seconds = collector.median("memcpy");
  for (PeerTime& peer : result.peers) peer.seconds = collector.median(peer.name);
  return result;
}

// Of a process that has compiled before: a first kernel has opened the code generator.
Engine& warm_engine() {
  static Engine engine;
  static const Kernel first = engine.compile("->", std::array{Layout::row_major(DType::f32, {})});
  return engine;
}

RowResult measure_compile(const Row& row) {
  Engine& engine = warm_engine();
  std::vector<double> samples;
  std::int64_t units = 0;
  for (int i = 0; i < 5; ++i) {
    engine.clear_cache();
    const std::int64_t before = engine.statistics().units_compiled;
    const auto start = std::chrono::steady_clock::now();
    (void)engine.compile(row.expression, row.operands);
    samples.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    units = engine.statistics().units_compiled - before;
  }
  std::ranges::sort(samples);
  RowResult result{row, 1, samples[2], 0, 0, "", 0, 0, {}};
  result.units_compiled = units;
  return result;
}

}  // namespace einjit_bench
