// Measures one row: einjit, its limit and every peer in one interleaved run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "einjit/einjit.hpp"
#include "numpy_peer.hpp"
#include "peers/peers.hpp"
#include "row.hpp"

namespace einjit_bench {

struct PeerTime {
  std::string name, how;
  double seconds;
};

struct RowResult {
  Row row;
  int threads;
  double seconds, flops, bytes;
  const char* level;     // that the arrays come from: L1, L2, L3 or memory
  double peak_gflops;    // measured in this row's run
  double limit_seconds;  // max of flops at the peak and the streaming loop's time
  std::vector<PeerTime> peers;
  double copy_seconds = 0;          // of memcpy, for rows that only move elements about
  std::int64_t units_compiled = 0;  // of a cold compile: units that went through LLVM
  const PeerTime* best_peer() const;
};

struct Settings {
  int threads = 1;
  int repetitions = 7;
  double seconds = 0.02;  // of one repetition
};

RowResult measure_row(const Row& row, const PeerSet& peers, NumpyPeer* numpy,
                      const Settings& settings);

// The cold compile of a row: median over fresh engines.
RowResult measure_compile(const Row& row);

}  // namespace einjit_bench
