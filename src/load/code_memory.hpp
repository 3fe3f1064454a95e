// Floor 6: memory for machine code, never writable and executable at once.
//
// Slabs of anonymous shared memory are mapped twice: one view to write, one to execute. Code is
// copied through the first and runs in the second.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace einjit {

// A piece of code memory: the same bytes at two addresses.
struct CodeBlock {
  char* writable = nullptr;
  char* executable = nullptr;
  std::size_t size = 0;
};

// Thread-safe. Must outlive its blocks.
class CodeMemory {
 public:
  CodeMemory();
  ~CodeMemory();
  CodeMemory(const CodeMemory&) = delete;
  CodeMemory& operator=(const CodeMemory&) = delete;

  // On a cache line. Throws std::runtime_error if the system has no memory left or does not allow
  // what was written to be executed.
  CodeBlock allocate(std::size_t size);
  void free(const CodeBlock& block);

 private:
  class Slab;
  std::mutex mutex_;
  std::map<char*, std::unique_ptr<Slab>> slabs_;  // by executable address
};

}  // namespace einjit
