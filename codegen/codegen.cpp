// The code generator's library: what it exports, and the pool of pipelines behind it.
#include "unit/codegen.hpp"

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Verifier.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "emit_kernel.hpp"
#include "emit_unit.hpp"
#include "object_compiler.hpp"

namespace einjit {
namespace {

class LlvmCodegen final : public Codegen {
 public:
  explicit LlvmCodegen(const Target& target) : target_(target) {}

  std::string object(const Unit& unit) override {
    auto compiler = take_compiler();
    std::string object = compile(unit, *compiler);
    std::lock_guard lock(mutex_);
    compilers_.push_back(std::move(compiler));
    return object;
  }

  std::string llvm_text(const Unit& unit) const override {
    llvm::LLVMContext context;
    std::string text;
    llvm::raw_string_ostream stream(text);
    emit_unit(context, unit, target_, kUnitSymbol)->print(stream, nullptr);
    return text;
  }

  std::string assembly_text(const Unit& unit) const override {
    ObjectCompiler compiler(target_, ObjectCompiler::Output::assembly);
    return compile(unit, compiler);
  }

  std::string kernel_object(const KernelSource& source) const override {
    llvm::LLVMContext context;
    ObjectCompiler compiler(target_, ObjectCompiler::Output::object, ObjectCompiler::Passes::all);
    auto module = emit_kernel(context, source, target_);
    if (llvm::verifyModule(*module, &llvm::errs()))
      throw std::logic_error("emitted IR is broken for kernel " + source.symbol);
    return compiler.compile(*module);
  }

  std::int64_t left_to_llvm() const override { return left_to_llvm_; }

 private:
  std::string compile(const Unit& unit, ObjectCompiler& compiler) const {
    llvm::LLVMContext context;
    auto module = emit_unit(context, unit, target_, kUnitSymbol);
#ifndef NDEBUG
    if (llvm::verifyModule(*module, &llvm::errs()))
      throw std::logic_error("emitted IR is broken for unit " + unit.key());
#endif
    std::string object = compiler.compile(*module);
    left_to_llvm_ += compiler.was_left_to_llvm();
    return object;
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

  const Target target_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<ObjectCompiler>> compilers_;  // idle ones
  mutable std::atomic<std::int64_t> left_to_llvm_ = 0;
};

}  // namespace
}  // namespace einjit

extern "C" __attribute__((visibility("default"))) einjit::Codegen* einjit_open_codegen(
    const einjit::Target* target, const char* build_id) {
  if (std::strcmp(build_id, EINJIT_BUILD_ID) != 0) return nullptr;
  return new einjit::LlvmCodegen(*target);
}
