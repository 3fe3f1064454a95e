#include "unit_compiler.hpp"

#include <llvm/ExecutionEngine/JITLink/JITLink.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Verifier.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "emit_unit.hpp"
#include "object_compiler.hpp"

namespace einjit {
namespace {

template <class T>
T check(llvm::Expected<T> value) {
  if (!value) throw std::runtime_error("JIT: " + llvm::toString(value.takeError()));
  return std::forward<T>(*value);
}
void check(llvm::Error error) {
  if (error) throw std::runtime_error("JIT: " + llvm::toString(std::move(error)));
}

std::string object_of(const Unit& unit, const Target& target, ObjectCompiler& compiler,
                      const std::string& symbol) {
  llvm::LLVMContext context;
  auto module = emit_unit(context, unit, target, symbol);
#ifndef NDEBUG
  if (llvm::verifyModule(*module, &llvm::errs()))
    throw std::logic_error("emitted IR is broken for unit " + unit.key());
#endif
  return compiler.compile(*module);
}

// Links objects with ORC; JITLink maps code writable first and executable after, never both.
class Linker {
 public:
  explicit Linker(const Target& target) {
    llvm::orc::LLJITBuilder builder;
    auto machine = make_target_machine(target);
    builder.setJITTargetMachineBuilder(
        llvm::orc::JITTargetMachineBuilder(machine->getTargetTriple()));
    builder.setObjectLinkingLayerCreator(
        [](llvm::orc::ExecutionSession& session, const llvm::Triple&) {
          return std::make_unique<llvm::orc::ObjectLinkingLayer>(session);
        });
    jit_ = check(builder.create());
  }

  // Each object has a library of its own, since their symbols are all called the same.
  llvm::orc::JITDylib& new_library() {
    return check(jit_->createJITDylib("unit" + std::to_string(next_++)));
  }
  void remove(llvm::orc::JITDylib& library) {
    llvm::consumeError(jit_->getExecutionSession().removeJITDylib(library));
  }

  UnitFunction link(llvm::orc::JITDylib& library, const std::string& object) {
    check(jit_->addObjectFile(library, llvm::MemoryBuffer::getMemBufferCopy(object, "")));
    return check(jit_->lookup(library, kUnitSymbol)).toPtr<UnitFunction>();
  }

 private:
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  std::atomic<std::uint64_t> next_ = 0;
};

class JitUnit final : public CompiledUnit {
 public:
  JitUnit(std::shared_ptr<Linker> linker, std::shared_ptr<std::atomic<std::int64_t>> alive,
          const std::string& object)
      : linker_(std::move(linker)), alive_(std::move(alive)), library_(linker_->new_library()) {
    try {
      run = linker_->link(library_, object);
    } catch (...) {
      linker_->remove(library_);
      throw;
    }
    code_bytes = static_cast<std::int64_t>(object.size());
    *alive_ += code_bytes;
  }
  ~JitUnit() override {
    *alive_ -= code_bytes;
    linker_->remove(library_);
  }

 private:
  std::shared_ptr<Linker> linker_;
  std::shared_ptr<std::atomic<std::int64_t>> alive_;
  llvm::orc::JITDylib& library_;
};

class JitUnitCompiler final : public UnitCompiler {
 public:
  JitUnitCompiler(const Target& target, std::unique_ptr<const ObjectCache> cache)
      : target_(target),
        cache_(std::move(cache)),
        linker_(std::make_shared<Linker>(target)),
        alive_(std::make_shared<std::atomic<std::int64_t>>(0)) {}

  std::shared_ptr<const CompiledUnit> get(const Unit& unit) override {
    const std::string key = unit.key();
    std::promise<Made> promise;
    std::shared_future<Made> waiting;
    {
      std::lock_guard lock(mutex_);
      Entry& entry = units_[key];
      if (auto made = entry.made.lock()) {
        ++statistics_.found;
        return made;
      }
      if (entry.pending.valid())
        waiting = entry.pending;
      else
        entry.pending = promise.get_future().share();
    }
    if (waiting.valid()) return waiting.get();
    return compile(unit, key, promise);
  }

  UnitStatistics statistics() const override {
    std::lock_guard lock(mutex_);
    UnitStatistics statistics = statistics_;
    statistics.code_bytes = *alive_;
    return statistics;
  }

 private:
  using Made = std::shared_ptr<const CompiledUnit>;
  // A unit lives as long as a kernel uses it; the entry then stays as a few bytes until swept.
  struct Entry {
    std::weak_ptr<const CompiledUnit> made;
    std::shared_future<Made> pending;
  };

  Made compile(const Unit& unit, const std::string& key, std::promise<Made>& promise) {
    const auto start = std::chrono::steady_clock::now();
    try {
      Made made = load(key);
      const bool was_on_disk = made != nullptr;
      if (!made) {
        auto compiler = take_compiler();
        const std::string object = object_of(unit, target_, *compiler, kUnitSymbol);
        give_back(std::move(compiler));
        made = std::make_shared<JitUnit>(linker_, alive_, object);
        if (cache_) cache_->store(key, object);
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      std::lock_guard lock(mutex_);
      ++(was_on_disk ? statistics_.loaded : statistics_.compiled);
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

  // From disk; null if it is not there or does not link.
  Made load(const std::string& key) {
    const std::optional<std::string> object = cache_ ? cache_->load(key) : std::nullopt;
    if (!object) return nullptr;
    try {
      return std::make_shared<JitUnit>(linker_, alive_, *object);
    } catch (const std::runtime_error&) {
      return nullptr;
    }
  }

  // Forgets dead entries each time their number may have doubled.
  void sweep() {
    if (units_.size() < sweep_at_) return;
    std::erase_if(units_, [](const auto& item) {
      return item.second.made.expired() && !item.second.pending.valid();
    });
    sweep_at_ = std::max<std::size_t>(1024, 2 * units_.size());
  }

  std::unique_ptr<ObjectCompiler> take_compiler() {
    {
      std::lock_guard lock(mutex_);
      if (!compilers_.empty()) {
        auto compiler = std::move(compilers_.back());
        compilers_.pop_back();
        return compiler;
      }
    }
    return std::make_unique<ObjectCompiler>(target_, ObjectCompiler::Output::object);
  }
  void give_back(std::unique_ptr<ObjectCompiler> compiler) {
    std::lock_guard lock(mutex_);
    compilers_.push_back(std::move(compiler));
  }

  const Target target_;
  std::unique_ptr<const ObjectCache> cache_;
  std::shared_ptr<Linker> linker_;
  std::shared_ptr<std::atomic<std::int64_t>> alive_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> units_;
  std::vector<std::unique_ptr<ObjectCompiler>> compilers_;  // idle ones
  UnitStatistics statistics_;
  std::size_t sweep_at_ = 1024;
};

}  // namespace

std::unique_ptr<UnitCompiler> make_unit_compiler(const Target& target,
                                                 std::unique_ptr<const ObjectCache> cache) {
  return std::make_unique<JitUnitCompiler>(target, std::move(cache));
}

std::string unit_identity(const Target& target) {
  return std::string("einjit ") + EINJIT_BUILD_ID + " LLVM " + LLVM_VERSION_STRING + " " +
         describe_machine(target) + " " + target.to_string();
}

std::string llvm_text(const Unit& unit, const Target& target) {
  llvm::LLVMContext context;
  std::string text;
  llvm::raw_string_ostream stream(text);
  emit_unit(context, unit, target, kUnitSymbol)->print(stream, nullptr);
  return text;
}

std::string assembly_text(const Unit& unit, const Target& target) {
  ObjectCompiler compiler(target, ObjectCompiler::Output::assembly);
  return object_of(unit, target, compiler, kUnitSymbol);
}

}  // namespace einjit
