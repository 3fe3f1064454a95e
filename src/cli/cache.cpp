#include <fmt/format.h>

#include "cli/commands.hpp"
#include "store/object_cache.hpp"

namespace einjit {
namespace {

void print_info(const std::string& directory, const std::vector<ObjectCache::Entry>& entries) {
  std::int64_t bytes = 0, damaged = 0;
  for (const ObjectCache::Entry& entry : entries) {
    bytes += entry.bytes;
    damaged += !entry.is_sound;
  }
  fmt::print("{}: {} entries, {:.1f} KB, {} damaged\n", directory, entries.size(),
             static_cast<double>(bytes) / 1e3, damaged);
}

}  // namespace

int run_cache(const std::string& action) {
  std::string why_not;
  const std::string directory = ObjectCache::standard_directory(why_not);
  const auto cache = directory.empty() ? nullptr : ObjectCache::open(directory, "", why_not);
  if (!cache) throw Error({"there is no cache on disk: " + why_not});
  if (action == "clear") {
    fmt::print("{}: {} entries removed\n", directory, cache->clear());
    return 0;
  }
  if (action == "verify")
    fmt::print("{}: {} damaged entries removed\n", directory, cache->remove_damaged());
  const std::vector<ObjectCache::Entry> entries = cache->entries();
  if (action == "list")
    for (const ObjectCache::Entry& entry : entries)
      fmt::print("{} {:7} bytes  {}\n", entry.name, entry.bytes,
                 entry.is_sound ? entry.key : "damaged");
  else
    print_info(directory, entries);
  return 0;
}

}  // namespace einjit
