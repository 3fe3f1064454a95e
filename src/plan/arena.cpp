#include "plan/arena.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace einjit {
namespace {
constexpr std::size_t kHugePage = std::size_t{2} << 20;
}  // namespace

void Arena::Free::operator()(char* memory) const { std::free(memory); }

Arena& Arena::of_this_thread() {
  thread_local Arena arena;
  return arena;
}

Arena::Arena(std::span<std::byte> memory) {
  void* start = memory.data();
  std::size_t size = memory.size();
  // Too little for a line: every lease of some bytes fails.
  static std::byte nothing[kLine];
  fixed_ = start && std::align(kLine, 1, start, size) ? static_cast<char*>(start)
                                                      : reinterpret_cast<char*>(nothing);
  fixed_size_ = fixed_ == reinterpret_cast<char*>(nothing) ? 0 : size;
}

char* Arena::allocate_fixed(std::size_t bytes) {
  if (fixed_size_ - used_ < bytes) return nullptr;
  char* data = fixed_ + used_;
  used_ += bytes;
  return data;
}

char* Arena::allocate(std::size_t bytes) {
  if (fixed_) return allocate_fixed(bytes);
  const bool is_unused = chunk_ == 0 && used_ == 0;
  for (; chunk_ < chunks_.size(); ++chunk_, used_ = 0) {
    if (chunks_[chunk_].size - used_ < bytes) continue;
    char* data = chunks_[chunk_].memory.get() + used_;
    used_ += bytes;
    return data;
  }
  // Nothing is leased: chunks too small for today's need go, so that scratch does not pile up.
  if (is_unused) {
    chunks_.clear();
    chunk_ = 0;
  }
  // Large chunks sit on huge pages where the system has them: fewer TLB misses in packed panels.
  const bool large = bytes >= kHugePage;
  const std::size_t align = large ? kHugePage : kLine;
  const std::size_t size = (std::max<std::size_t>(bytes, 64 << 10) + align - 1) / align * align;
  char* memory = static_cast<char*>(std::aligned_alloc(align, size));
  if (!memory) return nullptr;
  if (large) madvise(memory, size, MADV_HUGEPAGE);
  chunks_.push_back({std::unique_ptr<char, Free>(memory), size});
  used_ = bytes;
  return memory;
}

Arena::Lease::Lease(Arena& arena, std::size_t bytes)
    : arena_(arena),
      chunk_(arena.chunk_),
      used_(arena.used_),
      data_(arena.allocate(rounded(bytes))) {}

Arena::Lease::~Lease() {
  arena_.chunk_ = chunk_;
  arena_.used_ = used_;
}

}  // namespace einjit
