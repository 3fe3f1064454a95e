// The limit of a row: what no program can beat on this machine, now.
#pragma once

#include <cstdint>
#include <functional>

namespace einjit_bench {

// A plain loop that reads `read` bytes and writes `written` bytes, with that footprint; it uses
// non-temporal stores where the footprint is larger than `cache` bytes.
std::function<void()> streaming_loop(std::int64_t read, std::int64_t written, std::int64_t cache);

// A prefetching loop that sums `count` elements `stride` bytes apart, eight sums side by side.
std::function<void()> strided_loop(std::int64_t count, std::int64_t stride);

}  // namespace einjit_bench
