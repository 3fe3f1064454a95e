// Kernels compiled ahead of time: an object file and a C header that need neither einjit nor LLVM.
#pragma once

#include <cstdint>
#include <string>

#include "einjit/engine.hpp"

namespace einjit {

struct AheadOfTime {
  std::string name;    // of the function
  std::string object;  // a relocatable ELF object's bytes
  std::string header;  // the C header's text
  std::int64_t scratch_bytes = 0;
};

// A function `name` for operands of these layouts, on one thread, for any target; floating-point
// FMA instructions or else libm are all it needs. Errors: as of Engine::try_compile, and names
// that C does not have.
Result<AheadOfTime> try_compile_ahead_of_time(std::string_view expression,
                                              std::span<const Layout> inputs,
                                              const std::string& name,
                                              const Target& target = Target::host(),
                                              const CompileOptions& options = {});

}  // namespace einjit
