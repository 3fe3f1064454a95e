// Floor 6: where units get their code from: memory, what was prebuilt, the disk, or the code
// generator, in that order.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "load/prebuilt.hpp"
#include "store/object_cache.hpp"
#include "unit/codegen.hpp"

namespace einjit {

struct UnitStatistics {
  std::int64_t compiled = 0;    // units that went through LLVM
  std::int64_t prebuilt = 0;    // units that were compiled with the program
  std::int64_t loaded = 0;      // units whose objects were on disk
  std::int64_t found = 0;       // units that were there already
  std::int64_t code_bytes = 0;  // machine code alive
  double compile_seconds = 0;
};

// What a unit would need that must not be waited for.
struct NeedsCodegen : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class UnitLibrary : public UnitProvider {
 public:
  // As get(), but throws NeedsCodegen instead of compiling.
  virtual std::shared_ptr<const CompiledUnit> get_ready(const Unit& unit,
                                                        const std::string& key) = 0;
  // Opens the code generator if that has not happened yet.
  virtual void open_codegen() = 0;
  virtual UnitStatistics statistics() const = 0;
};

// Code lives in memory that is never writable and executable at once, until its last user is gone.
// Equal units compile once: other threads wait for the first. Throws std::runtime_error if LLVM
// cannot serve the target or the system forbids executable memory.
// `open_cache` is called when the first unit is not prebuilt; the cache, if there is one, must have
// been opened with unit_identity(target).
using OpenCache = std::function<std::unique_ptr<const ObjectCache>()>;
std::unique_ptr<UnitLibrary> make_unit_library(const Target& target, OpenCache open_cache,
                                               const PrebuiltUnits& prebuilt = {});

// What a unit's object depends on beside its key: this build's code generator, LLVM, the target.
std::string unit_identity(const Target& target);

}  // namespace einjit
