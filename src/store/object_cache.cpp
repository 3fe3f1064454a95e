#include "store/object_cache.hpp"

#define XXH_INLINE_ALL
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace einjit {
namespace {

constexpr std::uint64_t kMagic = 0x31306a696e6965ull;  // "einji01"; another format, another number
constexpr std::int64_t kLargestEntry = 64 << 20;
constexpr int kStoresBetweenSweeps = 32;
constexpr double kKeptAfterSweep = 0.9;
constexpr long kForgottenSeconds = 600;  // temporary files of writers that died
constexpr std::string_view kSuffix = ".unit", kTemporary = ".tmp";

struct Head {
  std::uint64_t magic, checksum;  // of all bytes after it
  std::uint32_t identity_size, key_size;
  std::uint64_t object_size;
};
constexpr std::size_t kChecksummed = offsetof(Head, identity_size);

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

bool is_ours_alone(const struct stat& info) {
  return info.st_uid == geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::string file_name(std::string_view identity, std::string_view key) {
  const XXH64_hash_t seed = XXH3_64bits(identity.data(), identity.size());
  const XXH128_hash_t hash = XXH3_128bits_withSeed(key.data(), key.size(), seed);
  return fmt::format("{:016x}{:016x}{}", hash.high64, hash.low64, kSuffix);
}

// The whole file, or nothing if it is no plain file of ours.
std::optional<std::string> read_file(int directory, const std::string& name, bool is_use) {
  const File file(openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!file || fstat(file.get(), &info) != 0) return std::nullopt;
  if (!S_ISREG(info.st_mode) || !is_ours_alone(info) || info.st_size > kLargestEntry)
    return std::nullopt;
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = read(file.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;
    done += static_cast<std::size_t>(count);
  }
  if (is_use) futimens(file.get(), nullptr);  // now
  return bytes;
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::uint64_t checksum(std::string_view file) {
  return XXH3_64bits(file.data() + kChecksummed, file.size() - kChecksummed);
}

std::string encoded(std::string_view identity, std::string_view key, std::string_view object) {
  Head head{kMagic, 0, static_cast<std::uint32_t>(identity.size()),
            static_cast<std::uint32_t>(key.size()), object.size()};
  std::string file(sizeof head, '\0');
  std::memcpy(file.data(), &head, sizeof head);
  file.append(identity).append(key).append(object);
  head.checksum = checksum(file);
  std::memcpy(file.data(), &head, sizeof head);
  return file;
}

struct Decoded {
  std::string_view identity, key, object;
};
std::optional<Decoded> decoded(std::string_view file) {
  Head head;
  if (file.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, file.data(), sizeof head);
  const std::uint64_t rest = file.size() - sizeof head;
  if (head.magic != kMagic || head.object_size > rest ||
      head.object_size + head.identity_size + head.key_size != rest ||
      head.checksum != checksum(file))
    return std::nullopt;
  file.remove_prefix(sizeof head);
  return Decoded{file.substr(0, head.identity_size), file.substr(head.identity_size, head.key_size),
                 file.substr(head.identity_size + head.key_size)};
}

struct Found {
  std::string name;
  std::int64_t bytes;
  struct timespec used;
};

// What in the directory is ours by its name, most recently used first.
std::vector<Found> files_in(int directory) {
  std::vector<Found> found;
  DIR* stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!stream) return found;
  while (const dirent* entry = readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kSuffix) && !name.ends_with(kTemporary)) continue;
    struct stat info;
    if (fstatat(directory, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(info.st_mode)) continue;
    found.push_back({std::string(name), info.st_size, info.st_mtim});
  }
  closedir(stream);
  std::ranges::sort(found, [](const Found& a, const Found& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) > std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  return found;
}

}  // namespace

std::string ObjectCache::standard_directory(std::string& why_not) {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (getauxval(AT_SECURE) != 0) {
    why_not = "the program runs with rights its user does not have";
    return "";
  }
  if (variable("EINJIT_CACHE") == "off") {
    why_not = "EINJIT_CACHE is off";
    return "";
  }
  if (const std::string given = variable("EINJIT_CACHE_DIR"); !given.empty()) return given;
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with('/'))
    return cache + "/einjit";
  if (const std::string home = variable("HOME"); home.starts_with('/'))
    return home + "/.cache/einjit";
  why_not = "there is no home directory";
  return "";
}

std::unique_ptr<ObjectCache> ObjectCache::open(const std::string& directory, std::string identity,
                                               std::string& why_not, std::int64_t most_bytes) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), error);
  if (mkdir(directory.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    why_not = fmt::format("{}: cannot make it: {}", directory, std::strerror(errno));
    return nullptr;
  }
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat info;
  if (descriptor < 0 || fstat(descriptor, &info) != 0) {
    why_not = fmt::format("{}: cannot open it: {}", directory, std::strerror(errno));
    if (descriptor >= 0) close(descriptor);
    return nullptr;
  }
  if (!is_ours_alone(info)) {
    why_not = fmt::format("{}: belongs to another user, or others may write to it", directory);
    close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<ObjectCache>(new ObjectCache(descriptor, std::move(identity), most_bytes));
}

ObjectCache::~ObjectCache() { close(directory_); }

std::optional<std::string> ObjectCache::load(std::string_view key) const {
  const std::optional<std::string> file = read_file(directory_, file_name(identity_, key), true);
  if (!file) return std::nullopt;
  const std::optional<Decoded> entry = decoded(*file);
  if (!entry || entry->identity != identity_ || entry->key != key) return std::nullopt;
  return std::string(entry->object);
}

void ObjectCache::store(std::string_view key, std::string_view object) const {
  static std::atomic<unsigned> count = 0;
  const unsigned number = count++;
  const std::string temporary = fmt::format("{}.{}{}", getpid(), number, kTemporary);
  {
    const File file(openat(directory_, temporary.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                           S_IRUSR | S_IWUSR));
    if (!file) return;
    if (!write_all(file.get(), encoded(identity_, key, object))) {
      unlinkat(directory_, temporary.c_str(), 0);
      return;
    }
  }
  const std::string name = file_name(identity_, key);
  if (renameat(directory_, temporary.c_str(), directory_, name.c_str()) != 0)
    unlinkat(directory_, temporary.c_str(), 0);
  if (number % kStoresBetweenSweeps == 0) evict();
}

void ObjectCache::evict() const {
  const std::vector<Found> files = files_in(directory_);
  std::int64_t all = 0, kept = 0;
  for (const Found& file : files) all += file.bytes;
  const time_t now = time(nullptr);
  for (const Found& file : files) {
    kept += file.bytes;
    const bool is_forgotten =
        file.name.ends_with(kTemporary) && now - file.used.tv_sec > kForgottenSeconds;
    const bool is_too_much =
        all > most_bytes_ &&
        static_cast<double>(kept) > kKeptAfterSweep * static_cast<double>(most_bytes_);
    if (is_forgotten || is_too_much) unlinkat(directory_, file.name.c_str(), 0);
  }
}

std::vector<ObjectCache::Entry> ObjectCache::entries() const {
  std::vector<Entry> all;
  for (const Found& file : files_in(directory_)) {
    Entry entry{file.name, file.bytes, false, "", ""};
    const std::optional<std::string> bytes = read_file(directory_, file.name, false);
    if (const auto parts = bytes ? decoded(*bytes) : std::nullopt) {
      entry.identity = parts->identity;
      entry.key = parts->key;
      entry.is_sound = file.name == file_name(entry.identity, entry.key);
    }
    all.push_back(std::move(entry));
  }
  return all;
}

std::int64_t ObjectCache::clear() const {
  std::int64_t removed = 0;
  for (const Found& file : files_in(directory_))
    removed += unlinkat(directory_, file.name.c_str(), 0) == 0;
  return removed;
}

std::int64_t ObjectCache::remove_damaged() const {
  std::int64_t removed = 0;
  for (const Entry& entry : entries())
    if (!entry.is_sound && entry.name.ends_with(kSuffix))
      removed += unlinkat(directory_, entry.name.c_str(), 0) == 0;
  return removed;
}

}  // namespace einjit
