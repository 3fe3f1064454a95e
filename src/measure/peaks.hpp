// What this machine can do, measured here and now: the limits that figures are compared with.
#pragma once

#include <cstdint>

#include "einjit/layout.hpp"

namespace einjit {

// Multiply-adds count as two operations. The best of several short runs on the calling thread.
double measure_fma_peak(DType type);  // GFLOP/s

// Bandwidths over a footprint of `bytes` in all, walked again and again; GB/s.
enum class Traffic : std::uint8_t { read, copy };  // copy counts bytes read and bytes written
double measure_bandwidth(Traffic traffic, std::int64_t bytes);

// Median seconds of one call of `run`, which is called in batches until `seconds` have passed.
double median_seconds(const auto& run, double seconds = 0.1);

}  // namespace einjit

#include "measure/median.hpp"
