// Floor 6: from an object file to code that can be called.
//
// Takes what the code generator makes: an ELF64 relocatable object of one function, with its
// constants beside the code. Relocations are those of the small code model. Nothing of the object
// is trusted: every offset is checked (ELF-64 Object File Format 1.5; System V ABI, x86-64 and
// AArch64 supplements).
#pragma once

#include <string_view>

#include "load/code_memory.hpp"

namespace einjit {

// An object in memory, and where its function begins.
struct LoadedObject {
  CodeBlock block;
  void* entry = nullptr;
};

// Throws std::runtime_error if the object is damaged, of another machine, or needs what is not
// here. The block is the caller's to free.
LoadedObject load_object(std::string_view object, std::string_view symbol, CodeMemory& memory);

}  // namespace einjit
