#include "load/unit_library.hpp"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "load/object_loader.hpp"
#include "load/open_codegen.hpp"

namespace einjit {
namespace {

// Code alive, shared by the library and whoever outlives it.
struct Code {
  CodeMemory memory;
  std::atomic<std::int64_t> bytes = 0;
};

class LoadedUnit final : public CompiledUnit {
 public:
  LoadedUnit(std::shared_ptr<Code> code, std::string_view object)
      : code_(std::move(code)), loaded_(load_object(object, kUnitSymbol, code_->memory)) {
    run = reinterpret_cast<UnitFunction>(loaded_.entry);
    code_bytes = static_cast<std::int64_t>(loaded_.block.size);
    code_->bytes += code_bytes;
  }
  ~LoadedUnit() override {
    code_->bytes -= code_bytes;
    code_->memory.free(loaded_.block);
  }

 private:
  std::shared_ptr<Code> code_;
  LoadedObject loaded_;
};

// Code that is part of the program.
class PrebuiltUnit final : public CompiledUnit {
 public:
  explicit PrebuiltUnit(UnitFunction function) { run = function; }
};

class Library final : public UnitLibrary {
 public:
  using Made = std::shared_ptr<const CompiledUnit>;

  Library(const Target& target, OpenCache open_cache, const PrebuiltUnits& prebuilt)
      : target_(target),
        open_cache_(std::move(open_cache)),
        prebuilt_(prebuilt),
        code_(std::make_shared<Code>()) {}

  Made find(const std::string& key) override {
    std::lock_guard lock(mutex_);
    Entry& entry = units_[key];
    Made made = entry.made.lock();
    if (made) {
      ++statistics_.found;
    } else if (const UnitFunction function = prebuilt_.find(key)) {
      entry.made = made = std::make_shared<PrebuiltUnit>(function);
      ++statistics_.prebuilt;
      sweep();
    }
    return made;
  }
  Made get(const Unit& unit, const std::string& key) override { return get(unit, key, true); }
  Made get_ready(const Unit& unit, const std::string& key) override {
    return get(unit, key, false);
  }
  void open_codegen() override { einjit::open_codegen(target_); }

  Made get(const Unit& unit, const std::string& key, bool may_compile) {
    if (Made made = find(key)) return made;
    std::promise<Made> promise;
    std::shared_future<Made> waiting;
    {
      std::lock_guard lock(mutex_);
      Entry& entry = units_[key];
      if (Made made = entry.made.lock()) return made;  // made since
      if (entry.pending.valid())
        waiting = entry.pending;
      else
        entry.pending = promise.get_future().share();
    }
    if (waiting.valid()) {
      try {
        return waiting.get();
      } catch (const NeedsCodegen&) {
        // Whoever was first would not compile it.
        if (!may_compile) throw;
        return get(unit, key, true);
      }
    }
    return make(unit, key, may_compile, promise);
  }

  UnitStatistics statistics() const override {
    std::lock_guard lock(mutex_);
    UnitStatistics statistics = statistics_;
    statistics.code_bytes = code_->bytes;
    return statistics;
  }

 private:
  // A unit lives as long as a kernel uses it; the entry then stays as a few bytes until swept.
  struct Entry {
    std::weak_ptr<const CompiledUnit> made;
    std::shared_future<Made> pending;
  };

  Made make(const Unit& unit, const std::string& key, bool may_compile,
            std::promise<Made>& promise) {
    const auto start = std::chrono::steady_clock::now();
    try {
      std::int64_t UnitStatistics::*count = &UnitStatistics::compiled;
      Made made;
      if ((made = load(key))) {
        count = &UnitStatistics::loaded;
      } else if (!may_compile) {
        throw NeedsCodegen(key);
      } else {
        const std::string object = einjit::open_codegen(target_).object(unit);
        made = std::make_shared<LoadedUnit>(code_, object);
        if (const ObjectCache* objects = cache()) objects->store(key, object);
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      std::lock_guard lock(mutex_);
      ++(statistics_.*count);
      statistics_.compile_seconds += took.count();
      units_[key] = {made, {}};
      sweep();
      promise.set_value(made);
      return made;
    } catch (...) {
      std::lock_guard lock(mutex_);
      units_.erase(key);
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  // From disk; null if it is not there or does not load.
  Made load(const std::string& key) {
    const ObjectCache* objects = cache();
    const std::optional<std::string> object = objects ? objects->load(key) : std::nullopt;
    if (!object) return nullptr;
    try {
      return std::make_shared<LoadedUnit>(code_, *object);
    } catch (const std::runtime_error&) {
      return nullptr;
    }
  }

  // Looked for when the first unit is not prebuilt.
  const ObjectCache* cache() {
    std::call_once(cache_once_, [&] { cache_ = open_cache_(); });
    return cache_.get();
  }

  // Forgets dead entries each time their number may have doubled.
  void sweep() {
    if (units_.size() < sweep_at_) return;
    std::erase_if(units_, [](const auto& item) {
      return item.second.made.expired() && !item.second.pending.valid();
    });
    sweep_at_ = std::max<std::size_t>(1024, 2 * units_.size());
  }

  const Target target_;
  const OpenCache open_cache_;
  const PrebuiltUnits prebuilt_;
  std::once_flag cache_once_;
  std::unique_ptr<const ObjectCache> cache_;
  std::shared_ptr<Code> code_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> units_;
  UnitStatistics statistics_;
  std::size_t sweep_at_ = 1024;
};

}  // namespace

std::unique_ptr<UnitLibrary> make_unit_library(const Target& target, OpenCache open_cache,
                                               const PrebuiltUnits& prebuilt) {
  return std::make_unique<Library>(target, std::move(open_cache), prebuilt);
}

std::string unit_identity(const Target& target) {
  return fmt::format("einjit {} LLVM {} {} vector {}", EINJIT_BUILD_ID, EINJIT_LLVM_VERSION,
                     name_of(target.isa), target.vector_bytes);
}

}  // namespace einjit
