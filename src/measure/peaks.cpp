#include "measure/peaks.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace einjit {
namespace {

constexpr int kChains = 12;  // enough to hide any FMA's latency
constexpr int kSteps = 20000;

// One loop of independent multiply-adds for a vector type; the operation count is returned. The
// chains are single variables: in an array GCC would keep them in memory.
template <class V>
[[gnu::always_inline]] inline double fma_loop(V x) {
  V a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
  const V y = x * 0.5f;
  for (int s = 0; s < kSteps; ++s) {
    a = a * y + x, b = b * y + x, c = c * y + x, d = d * y + x, e = e * y + x, f = f * y + x;
    g = g * y + x, h = h * y + x, i = i * y + x, j = j * y + x, k = k * y + x, l = l * y + x;
    asm volatile(""
                 : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i),
                   "+v"(j), "+v"(k), "+v"(l));
  }
  return 2.0 * kSteps * kChains * sizeof(V);
}

template <class T, int kBytes>
using Vector [[gnu::vector_size(kBytes)]] = T;

// Bytes of lanes worked on, for the widest vectors this machine has.
#if defined(__x86_64__)
template <class T>
[[gnu::target("avx512f,fma")]] double run_512() {
  Vector<T, 64> seed = {};
  return fma_loop(seed + T(1));
}
template <class T>
[[gnu::target("avx2,fma")]] double run_256() {
  Vector<T, 32> seed = {};
  return fma_loop(seed + T(1));
}
#endif
template <class T>
double run_128() {
  Vector<T, 16> seed = {};
  return fma_loop(seed + T(1));
}

template <class T>
double fma_gflops() {
  double (*run)() = run_128<T>;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) run = run_256<T>;
  if (__builtin_cpu_supports("avx512f")) run = run_512<T>;
#endif
  const double operations = run() / sizeof(T);
  return operations / median_seconds([&] { run(); }, 0.05) * 1e-9;
}

#if defined(__x86_64__)
[[gnu::target("avx512f")]] void read_512(const char* from, std::int64_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (std::int64_t i = 0; i + 256 <= bytes; i += 256) {
    a = _mm512_or_si512(a, _mm512_load_si512(from + i));
    b = _mm512_or_si512(b, _mm512_load_si512(from + i + 64));
    c = _mm512_or_si512(c, _mm512_load_si512(from + i + 128));
    d = _mm512_or_si512(d, _mm512_load_si512(from + i + 192));
  }
  a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
  asm volatile("" : : "v"(a));
}
#endif

void read_words(const char* from, std::int64_t bytes) {
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  for (std::int64_t i = 0; i + 32 <= bytes; i += 32) {
    std::uint64_t w[4];
    std::memcpy(w, from + i, 32);
    a |= w[0], b |= w[1], c |= w[2], d |= w[3];
  }
  a |= b | c | d;
  asm volatile("" : : "r"(a));
}

}  // namespace

double measure_fma_peak(DType type) {
  return type == DType::f32 ? fma_gflops<float>() : fma_gflops<double>();
}

double measure_bandwidth(Traffic traffic, std::int64_t bytes) {
  const std::int64_t each = (traffic == Traffic::copy ? bytes / 2 : bytes) / 256 * 256;
  auto make = [&] {
    char* memory = static_cast<char*>(std::aligned_alloc(4096, (each + 4095) / 4096 * 4096));
    if (memory) std::memset(memory, 1, static_cast<std::size_t>(each));
    return std::unique_ptr<char, decltype(&std::free)>(memory, &std::free);
  };
  const auto from = make(), to = make();
  if (!from || !to) return 0;
  auto run = [&] {
    if (traffic == Traffic::copy) {
      std::memcpy(to.get(), from.get(), static_cast<std::size_t>(each));
      asm volatile("" : : "r"(to.get()) : "memory");
      return;
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return read_512(from.get(), each);
#endif
    read_words(from.get(), each);
  };
  const double moved = static_cast<double>(each) * (traffic == Traffic::copy ? 2 : 1);
  return moved / median_seconds(run, 0.05) * 1e-9;
}

}  // namespace einjit
