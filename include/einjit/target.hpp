// A described machine: everything the scheduler and the code generator may depend on.
//
// The scheduler never looks at the host, only at a Target, so that schedules of any machine can be
// printed and tested anywhere.
#pragma once

#include <cstdint>
#include <string>

#include "einjit/layout.hpp"

namespace einjit {

// Instruction sets by their level; each level's features are in codegen/target_machine.cpp.
enum class Isa : std::uint8_t { x86_64_v2, x86_64_v3, x86_64_v4, aarch64 };

const char* name_of(Isa isa);

struct Target {
  Isa isa = Isa::x86_64_v3;
  int vector_bytes = 32;       // of one vector register
  int vector_registers = 16;   // architectural vector registers
  int fma_latency = 4;         // cycles
  int datapath_bytes = 0;      // of one operation; wider vectors take two; 0: vector_bytes
  double fma_per_cycle = 2;    // full-width FMA instructions a cycle
  double loads_per_cycle = 2;  // full-width vector loads a cycle
  double cycles_per_ns = 3.0;  // nominal clock, for predicted times only
  std::int64_t l1_bytes = 32 << 10;
  std::int64_t l2_bytes = 512 << 10;
  std::int64_t l3_bytes = 8 << 20;  // share of one core
  bool has_near_l3 = true;          // much nearer than memory
  std::int64_t line_bytes = 64;
  double dram_bytes_per_cycle = 6.5;  // one core, streaming
  // Pages whose lines are prefetched at the same time, one stream in each, and pages whose
  // addresses are kept at hand, where schedules should care. 0: they need not.
  std::int64_t page_streams = 0;
  std::int64_t tlb_pages = 0;

  // Of the caches whose lines come much faster than memory's.
  std::int64_t fast_cache_bytes() const { return has_near_l3 ? l3_bytes : 2 * l2_bytes; }
  int lanes(DType type) const { return static_cast<int>(vector_bytes / size_of(type)); }
  bool operator==(const Target&) const = default;

  // This machine: ISA from cpuid, caches from the operating system.
  static Target host();
  // Fixed targets by name ("x86-64-v3", "x86-64-v4", ...), for tests and goldens.
  static Target generic(Isa isa);
  // The memory of Intel's servers since Skylake, whose last level is a mesh all cores share.
  void describe_mesh();
  // One line; equal texts mean equal targets. Part of every cache key.
  std::string to_string() const;
};

}  // namespace einjit
