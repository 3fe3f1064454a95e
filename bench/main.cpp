// bench/run SUITE... [--filter RE] [--threads N] [--json FILE]
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <regex>

#include "report.hpp"

namespace {

using namespace einjit_bench;

// One core for one thread: the clock and the caches stay the same from row to row.
void pin_to_first_core() {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) {
      CPU_SET(cpu, &one);
      break;
    }
  sched_setaffinity(0, sizeof one, &one);
}

std::vector<Row> select(const std::vector<std::string>& suites, const std::string& filter) {
  std::vector<Row> rows;
  const std::regex pattern(filter);
  for (const std::string& suite : suites)
    for (Row& row : rows_of(suite))
      if (filter.empty() || std::regex_search(row.name + " " + row.expression, pattern))
        rows.push_back(std::move(row));
  return rows;
}

int run(int argc, char** argv) {
  CLI::App app{"einjit's benchmarks against BLAS and friends"};
  std::vector<std::string> suites;
  std::string filter, json_file;
  Settings settings;
  app.add_option("suites", suites, fmt::format("{}", fmt::join(kSuites, " ")))->required();
  app.add_option("--filter", filter, "only rows whose name or expression matches");
  app.add_option("--threads", settings.threads, "threads of einjit and of the peers")
      ->check(CLI::Range(1, 64));
  app.add_option("--json", json_file, "write the rows to this file");
  app.add_option("--repetitions", settings.repetitions, "per contestant, interleaved")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const std::vector<Row> rows = select(suites, filter);
  if (settings.threads == 1) pin_to_first_core();

  int none = 4;
  std::string name = "bench", interleave = "--benchmark_enable_random_interleaving=true",
              all = "--benchmark_filter=.", time = "--benchmark_min_time=0.02";
  char* arguments[] = {name.data(), interleave.data(), all.data(), time.data(), nullptr};
  benchmark::Initialize(&none, arguments);

  const PeerSet peers = load_peers(settings.threads);
  std::string why;
  const bool wants_numpy = std::ranges::any_of(
      suites, [](const std::string& s) { return s == "small" || s == "memory"; });
  std::unique_ptr<NumpyPeer> numpy;
  if (wants_numpy) numpy = NumpyPeer::start(EINJIT_NUMPY_SCRIPT, why);
  Report report(peers, numpy.get(), why, settings);
  report.print_head();
  for (const Row& row : rows)
    report.add(
        is_compiled_only(row.suite)
            ? measure_compile(row)
            : measure_row(row, peers,
                          row.suite == "small" || row.suite == "memory" ? numpy.get() : nullptr,
                          settings));
  report.print_summary();
  if (!json_file.empty()) {
    std::ofstream file(json_file);
    file << report.json();
    if (!file.flush()) throw std::runtime_error("cannot write " + json_file);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  setenv("EINJIT_CACHE", "off", 1);  // what is measured is compiled
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
