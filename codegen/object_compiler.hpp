// From a module to an object file (or assembly text), with one pass pipeline used many times.
#pragma once

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Support/raw_ostream.h>

#include <memory>
#include <string>

#include "einjit/target.hpp"
#include "target_machine.hpp"

namespace einjit {

// Building the pipeline costs as much as compiling a small unit, so it is kept. Not thread-safe:
// one per thread that compiles at the same time.
class ObjectCompiler {
 public:
  enum class Output { object, assembly };
  ObjectCompiler(const Target& target, Output output);

  // The object file's bytes or the assembly text.
  std::string compile(llvm::Module& module);
  llvm::TargetMachine& machine() { return *machine_; }

 private:
  std::unique_ptr<llvm::TargetMachine> machine_;
  llvm::SmallVector<char, 0> buffer_;
  llvm::raw_svector_ostream stream_;
  llvm::legacy::PassManager passes_;
};

}  // namespace einjit
