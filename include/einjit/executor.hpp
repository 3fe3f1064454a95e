// Who runs the parallel pieces of a kernel.
//
// A kernel is phases of independent pieces; an executor runs one phase and returns when all its
// pieces are done. The number of threads is no part of a kernel, so results cannot depend on it.
#pragma once

#include <cstdint>
#include <memory>

namespace einjit {

struct Executor {
  using Body = void (*)(void* argument, std::int64_t piece);
  // Calls body(argument, p) once for every p in [0, pieces), in any order, on any threads, then
  // returns. Must be callable from several threads at once. May not throw.
  void (*run)(void* context, std::int64_t pieces, Body body, void* argument);
  void* context = nullptr;
};

// Runs everything on the calling thread.
inline constexpr Executor serial_executor{
    [](void*, std::int64_t pieces, Executor::Body body, void* argument) {
      for (std::int64_t p = 0; p < pieces; ++p) body(argument, p);
    },
    nullptr};

// A pool of threads (oneTBB). With 1 thread there is no pool. A pool used in a forked child runs
// serially there. Calls from inside a piece of the same pool do not add threads.
class ThreadPool {
 public:
  // 0: as many as this process may use (available_threads).
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }
  Executor executor() const;

 private:
  struct Arena;
  int threads_;
  std::unique_ptr<Arena> arena_;
};

// Processors this process may run on: its affinity mask, and its cgroup's quota rounded up.
int available_threads();

// What kernels run on unless told otherwise: a pool of EINJIT_THREADS threads, else of
// available_threads(), made at first use. Small kernels are one piece and never reach it.
const Executor& default_executor() noexcept;

}  // namespace einjit
