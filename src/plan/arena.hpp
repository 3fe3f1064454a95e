// Scratch memory of a thread: a stack of leases that grows on first use and is then kept.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace einjit {

// Not thread-safe: one per thread (of_this_thread), or one the caller hands in.
class Arena {
 public:
  static Arena& of_this_thread();

  // 64-byte aligned memory until the lease is destroyed; leases end in reverse order. An empty
  // pointer if the system has no memory left.
  class Lease {
   public:
    Lease(Arena& arena, std::size_t bytes);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    char* data() const { return data_; }

   private:
    Arena& arena_;
    std::size_t chunk_, used_;  // what to return to
    char* data_;
  };

 private:
  struct Free {
    void operator()(char* memory) const;
  };
  struct Chunk {
    std::unique_ptr<char, Free> memory;
    std::size_t size;
  };
  char* allocate(std::size_t bytes);

  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0, used_ = 0;  // the top of the stack
};

}  // namespace einjit
