// A bounded map from full keys to shared values; equal keys are made once, others wait.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace einjit {

// Thread-safe. Least recently used values are dropped beyond `most`; users of a dropped value keep
// it alive. A failed attempt is not kept: the next asker tries again.
template <class Value>
class SingleFlightCache {
 public:
  using Shared = std::shared_ptr<const Value>;
  struct Counts {
    std::int64_t size, hits, misses, evictions;
  };

  explicit SingleFlightCache(std::size_t most) : most_(most) {}

  // The value if it is there and ready, else null; a miss is not counted.
  Shared find(std::string_view key) {
    std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it == entries_.end() || !it->second.ready) return nullptr;
    touch(it->second);
    ++hits_;
    return it->second.ready;
  }

  // The value for the key; `make` (returning Shared) runs if nobody has made it or is about to.
  template <class Make>
  Shared get(std::string_view key, const Make& make) {
    std::promise<Shared> promise;
    std::shared_future<Shared> pending;
    {
      std::lock_guard lock(mutex_);
      const auto it = entries_.find(key);
      if (it != entries_.end() && it->second.ready) {
        touch(it->second);
        ++hits_;
        return it->second.ready;
      }
      if (it != entries_.end()) {
        ++hits_;
        pending = it->second.pending;
      } else {
        ++misses_;
        entries_[std::string(key)].pending = promise.get_future().share();
      }
    }
    if (pending.valid()) return pending.get();
    return make_entry(key, make, promise);
  }

  // Puts a value in the place of what is there; one that is being made keeps its waiters.
  void put(std::string_view key, Shared value) {
    std::lock_guard lock(mutex_);
    const auto [it, added] = entries_.try_emplace(std::string(key));
    if (!added && !it->second.ready) return;
    if (!added) order_.erase(it->second.place);
    order_.push_front(&it->first);
    it->second = {std::move(value), {}, order_.begin()};
    while (order_.size() > most_) drop_last();
  }

  void clear() {
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [](const auto& item) { return item.second.ready != nullptr; });
    order_.clear();
  }

  Counts counts() const {
    std::lock_guard lock(mutex_);
    return {static_cast<std::int64_t>(order_.size()), hits_, misses_, evictions_};
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const {
      return XXH3_64bits(key.data(), key.size());
    }
  };
  using Order = std::list<const std::string*>;  // most recently used first
  struct Entry {
    Shared ready;
    std::shared_future<Shared> pending;
    Order::iterator place;
  };

  void touch(Entry& entry) { order_.splice(order_.begin(), order_, entry.place); }

  template <class Make>
  Shared make_entry(std::string_view key, const Make& make, std::promise<Shared>& promise) {
    try {
      Shared made = make();
      std::lock_guard lock(mutex_);
      const auto it = entries_.find(key);
      order_.push_front(&it->first);
      it->second = {made, {}, order_.begin()};
      while (order_.size() > most_) drop_last();
      promise.set_value(made);
      return made;
    } catch (...) {
      std::lock_guard lock(mutex_);
      entries_.erase(entries_.find(key));
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  void drop_last() {
    const auto it = entries_.find(*order_.back());
    order_.pop_back();
    entries_.erase(it);
    ++evictions_;
  }

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> entries_;
  Order order_;
  std::int64_t hits_ = 0, misses_ = 0, evictions_ = 0;
};

}  // namespace einjit
