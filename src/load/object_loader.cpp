#include "load/object_loader.hpp"

#include <elf.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace einjit {
namespace {

// A jump to an address anywhere: jmp *0(%rip), and the address; ldr x16, #8; br x16 on AArch64.
constexpr std::size_t kStubBytes = 16;

[[noreturn]] void fail(std::string_view what) {
  throw std::runtime_error(fmt::format("object file: {}", what));
}

// Functions that code may call where an instruction set lacks the instruction.
void* function_named(std::string_view name) {
  static const std::pair<std::string_view, void*> functions[] = {
      {"fma", reinterpret_cast<void*>(static_cast<double (*)(double, double, double)>(std::fma))},
      {"fmaf", reinterpret_cast<void*>(static_cast<float (*)(float, float, float)>(std::fma))},
      {"memcpy", reinterpret_cast<void*>(std::memcpy)},
      {"memset", reinterpret_cast<void*>(std::memset)},
  };
  for (const auto& [known, address] : functions)
    if (known == name) return address;
  fail(fmt::format("unknown function '{}'", name));
}

class Loader {
 public:
  Loader(std::string_view object, CodeMemory& memory) : object_(object), memory_(memory) {}

  LoadedObject run(std::string_view symbol) {
    read_header();
    place_sections();
    block_ = memory_.allocate(size_);
    try {
      copy_sections();
      for (const Elf64_Shdr& section : sections_)
        if (section.sh_type == SHT_RELA) relocate(section);
      char* const begin = block_.executable;
      __builtin___clear_cache(begin, begin + block_.size);
      return {block_, begin + offset_of(symbol)};
    } catch (...) {
      memory_.free(block_);
      throw;
    }
  }

 private:
  // A structure at an offset of the file.
  template <class T>
  T read(std::uint64_t offset) const {
    if (offset > object_.size() || object_.size() - offset < sizeof(T)) fail("cut short");
    T value;
    std::memcpy(&value, object_.data() + offset, sizeof value);
    return value;
  }

  void read_header() {
    const auto header = read<Elf64_Ehdr>(0);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_type != ET_REL)
      fail("not a 64-bit relocatable object");
    machine_ = header.e_machine;
#if defined(__x86_64__)
    if (machine_ != EM_X86_64) fail("of another machine");
#elif defined(__aarch64__)
    if (machine_ != EM_AARCH64) fail("of another machine");
#endif
    for (int s = 0; s < header.e_shnum; ++s)
      sections_.push_back(
          read<Elf64_Shdr>(header.e_shoff + static_cast<std::uint64_t>(s) * sizeof(Elf64_Shdr)));
    for (const Elf64_Shdr& section : sections_)
      if (section.sh_type == SHT_SYMTAB) {
        if (section.sh_entsize != sizeof(Elf64_Sym) || section.sh_link >= sections_.size())
          fail("damaged symbol table");
        symbols_ = section;
        names_ = bytes_of(sections_[section.sh_link]);
      }
  }

  std::string_view bytes_of(const Elf64_Shdr& section) const {
    if (section.sh_offset > object_.size() || object_.size() - section.sh_offset < section.sh_size)
      fail("cut short");
    return object_.substr(section.sh_offset, section.sh_size);
  }

  // Code and constants, one after the other; tables for unwinding are not needed.
  static bool is_loaded(const Elf64_Shdr& section) {
    return (section.sh_flags & SHF_ALLOC) && section.sh_type == SHT_PROGBITS;
  }

  void place_sections() {
    places_.assign(sections_.size(), 0);
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      if (!is_loaded(sections_[s])) continue;
      const std::uint64_t align = std::max<std::uint64_t>(sections_[s].sh_addralign, 1);
      if (align > 64 || (align & (align - 1)) != 0) fail("odd alignment");
      size_ = (size_ + align - 1) / align * align;
      places_[s] = size_;
      size_ += bytes_of(sections_[s]).size();
    }
    if (size_ == 0) fail("no code");
    size_ = (size_ + kStubBytes - 1) / kStubBytes * kStubBytes;
    stubs_at_ = size_;
    for (std::uint64_t i = 1; i < symbol_count(); ++i)
      if (symbol(i).st_shndx == SHN_UNDEF) size_ += kStubBytes;
  }

  void copy_sections() {
    for (std::size_t s = 0; s < sections_.size(); ++s)
      if (is_loaded(sections_[s])) {
        const std::string_view bytes = bytes_of(sections_[s]);
        std::memcpy(block_.writable + places_[s], bytes.data(), bytes.size());
      }
  }

  std::uint64_t symbol_count() const { return symbols_.sh_size / sizeof(Elf64_Sym); }
  Elf64_Sym symbol(std::uint64_t index) const {
    if (index >= symbol_count()) fail("no such symbol");
    return read<Elf64_Sym>(symbols_.sh_offset + index * sizeof(Elf64_Sym));
  }
  std::string_view name_of(const Elf64_Sym& symbol) const {
    if (symbol.st_name >= names_.size()) fail("damaged names");
    const std::string_view rest = names_.substr(symbol.st_name);
    return rest.substr(0, rest.find('\0'));
  }

  // Where a symbol lies in the block. One that is not in the object gets a jump to it.
  std::uint64_t place_of(const Elf64_Sym& symbol) {
    if (symbol.st_shndx == SHN_UNDEF) return stub_to(function_named(name_of(symbol)));
    if (symbol.st_shndx >= sections_.size() || !is_loaded(sections_[symbol.st_shndx]))
      fail("a symbol lies outside of code and constants");
    if (symbol.st_value > sections_[symbol.st_shndx].sh_size) fail("a symbol lies nowhere");
    return places_[symbol.st_shndx] + symbol.st_value;
  }

  std::uint64_t offset_of(std::string_view name) {
    for (std::uint64_t i = 1; i < symbol_count(); ++i)
      if (const Elf64_Sym s = symbol(i); s.st_shndx != SHN_UNDEF && name_of(s) == name)
        return place_of(s);
    fail(fmt::format("no function '{}'", name));
  }

  std::uint64_t stub_to(void* function) {
    for (const auto& [known, place] : stubs_)
      if (known == function) return place;
    const std::uint64_t place = stubs_at_ + stubs_.size() * kStubBytes;
    if (place + kStubBytes > size_) fail("too many functions");
    static constexpr unsigned char kX86[] = {0xff, 0x25, 0, 0, 0, 0};
    static constexpr std::uint32_t kArm[] = {0x58000050, 0xd61f0200};
    char* at = block_.writable + place;
    const bool is_x86 = machine_ == EM_X86_64;
    std::memcpy(at, is_x86 ? static_cast<const void*>(kX86) : kArm, is_x86 ? 6 : 8);
    std::memcpy(at + (is_x86 ? 6 : 8), &function, sizeof function);
    stubs_.emplace_back(function, place);
    return place;
  }

  void relocate(const Elf64_Shdr& table) {
    if (table.sh_info >= sections_.size()) fail("damaged relocations");
    const Elf64_Shdr& section = sections_[table.sh_info];
    if (!is_loaded(section)) return;
    for (std::uint64_t at = 0; at + sizeof(Elf64_Rela) <= table.sh_size; at += sizeof(Elf64_Rela)) {
      const auto entry = read<Elf64_Rela>(table.sh_offset + at);
      if (entry.r_offset > section.sh_size || section.sh_size - entry.r_offset < 4)
        fail("a relocation lies nowhere");
      const std::uint64_t place = places_[table.sh_info] + entry.r_offset;
      const std::uint64_t target = place_of(symbol(ELF64_R_SYM(entry.r_info)));
      const auto type = ELF64_R_TYPE(entry.r_info);
      machine_ == EM_X86_64 ? patch_x86(type, place, target, entry.r_addend)
                            : patch_arm(type, place, target, entry.r_addend);
    }
  }

  void patch_x86(std::uint64_t type, std::uint64_t place, std::uint64_t target,
                 std::int64_t addend) {
    if (type != R_X86_64_PC32 && type != R_X86_64_PLT32)
      fail(fmt::format("relocation {} is not known", type));
    const auto value = static_cast<std::int32_t>(static_cast<std::int64_t>(target) + addend -
                                                 static_cast<std::int64_t>(place));
    std::memcpy(block_.writable + place, &value, sizeof value);
  }

  void patch_arm(std::uint64_t type, std::uint64_t place, std::uint64_t target,
                 std::int64_t addend) {
    const auto base = reinterpret_cast<std::uint64_t>(block_.executable);
    const std::uint64_t from = base + place;
    const std::uint64_t to = base + target + static_cast<std::uint64_t>(addend);
    std::uint32_t code;
    std::memcpy(&code, block_.writable + place, sizeof code);
    auto low_bits = [&](int shift) {
      code |= static_cast<std::uint32_t>((to & 0xfff) >> shift) << 10;
    };
    switch (type) {
      case R_AARCH64_CALL26:
      case R_AARCH64_JUMP26:
        code |= static_cast<std::uint32_t>((to - from) >> 2) & 0x3ffffff;
        break;
      case R_AARCH64_ADR_PREL_PG_HI21: {
        const auto pages = static_cast<std::uint32_t>((to >> 12) - (from >> 12));
        code |= (pages & 3) << 29 | (pages >> 2 & 0x7ffff) << 5;
        break;
      }
      case R_AARCH64_ADD_ABS_LO12_NC:
      case R_AARCH64_LDST8_ABS_LO12_NC:
        low_bits(0);
        break;
      case R_AARCH64_LDST32_ABS_LO12_NC:
        low_bits(2);
        break;
      case R_AARCH64_LDST64_ABS_LO12_NC:
        low_bits(3);
        break;
      case R_AARCH64_LDST128_ABS_LO12_NC:
        low_bits(4);
        break;
      default:
        fail(fmt::format("relocation {} is not known", type));
    }
    std::memcpy(block_.writable + place, &code, sizeof code);
  }

  std::string_view object_;
  CodeMemory& memory_;
  int machine_ = EM_NONE;
  std::vector<Elf64_Shdr> sections_;
  std::vector<std::uint64_t> places_;  // of each section in the block
  Elf64_Shdr symbols_ = {};
  std::string_view names_;
  std::uint64_t size_ = 0, stubs_at_ = 0;
  std::vector<std::pair<void*, std::uint64_t>> stubs_;
  CodeBlock block_;
};

}  // namespace

LoadedObject load_object(std::string_view object, std::string_view symbol, CodeMemory& memory) {
  return Loader(object, memory).run(symbol);
}

}  // namespace einjit
