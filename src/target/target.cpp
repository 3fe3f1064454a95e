#include "einjit/target.hpp"

#include <fmt/format.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace einjit {
namespace {

constexpr std::int64_t kMostOfMesh = 32 << 20;  // that others leave
constexpr std::int64_t kL2OfServers = 1 << 20;  // Intel's with AVX-512: others have a ring and less
constexpr std::int64_t kL2OfGoldenCove = 2 << 20;  // and of those after it

// A cache size in bytes as the kernel tells it ("1024K"), or the fallback.
std::int64_t cache_bytes(int index, std::int64_t fallback) {
  std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", index));
  std::int64_t size = 0;
  char unit = 0;
  if (!(file >> size)) return fallback;
  file >> unit;
  return size * (unit == 'M' ? 1 << 20 : unit == 'K' ? 1 << 10 : 1);
}

#if defined(__x86_64__)
// The display family of cpuid leaf 1: base and extended family (AMD APM 3, appendix E).
unsigned amd_family() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  return ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff);
}
#endif

}  // namespace

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::x86_64_v2:
      return "x86-64-v2";
    case Isa::x86_64_v3:
      return "x86-64-v3";
    case Isa::x86_64_v4:
      return "x86-64-v4";
    case Isa::aarch64:
      return "aarch64";
  }
  return "?";
}

Target Target::generic(Isa isa) {
  Target target;
  target.isa = isa;
  switch (isa) {
    case Isa::x86_64_v2:
    case Isa::aarch64:
      target.vector_bytes = 16;
      target.vector_registers = isa == Isa::aarch64 ? 32 : 16;
      break;
    case Isa::x86_64_v3:
      break;
    case Isa::x86_64_v4:
      target.vector_bytes = 64;
      target.vector_registers = 32;
      target.l2_bytes = 1 << 20;
      break;
  }
  return target;
}

Target Target::host() {
  Isa isa = Isa::x86_64_v2;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  isa = v4 ? Isa::x86_64_v4 : v3 ? Isa::x86_64_v3 : Isa::x86_64_v2;
#elif defined(__aarch64__)
  isa = Isa::aarch64;
#endif
  Target target = generic(isa);
#if defined(__x86_64__)
  // AMD before Zen 5 (family 0x1a) runs a 512-bit operation as two halves: one FMA and one load a
  // cycle.
  if (v4 && __builtin_cpu_is("amd") && amd_family() < 0x1a) {
    target.fma_per_cycle = target.loads_per_cycle = 1;
    target.datapath_bytes = 32;
  }
  if (__builtin_cpu_is("amd")) target.cycles_per_ns = 3.6;
#endif
  target.l1_bytes = cache_bytes(0, target.l1_bytes);
  target.l2_bytes = cache_bytes(2, target.l2_bytes);
  target.l3_bytes = cache_bytes(3, target.l3_bytes);
#if defined(__x86_64__)
  if (v4 && __builtin_cpu_is("intel") && target.l2_bytes >= kL2OfServers) target.describe_mesh();
#endif
  return target;
}

// A line from the mesh's slices takes nearly as long as one from memory (measured on Emerald
// Rapids: 26 GB/s against 13 read, 26 against 20 to 25 copied), which is what schedules care for.
// Streams and TLB: Intel 64 and IA-32 Architectures Optimization Reference Manual, "Data
// Prefetching" and the microarchitectures' tables.
void Target::describe_mesh() {
  l3_bytes = std::min(l3_bytes, kMostOfMesh);
  has_near_l3 = false;
  page_streams = 32;
  tlb_pages = l2_bytes >= kL2OfGoldenCove ? 2048 : 1536;
}

std::string Target::to_string() const {
  return fmt::format(
      "{} vector {}x{}/{} fma {}/{} loads {} l1 {} l2 {} l3 {}{} "
      "streams {} tlb {}",
      name_of(isa), vector_registers, vector_bytes, datapath_bytes, fma_per_cycle, fma_latency,
      loads_per_cycle, l1_bytes, l2_bytes, l3_bytes, has_near_l3 ? "" : " far", page_streams,
      tlb_pages);
}

}  // namespace einjit
