#include "engine/specializer.hpp"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace einjit {
namespace {

// The standard engine is never destroyed, but its thread must not outlive what it uses.
struct Living {
  std::mutex mutex;
  std::vector<Specializer*> all;
};
Living& living() {
  static Living* living = new Living();
  return *living;
}

void stop_all() {
  std::lock_guard lock(living().mutex);
  for (Specializer* specializer : living().all) specializer->stop();
}

}  // namespace

Specializer::Specializer() {
  std::lock_guard lock(living().mutex);
  living().all.push_back(this);
}

Specializer::~Specializer() {
  stop();
  std::lock_guard lock(living().mutex);
  std::erase(living().all, this);
}

void Specializer::add(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  if (is_stopped_) return;
  work_.push_back(std::move(work));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_all();
}

void Specializer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_stopped_ || !work_.empty(); });
    if (is_stopped_) return;
    const std::function<void()> work = std::move(work_.front());
    work_.pop_front();
    is_busy_ = true;
    lock.unlock();
    try {
      work();
    } catch (...) {  // the first kernel stays
    }
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
}

void Specializer::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_stopped_ || (work_.empty() && !is_busy_); });
}

void Specializer::stop() {
  {
    std::lock_guard lock(mutex_);
    is_stopped_ = true;
    work_.clear();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void stop_specializers_at_exit() {
  static const int registered = std::atexit(stop_all);
  (void)registered;
}

}  // namespace einjit
