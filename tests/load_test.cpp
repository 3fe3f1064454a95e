// Floor 6: memory for code, and objects loaded into it.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "load/object_loader.hpp"
#include "load/prebuilt.hpp"
#include "unit/codegen.hpp"

namespace einjit {
namespace {

std::string tiny_object() {
  std::ifstream file(EINJIT_TINY_OBJECT, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// Permissions of every mapping of this process.
std::vector<std::string> mappings() {
  std::ifstream maps("/proc/self/maps");
  std::vector<std::string> permissions;
  for (std::string line; std::getline(maps, line);)
    permissions.push_back(line.substr(line.find(' ') + 1, 4));
  return permissions;
}

// Views of code memory there are.
std::ptrdiff_t views() {
  std::ifstream maps("/proc/self/maps");
  std::ptrdiff_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("einjit-code") != std::string::npos;
  return count;
}

TEST(CodeMemory, IsNeverWritableAndExecutable) {
  CodeMemory memory;
  const CodeBlock block = memory.allocate(100);
  std::memset(block.writable, 0xc3, block.size);
  EXPECT_EQ(static_cast<unsigned char>(block.executable[99]), 0xc3);
  bool any_executable = false;
  for (const std::string& permission : mappings()) {
    EXPECT_FALSE(permission[1] == 'w' && permission[2] == 'x') << permission;
    any_executable |= permission[2] == 'x';
  }
  EXPECT_TRUE(any_executable);
  memory.free(block);
}

TEST(CodeMemory, GivesBackWhatIsFreed) {
  CodeMemory memory;
  std::mt19937 random(7);
  std::vector<std::pair<CodeBlock, char>> blocks;
  const std::ptrdiff_t before = views();
  for (int step = 0; step < 20000; ++step) {
    if (blocks.size() > 100 || (!blocks.empty() && random() % 2)) {
      const std::size_t at = random() % blocks.size();
      for (std::size_t i = 0; i < blocks[at].first.size; i += 64)
        ASSERT_EQ(blocks[at].first.executable[i], blocks[at].second);
      memory.free(blocks[at].first);
      blocks.erase(blocks.begin() + static_cast<long>(at));
    } else {
      const CodeBlock block = memory.allocate(1 + random() % 20000);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block.executable) % 64, 0u);
      std::memset(block.writable, step & 0x7f, block.size);
      blocks.emplace_back(block, static_cast<char>(step & 0x7f));
    }
  }
  const CodeBlock large = memory.allocate(3 << 20);
  memory.free(large);
  for (auto& [block, mark] : blocks) memory.free(block);
  EXPECT_EQ(views(), before + 2);  // one empty slab is kept
}

TEST(ObjectLoader, LoadsCodeConstantsAndCalls) {
  CodeMemory memory;
  const LoadedObject loaded = load_object(tiny_object(), kUnitSymbol, memory);
  float out[16] = {};
  char* pointers[] = {reinterpret_cast<char*>(out)};
  const std::int64_t slots[] = {3};
  const double scale[] = {0.5, 0};
  reinterpret_cast<UnitFunction>(loaded.entry)(pointers, slots, scale);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(out[i], 2 * static_cast<float>(1 + (i + 3) % 16) + 0.5f);
  memory.free(loaded.block);
}

TEST(ObjectLoader, RefusesOtherSymbolsAndFiles) {
  CodeMemory memory;
  EXPECT_THROW(load_object(tiny_object(), "other", memory), std::runtime_error);
  EXPECT_THROW(load_object("", kUnitSymbol, memory), std::runtime_error);
  EXPECT_THROW(load_object(std::string(5000, 'x'), kUnitSymbol, memory), std::runtime_error);
}

TEST(PrebuiltUnits, AreFoundByTheirWholeKey) {
  alignas(64) static const char code[256] = {};
  std::vector<PrebuiltUnits::Unit> units;
  for (std::uint64_t u = 0; u < 100; ++u) units.push_back({"unit " + std::to_string(u * 7), u});
  const std::string made = PrebuiltUnits::make_index(units, "me");
  std::vector<std::max_align_t> aligned(made.size() / sizeof(std::max_align_t) + 1);
  std::memcpy(aligned.data(), made.data(), made.size());
  const std::span<const char> index(reinterpret_cast<const char*>(aligned.data()), made.size());
  const PrebuiltUnits found(index, code, "me");
  EXPECT_EQ(found.size(), 100u);
  for (const PrebuiltUnits::Unit& unit : units)
    EXPECT_EQ(reinterpret_cast<const char*>(found.find(unit.key)), code + unit.code_at);
  EXPECT_EQ(found.find("unit 1"), nullptr);
  EXPECT_EQ(found.find("unit"), nullptr);
  // Of another build, of none, or cut short.
  EXPECT_EQ(PrebuiltUnits(index, code, "you").size(), 0u);
  EXPECT_EQ(PrebuiltUnits({}, code, "me").find("unit 7"), nullptr);
  EXPECT_EQ(PrebuiltUnits(index.first(200), code, "me").size(), 0u);
}

// Loading is all that is tried: what a damaged object computes is the checksum's business.
TEST(ObjectLoader, SurvivesDamage) {
  const std::string object = tiny_object();
  CodeMemory memory;
  auto try_load = [&](const std::string& bytes) {
    try {
      memory.free(load_object(bytes, kUnitSymbol, memory).block);
    } catch (const std::runtime_error&) {
    }
  };
  for (std::size_t length = 0; length < object.size(); ++length) try_load(object.substr(0, length));
  for (std::size_t at = 0; at < object.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = object;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      try_load(damaged);
    }
}

}  // namespace
}  // namespace einjit
