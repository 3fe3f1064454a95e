// From a module to an object file (or assembly text), with one pass pipeline used many times.
#pragma once

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/Support/raw_ostream.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "einjit/target.hpp"
#include "target_machine.hpp"

namespace einjit {

// LLVM's code generator without the passes that find nothing to do in what we emit: it comes with
// explicit vectors, strides and loop counts. What is left is selection, register allocation, frames
// and printing, a third of the time. Falls back to the whole pipeline where LLVM names its passes
// otherwise, and for targets whose list nobody has checked.
class LeanPasses : public llvm::legacy::PassManager {
 public:
  // With einjit's own selection instead of LLVM's if `own_selection_failed` is given.
  explicit LeanPasses(Isa isa, bool* own_selection_failed = nullptr);
  void add(llvm::Pass* pass) override;
  // All passes asked for have been seen.
  bool is_complete() const;

 private:
  const Isa isa_;
  bool* const own_selection_failed_;
  std::vector<std::string_view> kept_;
  std::vector<bool> seen_;
};

// Building the pipeline costs as much as compiling a small unit, so it is kept. Not thread-safe:
// one per thread that compiles at the same time.
class ObjectCompiler {
 public:
  enum class Output { object, assembly };
  enum class Passes { lean, all };
  ObjectCompiler(const Target& target, Output output, Passes passes = Passes::lean);

  // The object file's bytes or the assembly text.
  std::string compile(llvm::Module& module);
  // Whether the last module held what einjit's own selection does not know.
  bool was_left_to_llvm() const { return own_ != nullptr && own_failed_; }
  llvm::TargetMachine& machine() { return *machine_; }

 private:
  std::unique_ptr<llvm::legacy::PassManager> make_passes();

  const Target target_;
  const Passes kind_;
  const llvm::CodeGenFileType type_;
  std::unique_ptr<llvm::TargetMachine> machine_;
  llvm::SmallVector<char, 0> buffer_;
  llvm::raw_svector_ostream stream_;
  // With einjit's own selection; null where it is not asked for.
  std::unique_ptr<llvm::legacy::PassManager> own_;
  bool own_failed_ = false;
  std::unique_ptr<llvm::legacy::PassManager> passes_;  // of LLVM; made when first needed
};

}  // namespace einjit
