#include "limit.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace einjit_bench {
namespace {

constexpr std::int64_t kLine = 64;

std::shared_ptr<char> touched(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>((bytes + 4095) / 4096 * 4096 + 4096);
  std::shared_ptr<char> memory(static_cast<char*>(std::aligned_alloc(4096, size)), std::free);
  std::memset(memory.get(), 1, size);
  return memory;
}

#if defined(__x86_64__)
[[gnu::target("avx512f")]] inline __m512i read_lines(const char*& from, std::int64_t lines,
                                                     __m512i sum) {
  __m512i a = sum, b = sum, c = sum, d = sum;
  std::int64_t i = 0;
  for (; i + 4 <= lines; i += 4, from += 4 * kLine) {
    a = _mm512_or_si512(a, _mm512_load_si512(from));
    b = _mm512_or_si512(b, _mm512_load_si512(from + kLine));
    c = _mm512_or_si512(c, _mm512_load_si512(from + 2 * kLine));
    d = _mm512_or_si512(d, _mm512_load_si512(from + 3 * kLine));
  }
  for (; i < lines; ++i, from += kLine) a = _mm512_or_si512(a, _mm512_load_si512(from));
  return _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
}

template <bool kNonTemporal>
[[gnu::target("avx512f")]] inline void write_lines(char*& to, std::int64_t lines, __m512i value) {
  for (std::int64_t i = 0; i < lines; ++i, to += kLine) {
    if (kNonTemporal)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to), value);
    else
      _mm512_store_si512(to, value);
  }
}

// Turns of up to 32 lines read, then written, in proportion to the whole.
template <bool kNonTemporal>
[[gnu::target("avx512f")]] void stream(const char* from, std::int64_t read, char* to,
                                       std::int64_t written) {
  constexpr std::int64_t kTurn = 32;
  std::int64_t read_left = (read + kLine - 1) / kLine, write_left = (written + kLine - 1) / kLine;
  const std::int64_t turns = std::max(read_left, write_left) / kTurn;
  // Not zero: some memories store lines of zeros faster than others.
  __m512i sum = _mm512_set1_epi32(0x3f801234);
  if (turns > 0) {
    const std::int64_t reads = read_left / turns, writes = write_left / turns;
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      sum = read_lines(from, reads, sum);
      write_lines<kNonTemporal>(to, writes, sum);
    }
    read_left -= turns * reads;
    write_left -= turns * writes;
  }
  sum = read_lines(from, read_left, sum);
  write_lines<kNonTemporal>(to, write_left, sum);
  if (kNonTemporal) _mm_sfence();
  asm volatile("" : : "v"(sum) : "memory");
}
#endif

void stream_words(const char* from, std::int64_t read, char* to, std::int64_t written) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i + 8 <= read; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, from + i, 8);
    sum |= word;
  }
  std::memset(to, static_cast<int>(sum), static_cast<std::size_t>(written));
  asm volatile("" : : "r"(to) : "memory");
}

}  // namespace

std::function<void()> streaming_loop(std::int64_t read, std::int64_t written, std::int64_t cache) {
  auto from = touched(read), to = touched(written);
  const bool non_temporal = read + written > cache;
  return [=] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
      if (non_temporal)
        stream<true>(from.get(), read, to.get(), written);
      else
        stream<false>(from.get(), read, to.get(), written);
      return;
    }
#endif
    stream_words(from.get(), read, to.get(), written);
  };
}

std::function<void()> strided_loop(std::int64_t count, std::int64_t stride) {
  constexpr std::int64_t kChains = 8, kAhead = 16;
  auto from = touched(count * stride);
  return [=] {
    float sums[kChains] = {};
    for (std::int64_t i = 0; i + kChains <= count; i += kChains)
      for (std::int64_t c = 0; c < kChains; ++c) {
        const char* at = from.get() + (i + c) * stride;
        __builtin_prefetch(at + std::min(kAhead, count - 1 - i - c) * stride);
        sums[c] += *reinterpret_cast<const float*>(at);
      }
    asm volatile("" : : "r"(sums) : "memory");
  };
}

}  // namespace einjit_bench
