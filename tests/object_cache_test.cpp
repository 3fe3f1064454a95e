// The objects on disk: what is damaged, foreign or unsafe is never loaded, and nothing is fatal.
#include "store/object_cache.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace einjit {
namespace {

namespace fs = std::filesystem;

class ObjectCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "einjit.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  std::unique_ptr<ObjectCache> open(const std::string& identity = "me",
                                    std::int64_t most_bytes = 1 << 20) {
    return ObjectCache::open(directory(), identity, why_not_, most_bytes);
  }
  std::string directory() const { return (root_ / "a" / "cache").string(); }
  fs::path only_file() const { return fs::directory_iterator(directory())->path(); }
  static std::string contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  fs::path root_;
  std::string why_not_;
};

TEST_F(ObjectCacheTest, KeepsWhatIsStored) {
  const auto cache = open();
  ASSERT_TRUE(cache) << why_not_;
  struct stat info;
  ASSERT_EQ(stat(directory().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_FALSE(cache->load("key"));
  cache->store("key", std::string("ob\0ject", 7));
  cache->store("", "");
  EXPECT_EQ(cache->load("key"), std::string("ob\0ject", 7));
  EXPECT_EQ(cache->load(""), "");
  cache->store("key", "another");
  EXPECT_EQ(open()->load("key"), "another");
  EXPECT_EQ(cache->entries().size(), 2u);
  EXPECT_EQ(cache->clear(), 2);
  EXPECT_FALSE(cache->load("key"));
}

TEST_F(ObjectCacheTest, OthersEntriesAreNotOurs) {
  open("me")->store("key", "mine");
  EXPECT_FALSE(open("you")->load("key"));
  // Even under the name that ours would have.
  const fs::path mine = only_file();
  const std::string bytes = contents(mine);
  open()->clear();
  open("you")->store("key", "yours");
  fs::rename(only_file(), mine);
  EXPECT_FALSE(open("me")->load("key"));
  EXPECT_EQ(open()->remove_damaged(), 1);
}

TEST_F(ObjectCacheTest, EveryTruncationAndFlippedBitIsFound) {
  const auto cache = open();
  cache->store("a key", "an object of some bytes");
  const fs::path file = only_file();
  const std::string good = contents(file);
  for (std::size_t size = 0; size < good.size(); ++size) {
    write(file, good.substr(0, size));
    EXPECT_FALSE(cache->load("a key")) << size;
  }
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    write(file, bad);
    EXPECT_FALSE(cache->load("a key")) << bit;
  }
  write(file, good + "x");
  EXPECT_FALSE(cache->load("a key"));
  EXPECT_EQ(cache->remove_damaged(), 1);
  cache->store("a key", "new");
  EXPECT_EQ(cache->load("a key"), "new");
}

TEST_F(ObjectCacheTest, UnsafePlacesAreRefused) {
  ASSERT_TRUE(open());
  fs::permissions(directory(), fs::perms::others_write, fs::perm_options::add);
  EXPECT_FALSE(open());
  EXPECT_NE(why_not_.find("others"), std::string::npos);
  fs::permissions(directory(), fs::perms::owner_all, fs::perm_options::replace);
  fs::create_directory_symlink(directory(), root_ / "link");
  EXPECT_FALSE(ObjectCache::open((root_ / "link").string(), "me", why_not_));
  write(root_ / "file", "");
  EXPECT_FALSE(ObjectCache::open((root_ / "file").string(), "me", why_not_));
  EXPECT_FALSE(ObjectCache::open((root_ / "file" / "below").string(), "me", why_not_));
  // Entries that are links, or that others may write, neither.
  const auto cache = open();
  cache->store("key", "object");
  const fs::path file = only_file();
  fs::permissions(file, fs::perms::group_write, fs::perm_options::add);
  EXPECT_FALSE(cache->load("key"));
  fs::permissions(file, fs::perms::group_write, fs::perm_options::remove);
  EXPECT_TRUE(cache->load("key"));
  fs::rename(file, root_ / "elsewhere");
  fs::create_symlink(root_ / "elsewhere", file);
  EXPECT_FALSE(cache->load("key"));
}

TEST_F(ObjectCacheTest, TheLeastRecentlyUsedGoFirst) {
  const auto cache = open("me", 20000);
  const std::string object(1000, 'x');
  for (int i = 0; i < 200; ++i) {
    cache->store("key " + std::to_string(i), object);
    EXPECT_TRUE(cache->load("key 0") || i > 0);
  }
  std::int64_t bytes = 0;
  for (const auto& entry : cache->entries()) bytes += entry.bytes;
  // A sweep comes every so many stores.
  EXPECT_LT(bytes, 20000 + 33 * 1100);
  EXPECT_TRUE(cache->load("key 199"));
  EXPECT_FALSE(cache->load("key 20"));
}

TEST_F(ObjectCacheTest, WritersMayDieAtAnyTime) {
  const auto cache = open();
  const std::string object(50000, 'o');
  for (int round = 0; round < 1000; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0)
      for (int i = 0;; ++i) cache->store("key " + std::to_string(i % 7), object);
    usleep(static_cast<useconds_t>(300 + 37 * (round % 100)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (int i = 0; i < 7; ++i) {
      const auto loaded = cache->load("key " + std::to_string(i));
      EXPECT_TRUE(!loaded || *loaded == object);
    }
  }
  EXPECT_EQ(cache->remove_damaged(), 0);
}

TEST_F(ObjectCacheTest, ManyProcessesShareADirectory) {
  std::vector<pid_t> children;
  for (int c = 0; c < 64; ++c) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto cache = open("me", 60000);
      bool good = cache != nullptr;
      for (int i = 0; good && i < 200; ++i) {
        const std::string key = std::to_string((i * 7 + c) % 50), object(2000, key[0]);
        const auto loaded = cache->load(key);
        good = !loaded || *loaded == object;
        if (!loaded) cache->store(key, object);
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(open()->remove_damaged(), 0);
}

}  // namespace
}  // namespace einjit
