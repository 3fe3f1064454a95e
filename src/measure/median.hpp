// Implementation of median_seconds (measure/peaks.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace einjit {

double median_seconds(const auto& run, double seconds) {
  using Clock = std::chrono::steady_clock;
  auto timed = [&](std::int64_t count) {
    const auto start = Clock::now();
    for (std::int64_t i = 0; i < count; ++i) run();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  run();
  // Batches of about a millisecond, so that reading the clock does not count.
  std::int64_t batch = 1;
  while (timed(batch) < 2e-4 && batch < (std::int64_t{1} << 30)) batch *= 2;
  std::vector<double> samples;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do samples.push_back(timed(batch) / static_cast<double>(batch));
  while (samples.size() < 5 || Clock::now() < end);
  std::ranges::nth_element(samples, samples.begin() + static_cast<long>(samples.size() / 2));
  return samples[samples.size() / 2];
}

}  // namespace einjit
