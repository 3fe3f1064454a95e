// The code generator as the floors above see it: units in, object files and texts out, nothing of
// LLVM. It is a shared library of its own, opened when something must be compiled.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "unit/unit.hpp"

namespace einjit {

struct KernelSource;  // plan/kernel_source.hpp

// The one function in a unit's object file.
inline constexpr const char* kUnitSymbol = "einjit_unit";

// Thread-safe. All functions throw std::runtime_error if LLVM cannot serve the target.
class Codegen {
 public:
  virtual ~Codegen() = default;
  // A relocatable ELF object.
  virtual std::string object(const Unit& unit) = 0;
  virtual std::string llvm_text(const Unit& unit) const = 0;
  virtual std::string assembly_text(const Unit& unit) const = 0;
  // Units so far that einjit's own instruction selection did not know all of.
  virtual std::int64_t left_to_llvm() const = 0;
  // One object for a whole kernel, whose function is `source.symbol`.
  virtual std::string kernel_object(const KernelSource& source) const = 0;
};

// What the shared library exports. Null if it is of another build: its types may be others.
inline constexpr const char* kOpenCodegen = "einjit_open_codegen";
using OpenCodegen = Codegen* (*)(const Target* target, const char* build_id);

}  // namespace einjit
