#include "einjit/executor.hpp"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace einjit {
namespace {

namespace tbb = oneapi::tbb;

// CPUs a cgroup's quota is worth; 0 if there is none.
int cgroup_quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period) || period <= 0) return 0;  // "max" is no number
  return std::max(1, static_cast<int>(std::ceil(quota / period)));
}

}  // namespace

int available_threads() {
  cpu_set_t allowed;
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
  const int quota = cgroup_quota();
  return quota > 0 ? std::min(count, quota) : count;
}

struct ThreadPool::Arena {
  explicit Arena(int threads) : arena(threads), owner(getpid()) {}
  tbb::task_arena arena;
  const pid_t owner;  // threads do not survive a fork

  static void run(void* context, std::int64_t pieces, Executor::Body body, void* argument) {
    auto& self = *static_cast<Arena*>(context);
    if (pieces <= 1 || getpid() != self.owner)
      return serial_executor.run(nullptr, pieces, body, argument);
    self.arena.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<std::int64_t>(0, pieces, 1),
          [&](const tbb::blocked_range<std::int64_t>& range) {
            for (std::int64_t p = range.begin(); p < range.end(); ++p) body(argument, p);
          },
          tbb::simple_partitioner());
    });
  }
};

ThreadPool::ThreadPool(int threads)
    : threads_(threads > 0 ? threads : available_threads()),
      arena_(threads_ > 1 ? std::make_unique<Arena>(threads_) : nullptr) {}

ThreadPool::~ThreadPool() = default;

Executor ThreadPool::executor() const {
  return arena_ ? Executor{&Arena::run, arena_.get()} : serial_executor;
}

const Executor& default_executor() noexcept {
  struct Default {
    explicit Default(int threads) : pool(threads), executor(pool.executor()) {}
    ThreadPool pool;
    Executor executor;
  };
  // Never destroyed: kernels may run until the very end of the process.
  static const Default* made = []() -> const Default* {
    try {
      const char* given = std::getenv("EINJIT_THREADS");
      return new Default(given ? std::max(1, std::atoi(given)) : 0);
    } catch (...) {
      return nullptr;
    }
  }();
  return made ? made->executor : serial_executor;
}

}  // namespace einjit
