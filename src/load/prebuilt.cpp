#include "load/prebuilt.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace einjit {
namespace {

struct Head {
  std::uint64_t magic, identity, entries;
};
constexpr std::uint64_t kMagic = 0x31756a6e69650a01;  // and the format's version

std::uint64_t hash_of(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

}  // namespace

PrebuiltUnits::PrebuiltUnits(std::span<const char> index, const char* code,
                             std::string_view identity) {
  Head head;
  if (index.size() < sizeof head) return;
  std::memcpy(&head, index.data(), sizeof head);
  if (head.magic != kMagic || head.identity != hash_of(identity)) return;
  if (head.entries > (index.size() - sizeof head) / sizeof(Entry)) return;
  entries_ = {reinterpret_cast<const Entry*>(index.data() + sizeof head), head.entries};
  keys_ = index.data() + sizeof head + head.entries * sizeof(Entry);
  code_ = code;
}

UnitFunction PrebuiltUnits::find(std::string_view key) const {
  const std::uint64_t hash = hash_of(key);
  auto entry = std::ranges::lower_bound(entries_, hash, {}, &Entry::hash);
  for (; entry != entries_.end() && entry->hash == hash; ++entry)
    if (std::string_view(keys_ + entry->key_at, entry->key_size) == key)
      return reinterpret_cast<UnitFunction>(const_cast<char*>(code_ + entry->code_at));
  return nullptr;
}

std::string PrebuiltUnits::make_index(const std::vector<Unit>& units, std::string_view identity) {
  std::vector<Entry> entries;
  std::string keys;
  for (const Unit& unit : units) {
    entries.push_back({hash_of(unit.key), static_cast<std::uint32_t>(keys.size()),
                       static_cast<std::uint32_t>(unit.key.size()), unit.code_at});
    keys += unit.key;
  }
  std::ranges::sort(entries, {}, &Entry::hash);
  const Head head{kMagic, hash_of(identity), entries.size()};
  std::string bytes(reinterpret_cast<const char*>(&head), sizeof head);
  bytes.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(Entry));
  return bytes + keys;
}

}  // namespace einjit
