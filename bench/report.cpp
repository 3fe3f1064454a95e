#include "report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "measure/peaks.hpp"

namespace einjit_bench {
namespace {

using namespace einjit;

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "?";
}

std::string shapes_of(const Row& row) {
  std::vector<std::string> shapes;
  for (const Layout& layout : row.operands)
    shapes.push_back(fmt::format("{}", fmt::join(layout.extents, "x")));
  return fmt::format("{}", fmt::join(shapes, ","));
}

std::string time_text(double seconds) {
  if (seconds < 1e-6) return fmt::format("{:.1f} ns", seconds * 1e9);
  if (seconds < 1e-3) return fmt::format("{:.2f} us", seconds * 1e6);
  return fmt::format("{:.2f} ms", seconds * 1e3);
}

double fraction(const RowResult& r) {
  return r.limit_seconds > 0 ? r.limit_seconds / r.seconds : 0;
}
double ratio(const RowResult& r) { return r.best_peer() ? r.best_peer()->seconds / r.seconds : 0; }

}  // namespace

Report::Report(const PeerSet& peers, const NumpyPeer* numpy, std::string no_numpy,
               const Settings& settings)
    : peers_(peers), numpy_(numpy), no_numpy_(std::move(no_numpy)), settings_(settings) {
  calls_ = measure_calls();
  const Target target = Target::host();
  machine_ = {cpu_name(),
              measure_fma_peak(DType::f32),
              measure_fma_peak(DType::f64),
              measure_bandwidth(Traffic::read, target.l1_bytes / 2),
              measure_bandwidth(Traffic::read, target.l2_bytes / 2),
              measure_bandwidth(Traffic::read, 256 << 20),
              measure_bandwidth(Traffic::copy, 512 << 20)};
}

void Report::print_head() const {
  fmt::print("{}   {} thread{}\n", machine_.cpu, settings_.threads,
             settings_.threads == 1 ? "" : "s");
  fmt::print(
      "FMA peak {:.1f} (f32) {:.1f} (f64) GFLOP/s   read L1 {:.0f}, L2 {:.0f}, memory {:.1f} GB/s  "
      " copy {:.1f} GB/s\n",
      machine_.peak_f32, machine_.peak_f64, machine_.read_l1, machine_.read_l2, machine_.read_dram,
      machine_.copy_dram);
  for (const auto& peer : peers_.peers)
    fmt::print("{:<9} {}   kernel {}\n", peer->name, peer->version, peer->kernel);
  if (numpy_)
    fmt::print("{:<9} {}   einsum, the better of plain and optimize=True\n", "numpy",
               numpy_->version());
  for (const std::string& missing : peers_.missing) fmt::print("missing   {}\n", missing);
  if (!no_numpy_.empty()) fmt::print("missing   numpy: {}\n", no_numpy_);
  fmt::print(
      "a call, 1x1 by 1x1: raw {:.1f} ns, checked {:.1f} ns, one-shot {:.0f} ns; a plain function "
      "{:.1f} ns\n",
      calls_.raw, calls_.checked, calls_.one_shot, calls_.plain);
  fmt::print("\n{:<8} {:<32} {:>10} {:>9} {:>8} {:<6} {:>6}  {}\n", "suite", "row", "time",
             "GFLOP/s", "GB/s", "of", "limit", "best peer, ratio; others");
  std::fflush(stdout);
}

void Report::add(RowResult r) {
  std::string others;
  const PeerTime* best = r.best_peer();
  if (best) others = fmt::format("{} {:.2f}x ({})", best->name, ratio(r), best->how);
  for (const PeerTime& peer : r.peers)
    if (&peer != best) others += fmt::format("; {} {:.2f}x", peer.name, peer.seconds / r.seconds);
  if (r.copy_seconds > 0)
    others += fmt::format("; {:.0f}% of memcpy", r.copy_seconds / r.seconds * 100);
  fmt::print("{:<8} {:<32} {:>10} {:>9.1f} {:>8.1f} {:<6} {:>5.0f}%  {}\n", r.row.suite, r.row.name,
             time_text(r.seconds), r.flops / r.seconds * 1e-9, r.bytes / r.seconds * 1e-9, r.level,
             fraction(r) * 100, others);
  std::fflush(stdout);
  results_.push_back(std::move(r));
}

void Report::print_summary() const {
  struct Sum {
    double log_fraction = 0, log_ratio = 0, worst_fraction = HUGE_VAL, worst_ratio = HUGE_VAL;
    int rows = 0, with_peer = 0;
    std::vector<double> seconds;
  };
  std::map<std::string, Sum> suites;
  for (const RowResult& r : results_) {
    std::string name = r.row.suite + " " + name_of(r.row.dtype);
    if (is_compiled_only(r.row.suite)) name += r.units_compiled > 0 ? " with LLVM" : " without";
    Sum& s = suites[name];
    ++s.rows;
    s.seconds.push_back(r.seconds);
    if (fraction(r) > 0) {
      s.log_fraction += std::log(fraction(r));
      s.worst_fraction = std::min(s.worst_fraction, fraction(r));
    }
    if (ratio(r) > 0) {
      ++s.with_peer;
      s.log_ratio += std::log(ratio(r));
      s.worst_ratio = std::min(s.worst_ratio, ratio(r));
    }
  }
  fmt::print("\n");
  for (auto& [name, s] : suites) {
    std::ranges::sort(s.seconds);
    if (is_compiled_only(name.substr(0, name.find(' ')))) {
      fmt::print("{:<26} {} rows: median {}, 95th percentile {}, worst {}\n", name, s.rows,
                 time_text(s.seconds[s.seconds.size() / 2]),
                 time_text(s.seconds[s.seconds.size() * 95 / 100]), time_text(s.seconds.back()));
      continue;
    }
    fmt::print("{:<12} {} rows: {:.0f}% of the limit in geometric mean, worst {:.0f}%", name,
               s.rows, std::exp(s.log_fraction / s.rows) * 100, s.worst_fraction * 100);
    if (s.with_peer)
      fmt::print("; {:.2f}x the best peer, worst {:.2f}x", std::exp(s.log_ratio / s.with_peer),
                 s.worst_ratio);
    fmt::print("\n");
  }
}

std::string Report::json() const {
  nlohmann::ordered_json out;
  out["cpu"] = machine_.cpu;
  out["threads"] = settings_.threads;
  out["peaks_gflops"] = {{"f32", machine_.peak_f32}, {"f64", machine_.peak_f64}};
  out["bandwidths_gbs"] = {{"read_l1", machine_.read_l1},
                           {"read_l2", machine_.read_l2},
                           {"read_memory", machine_.read_dram},
                           {"copy_memory", machine_.copy_dram}};
  out["peers"] = nlohmann::ordered_json::array();
  for (const auto& peer : peers_.peers)
    out["peers"].push_back(
        {{"name", peer->name}, {"version", peer->version}, {"kernel", peer->kernel}});
  if (numpy_)
    out["peers"].push_back(
        {{"name", "numpy"}, {"version", numpy_->version()}, {"kernel", "einsum"}});
  out["call_ns"] = {{"raw", calls_.raw},
                    {"checked", calls_.checked},
                    {"one_shot", calls_.one_shot},
                    {"plain", calls_.plain}};
  out["missing"] = peers_.missing;
  out["rows"] = nlohmann::ordered_json::array();
  for (const RowResult& r : results_) {
    nlohmann::ordered_json row{{"suite", r.row.suite},
                               {"name", r.row.name},
                               {"expr", r.row.expression},
                               {"shapes", shapes_of(r.row)},
                               {"dtype", name_of(r.row.dtype)},
                               {"threads", r.threads},
                               {"time_ns", r.seconds * 1e9},
                               {"gflops", r.flops / r.seconds * 1e-9},
                               {"gbs", r.bytes / r.seconds * 1e-9},
                               {"level", r.level},
                               {"limit_fraction", fraction(r)},
                               {"units_compiled", r.units_compiled}};
    row["best_peer"] = r.best_peer() ? nlohmann::ordered_json(r.best_peer()->name) : nullptr;
    row["ratio_to_best_peer"] = r.best_peer() ? nlohmann::ordered_json(ratio(r)) : nullptr;
    if (r.copy_seconds > 0) row["memcpy_fraction"] = r.copy_seconds / r.seconds;
    for (const PeerTime& peer : r.peers)
      row["peers"][peer.name] = {{"time_ns", peer.seconds * 1e9}, {"how", peer.how}};
    out["rows"].push_back(std::move(row));
  }
  return out.dump(1) + "\n";
}

}  // namespace einjit_bench
