// Floor 8: what one-shot calls run, and who makes it faster while they do.
//
// The first call of an expression takes what is there: units that are prebuilt, in memory or on
// disk, with sizes as arguments. Once its calls have taken as long as LLVM would, a thread in the
// background bakes the sizes in, and the result takes the first one's place. Both add in the same
// order: the bits are the same.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "einjit/kernel.hpp"

namespace einjit {

// A kernel of one-shot calls. `pays_after` calls it is worth being specialised; 0: it is already.
struct Call {
  Kernel kernel;
  std::int64_t pays_after = 0;
  mutable std::atomic<std::int64_t> count = 0;

  // True for one call only.
  bool pays_now() const {
    return pays_after > 0 && count.load(std::memory_order_relaxed) < pays_after &&
           ++count == pays_after;
  }
};

// One thread, begun when there is something to do. What is not begun when it is destroyed, or the
// process exits, is dropped.
class Specializer {
 public:
  Specializer();
  ~Specializer();
  Specializer(const Specializer&) = delete;
  Specializer& operator=(const Specializer&) = delete;

  // Errors of the work are its own: nobody waits for it.
  void add(std::function<void()> work);
  // Until all that was added is done.
  void wait();
  // Ends the thread, after what it is doing.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool is_busy_ = false, is_stopped_ = false;
  std::thread thread_;
};

// Call it after the code generator's library is open: what is registered last runs first at exit,
// and LLVM must outlive the threads that compile.
void stop_specializers_at_exit();

}  // namespace einjit
