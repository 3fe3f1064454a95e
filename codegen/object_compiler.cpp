#include "object_compiler.hpp"

#include <llvm/Pass.h>

#include <algorithm>
#include <stdexcept>

#include "llvm_compat.hpp"
#include "select/selection_pass.hpp"

namespace einjit {
namespace {

constexpr std::string_view kSelection = "X86 DAG->DAG Instruction Selection";

// In LLVM's own words and order, with the reason for what is not plain selection, allocation or
// printing.
constexpr std::string_view kX86Passes[] = {
    "Target Pass Configuration",
    "Machine Module Information",
    "Target Transform Information",
    "Type-Based Alias Analysis",
    "Scoped NoAlias Alias Analysis",
    "Basic Alias Analysis (stateless AA impl)",
    kSelection,
    "X86 PIC Global Base Reg Initialization",  // large code models
    "Finalize ISel and expand pseudo-instructions",
    "Remove dead machine instructions",
    "X86 EFLAGS copy lowering",  // must not meet the allocator
    "Process Implicit Definitions",
    "Live Variable Analysis",  // kill flags: without them code is a third slower
    "Eliminate PHI nodes for register allocation",
    "Two-Address instruction pass",
    "Register Coalescer",
    "Greedy Register Allocator",
    "Virtual Register Rewriter",
    "Prologue/Epilogue Insertion & Frame Finalization",
    "Post-RA pseudo instruction expansion pass",
    "X86 pseudo instruction expansion pass",
    "X86 vzeroupper inserter",
    "X86 Assembly Printer",
    "Free MachineFunction",
};
// Masked vectors and gathers that the instruction set does not have.
constexpr std::string_view kX86NarrowPasses[] = {
    "Scalarize Masked Memory Intrinsics",
    "Expand reduction intrinsics",
};

}  // namespace

LeanPasses::LeanPasses(Isa isa, bool* own_selection_failed)
    : isa_(isa), own_selection_failed_(own_selection_failed) {
  kept_.assign(std::begin(kX86Passes), std::end(kX86Passes));
  if (isa != Isa::x86_64_v4 && !own_selection_failed)
    kept_.insert(kept_.end(), std::begin(kX86NarrowPasses), std::end(kX86NarrowPasses));
  seen_.resize(kept_.size());
}

void LeanPasses::add(llvm::Pass* pass) {
  const llvm::StringRef name = pass->getPassName();
  const auto kept = std::ranges::find(kept_, std::string_view(name.data(), name.size()));
  if (kept != kept_.end()) seen_[static_cast<std::size_t>(kept - kept_.begin())] = true;
  if (own_selection_failed_ && name == llvm::StringRef(kSelection)) {
    delete pass;
    llvm::legacy::PassManager::add(new SelectionPass(isa_, *own_selection_failed_));
  } else if (kept == kept_.end()) {
    delete pass;
  } else {
    llvm::legacy::PassManager::add(pass);
  }
}

bool LeanPasses::is_complete() const {
  return !seen_.empty() && std::ranges::find(seen_, false) == seen_.end();
}

ObjectCompiler::ObjectCompiler(const Target& target, Output output, Passes passes)
    : target_(target),
      kind_(target.isa == Isa::aarch64 ? Passes::all : passes),
      type_(output == Output::object ? llvm::CodeGenFileType::ObjectFile
                                     : llvm::CodeGenFileType::AssemblyFile),
      machine_(make_target_machine(target)),
      stream_(buffer_) {
  if (kind_ != Passes::lean || target.isa == Isa::x86_64_v2) return;
  auto own = std::make_unique<LeanPasses>(target.isa, &own_failed_);
  if (!machine_->addPassesToEmitFile(*own, stream_, nullptr, type_) && own->is_complete())
    own_ = std::move(own);
}

std::unique_ptr<llvm::legacy::PassManager> ObjectCompiler::make_passes() {
  if (kind_ != Passes::all) {
    auto lean = std::make_unique<LeanPasses>(target_.isa);
    if (!machine_->addPassesToEmitFile(*lean, stream_, nullptr, type_) && lean->is_complete())
      return lean;
  }
  auto all = std::make_unique<llvm::legacy::PassManager>();
  if (machine_->addPassesToEmitFile(*all, stream_, nullptr, type_))
    throw std::runtime_error("LLVM cannot emit code for this target");
  return all;
}

std::string ObjectCompiler::compile(llvm::Module& module) {
  module.setDataLayout(machine_->createDataLayout());
  set_triple(module, machine_->getTargetTriple().str());
  buffer_.clear();
  if (own_) {
    own_failed_ = false;
    own_->run(module);
    if (!own_failed_) return {buffer_.data(), buffer_.size()};
    buffer_.clear();
  }
  if (!passes_) passes_ = make_passes();
  passes_->run(module);
  return {buffer_.data(), buffer_.size()};
}

}  // namespace einjit
