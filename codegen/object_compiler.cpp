#include "object_compiler.hpp"

#include <stdexcept>

#include "llvm_compat.hpp"

namespace einjit {

ObjectCompiler::ObjectCompiler(const Target& target, Output output)
    : machine_(make_target_machine(target)), stream_(buffer_) {
  const auto type = output == Output::object ? llvm::CodeGenFileType::ObjectFile
                                             : llvm::CodeGenFileType::AssemblyFile;
  if (machine_->addPassesToEmitFile(passes_, stream_, nullptr, type))
    throw std::runtime_error("LLVM cannot emit code for this target");
}

std::string ObjectCompiler::compile(llvm::Module& module) {
  module.setDataLayout(machine_->createDataLayout());
  set_triple(module, machine_->getTargetTriple().str());
  buffer_.clear();
  passes_.run(module);
  return {buffer_.data(), buffer_.size()};
}

}  // namespace einjit
