// Floor 6: units compiled when the project was built. They lie in the program's own code, so that
// finding one is all there is to do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unit/unit.hpp"

namespace einjit {

// An index over code: entries sorted by the hash of their keys, then the keys. Written by
// src/prebuilt, on the machine that builds.
class PrebuiltUnits {
 public:
  PrebuiltUnits() = default;
  // Both must outlive it; on a cache line. One of another build has no units.
  PrebuiltUnits(std::span<const char> index, const char* code, std::string_view identity);

  // Null if the unit is not there.
  UnitFunction find(std::string_view key) const;
  std::size_t size() const { return entries_.size(); }

  struct Entry {
    std::uint64_t hash;
    std::uint32_t key_at, key_size;  // in the index, after the entries
    std::uint64_t code_at;
  };
  // The index's bytes for units and where their code begins; any order.
  struct Unit {
    std::string key;
    std::uint64_t code_at;
  };
  static std::string make_index(const std::vector<Unit>& units, std::string_view identity);

 private:
  std::span<const Entry> entries_;
  const char* keys_ = nullptr;
  const char* code_ = nullptr;
};

}  // namespace einjit
