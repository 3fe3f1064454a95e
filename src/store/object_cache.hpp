// Compiled objects on disk, shared by all processes of a user: nothing is compiled twice on a
// machine.
//
// One file per entry, named by the hash of its key, written under a temporary name and renamed. A
// file is a fixed head (magic, sizes, checksum of all that follows), the identity of who wrote it
// (build, LLVM, target), the key and the object. All of identity and key is compared; what is
// damaged, foreign or cut short is as if it were not there. Nothing here ever fails a compilation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace einjit {

class ObjectCache {
 public:
  struct Entry {
    std::string name;  // of the file
    std::int64_t bytes = 0;
    bool is_sound = false;  // complete and undamaged
    std::string identity, key;
  };

  // EINJIT_CACHE_DIR, else $XDG_CACHE_HOME/einjit, else ~/.cache/einjit. Empty, with the reason, if
  // EINJIT_CACHE is "off", the program runs with rights its user does not have, or there is no
  // home.
  static std::string standard_directory(std::string& why_not);

  // Null, with the reason, if the directory cannot be made or is not safe: it must be the user's
  // own, no link, and not writable by others. A new one is made with mode 0700. `identity` is what
  // an entry must have been written by.
  static std::unique_ptr<ObjectCache> open(const std::string& directory, std::string identity,
                                           std::string& why_not,
                                           std::int64_t most_bytes = std::int64_t{256} << 20);
  ~ObjectCache();
  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  // Thread-safe, as is store. Marks the entry as used.
  std::optional<std::string> load(std::string_view key) const;
  // Beyond most_bytes the least recently used entries go.
  void store(std::string_view key, std::string_view object) const;

  // Every file in the directory that is ours by its name, newest first.
  std::vector<Entry> entries() const;
  // Removes all of them, or those that are not sound; how many.
  std::int64_t clear() const;
  std::int64_t remove_damaged() const;

 private:
  ObjectCache(int directory, std::string identity, std::int64_t most_bytes)
      : directory_(directory), identity_(std::move(identity)), most_bytes_(most_bytes) {}
  void evict() const;

  int directory_;  // file descriptor
  std::string identity_;
  std::int64_t most_bytes_;
};

}  // namespace einjit
