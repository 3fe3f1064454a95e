#include "load/code_memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace einjit {
namespace {

constexpr std::size_t kSlabBytes = std::size_t{1} << 20;
constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = 4096;

std::size_t rounded(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(
      fmt::format("no memory for machine code: {}: {}", what, std::strerror(errno)));
}

char* map(int file, std::size_t size, int protection) {
  void* memory = ::mmap(nullptr, size, protection, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED)
    fail(protection & PROT_EXEC ? "mapping it executable" : "mapping it writable");
  return static_cast<char*>(memory);
}

}  // namespace

class CodeMemory::Slab {
 public:
  explicit Slab(std::size_t size) : size_(size) {
    const int file = ::memfd_create("einjit-code", MFD_CLOEXEC);
    if (file < 0) fail("memfd_create");
    try {
      if (::ftruncate(file, static_cast<off_t>(size)) != 0) fail("ftruncate");
      writable_ = map(file, size, PROT_READ | PROT_WRITE);
      executable_ = map(file, size, PROT_READ | PROT_EXEC);
    } catch (...) {
      if (writable_) ::munmap(writable_, size);
      ::close(file);
      throw;
    }
    ::close(file);
    free_[0] = size;
  }
  ~Slab() {
    ::munmap(writable_, size_);
    ::munmap(executable_, size_);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  char* executable() const { return executable_; }
  std::size_t size() const { return size_; }
  bool is_empty() const { return free_.size() == 1 && free_.begin()->second == size_; }

  // First fit; an empty block if there is none.
  CodeBlock allocate(std::size_t size) {
    const auto hole = std::ranges::find_if(free_, [&](const auto& h) { return h.second >= size; });
    if (hole == free_.end()) return {};
    const auto [offset, length] = *hole;
    free_.erase(hole);
    if (length > size) free_[offset + size] = length - size;
    return {writable_ + offset, executable_ + offset, size};
  }

  void free(const CodeBlock& block) {
    auto hole =
        free_.emplace(static_cast<std::size_t>(block.executable - executable_), block.size).first;
    const auto next = std::next(hole);
    if (next != free_.end() && hole->first + hole->second == next->first) {
      hole->second += next->second;
      free_.erase(next);
    }
    if (hole == free_.begin()) return;
    const auto before = std::prev(hole);
    if (before->first + before->second != hole->first) return;
    before->second += hole->second;
    free_.erase(hole);
  }

 private:
  const std::size_t size_;
  char *writable_ = nullptr, *executable_ = nullptr;
  std::map<std::size_t, std::size_t> free_;  // holes: offset and size
};

CodeMemory::CodeMemory() = default;
CodeMemory::~CodeMemory() = default;

CodeBlock CodeMemory::allocate(std::size_t size) {
  size = rounded(std::max<std::size_t>(size, 1), kLine);
  std::lock_guard lock(mutex_);
  for (auto& [address, slab] : slabs_)
    if (const CodeBlock block = slab->allocate(size); block.size != 0) return block;
  auto slab = std::make_unique<Slab>(std::max(kSlabBytes, rounded(size, kPage)));
  const CodeBlock block = slab->allocate(size);
  slabs_.emplace(slab->executable(), std::move(slab));
  return block;
}

// One empty slab is kept, so that code that comes and goes does not map and unmap.
void CodeMemory::free(const CodeBlock& block) {
  std::lock_guard lock(mutex_);
  const auto slab = std::prev(slabs_.upper_bound(block.executable));
  slab->second->free(block);
  if (!slab->second->is_empty()) return;
  const auto empty =
      std::ranges::count_if(slabs_, [](const auto& item) { return item.second->is_empty(); });
  if (empty > 1 || slab->second->size() > kSlabBytes) slabs_.erase(slab);
}

}  // namespace einjit
