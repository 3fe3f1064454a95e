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
// Lines read and written in proportion, a few streams at a time.
template <bool kNonTemporal>
[[gnu::target("avx512f")]] void stream(const char* from, std::int64_t read, char* to, std::int64_t written) {
  __m512i sum = _mm512_setzero_si512(), sum2 = sum;
  const std::int64_t rounds = std::max(read, written) / (4 * kLine) + 1;
  std::int64_t r = 0, w = 0;
  for (std::int64_t round = 1; round <= rounds; ++round) {
    const std::int64_t read_to = read / kLine * round / rounds, write_to = written / kLine * round / rounds;
    for (; r + 1 < read_to; r += 2) {
      sum = _mm512_or_si512(sum, _mm512_load_si512(from + r * kLine));
      sum2 = _mm512_or_si512(sum2, _mm512_load_si512(from + r * kLine + kLine));
    }
    for (; r < read_to; ++r) sum = _mm512_or_si512(sum, _mm512_load_si512(from + r * kLine));
    for (; w < write_to; ++w) {
      if (kNonTemporal)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + w * kLine), sum2);
      else
        _mm512_store_si512(to + w * kLine, sum2);
    }
  }
  if (kNonTemporal) _mm_sfence();
  sum = _mm512_or_si512(sum, sum2);
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

}  // namespace einjit_bench
