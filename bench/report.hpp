// The table of a benchmark run, its summary per suite and its JSON.
#pragma once

#include <string>
#include <vector>

#include "calls.hpp"
#include "measure_row.hpp"

namespace einjit_bench {

class Report {
 public:
  Report(const PeerSet& peers, const NumpyPeer* numpy, std::string no_numpy,
         const Settings& settings);
  // CPU, peaks, bandwidths, each peer's version and kernel, what is missing.
  void print_head() const;
  void add(RowResult result);  // prints its line
  // Geometric means and the worst of each suite.
  void print_summary() const;
  std::string json() const;

 private:
  struct Machine {
    std::string cpu;
    double peak_f32, peak_f64, read_l1, read_l2, read_dram, copy_dram;
  };
  const PeerSet& peers_;
  const NumpyPeer* numpy_;
  std::string no_numpy_;
  Settings settings_;
  Machine machine_;
  CallCosts calls_;
  std::vector<RowResult> results_;
};

}  // namespace einjit_bench
