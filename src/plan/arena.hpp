// Scratch memory: a stack of leases. A thread's own grows on first use and is then kept; one over
// memory of the caller's never grows.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace einjit {

// Not thread-safe: one per thread (of_this_thread), or one the caller hands in.
class Arena {
 public:
  static Arena& of_this_thread();
  Arena() = default;
  // Leases from these bytes only.
  explicit Arena(std::span<std::byte> memory);

  // What a lease takes of an arena.
  static std::size_t rounded(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }
  static constexpr std::size_t kLine = 64;

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
  char* allocate_fixed(std::size_t bytes);

  char* fixed_ = nullptr;  // the caller's memory, on a line, or null
  std::size_t fixed_size_ = 0;
  std::vector<Chunk> chunks_;
  std::size_t chunk_ = 0, used_ = 0;  // the top of the stack
};

}  // namespace einjit
