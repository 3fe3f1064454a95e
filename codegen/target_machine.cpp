#include "target_machine.hpp"

#include <llvm/Support/TargetSelect.h>

#include <mutex>
#include <stdexcept>

#include "llvm_compat.hpp"

namespace einjit {
namespace {

struct IsaNames {
  const char* triple;
  const char* cpu;
  const char* features;
};

IsaNames names_of(Isa isa) {
  switch (isa) {
    case Isa::x86_64_v2:
      return {"x86_64-unknown-linux-gnu", "x86-64-v2", ""};
    case Isa::x86_64_v3:
      return {"x86_64-unknown-linux-gnu", "x86-64-v3", ""};
    // Whole 512-bit vectors are what the scheduler asks for.
    case Isa::x86_64_v4:
      return {"x86_64-unknown-linux-gnu", "x86-64-v4", "-prefer-256-bit"};
    case Isa::aarch64:
      return {"aarch64-unknown-linux-gnu", "generic", "+neon"};
  }
  return {};
}

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
}

}  // namespace

std::unique_ptr<llvm::TargetMachine> make_target_machine(const Target& target) {
  initialize_llvm();
  const IsaNames names = names_of(target.isa);
  std::string error;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(names.triple, error);
  if (!found)
    throw std::runtime_error("LLVM has no code generator for " + std::string(names.triple));
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      names.triple, names.cpu, names.features, options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small,  // an object's constants lie beside its code
      llvm::CodeGenOptLevel::Default, true));
}

}  // namespace einjit
