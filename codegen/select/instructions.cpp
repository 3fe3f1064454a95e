#include "instructions.hpp"

#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/CodeGen/TargetRegisterInfo.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace einjit {
namespace {

// $t is S or D by the element, $z the register's size.
struct Pattern {
  Op op;
  const char* vector;
  const char* scalar;  // null: there is none
};
constexpr Pattern kPatterns[] = {
    {Op::load, "VMOVUP$t$zrm", "VMOVS$t$zrm_alt"},
    {Op::store, "VMOVUP$t$zmr", "VMOVS$t$zmr"},
    {Op::stream, "VMOVNTP$t$zmr", nullptr},
    {Op::load_masked, "VMOVUP$t$zrmkz", nullptr},
    {Op::store_masked, "VMOVUP$t$zmrk", nullptr},
    {Op::broadcast, "VBROADCASTS$t$zrr", nullptr},
    {Op::broadcast_load, "VBROADCASTS$t$zrm", nullptr},
    {Op::add, "VADDP$t$zrr", "VADDS$t$zrr"},
    {Op::add_load, "VADDP$t$zrm", "VADDS$t$zrm"},
    {Op::add_broadcast, "VADDP$t$zrmb", nullptr},
    {Op::multiply, "VMULP$t$zrr", "VMULS$t$zrr"},
    {Op::multiply_load, "VMULP$t$zrm", "VMULS$t$zrm"},
    {Op::multiply_broadcast, "VMULP$t$zrmb", nullptr},
    {Op::fma, "VFMADD231P$t$zr", "VFMADD231S$t$zr"},
    {Op::fma_load, "VFMADD231P$t$zm", "VFMADD231S$t$zm"},
    {Op::fma_broadcast, "VFMADD231P$t$zmb", nullptr},
    {Op::unpack_low, "VUNPCKLP$t$zrr", nullptr},
    {Op::unpack_high, "VUNPCKHP$t$zrr", nullptr},
    {Op::blend, "VBLENDMP$t$zrrk", nullptr},
    {Op::permute, "VPERMT2P$t$zrr", nullptr},
    {Op::gather, "VGATHERQP$t$zrm", nullptr},
    {Op::scatter, "VSCATTERQP$t$zmr", nullptr},
};
// What only AVX-512 has.
constexpr Op kWide[] = {Op::add_broadcast, Op::multiply_broadcast,
                        Op::fma_broadcast, Op::permute,
                        Op::gather,        Op::scatter};

constexpr std::pair<Plain, const char*> kPlain[] = {
    {Plain::load64, "MOV64rm"},
    {Plain::load32, "MOV32rm"},
    {Plain::extend32, "MOVSX64rr32"},
    {Plain::address, "LEA64r"},
    {Plain::constant32, "MOV32ri"},
    {Plain::constant64_short, "MOV32ri64"},
    {Plain::constant64, "MOV64ri32"},
    {Plain::constant64_long, "MOV64ri"},
    {Plain::add, "ADD64rr"},
    {Plain::multiply, "IMUL64rr"},
    {Plain::multiply_constant, "IMUL64rri32"},
    {Plain::subtract, "SUB64rr"},
    {Plain::subtract_constant, "SUB64ri32"},
    {Plain::and_constant, "AND64ri32"},
    {Plain::exclusive_or, "XOR64rr"},
    {Plain::shift_right, "SHR64ri"},
    {Plain::compare, "CMP64rr"},
    {Plain::compare_constant, "CMP64ri32"},
    {Plain::test, "TEST64rr"},
    {Plain::test_bool, "TEST8rr"},
    {Plain::and_bool, "AND8rr"},
    {Plain::set_bool, "SETCCr"},
    {Plain::extend_bool, "MOVZX32rr8"},
    {Plain::negate32, "NEG32r"},
    {Plain::choose, "CMOV64rr"},
    {Plain::jump, "JMP_1"},
    {Plain::jump_if, "JCC_1"},
    {Plain::leave, "RET64"},
    {Plain::prefetch_l1, "PREFETCHT0"},
    {Plain::prefetch_l2, "PREFETCHT1"},
    {Plain::prefetch_to_write, "PREFETCHW"},
};

// A number between `first` and `last`, whose names are in order; 0 if there is none.
unsigned find_between(const llvm::MCInstrInfo& names, llvm::StringRef name, unsigned first,
                      unsigned last) {
  while (first < last) {
    const unsigned middle = first + (last - first) / 2;
    if (names.getName(middle) < name)
      first = middle + 1;
    else
      last = middle;
  }
  return first < names.getNumOpcodes() && names.getName(first) == name ? first : 0;
}

// LLVM's tables hold its own, then the target's pseudo instructions, then all others, the latter
// two in alphabetical order.
unsigned find(const llvm::MCInstrInfo& names, llvm::StringRef name) {
  unsigned first = llvm::TargetOpcode::GENERIC_OP_END + 1, last = names.getNumOpcodes();
  unsigned low = first, high = last;
  while (low < high) {
    const unsigned middle = low + (high - low) / 2;
    if (names.get(middle).isPseudo())
      low = middle + 1;
    else
      high = middle;
  }
  if (const unsigned found = find_between(names, name, first, low)) return found;
  return find_between(names, name, low, last);
}

std::string filled_in(std::string_view pattern, char type, std::string_view size) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '$')
      name += pattern[i];
    else if (pattern[++i] == 't')
      name += type;
    else
      name += size;
  }
  return name;
}

}  // namespace

Instructions::Instructions(const llvm::TargetSubtargetInfo& machine, Isa isa) {
  const llvm::MCInstrInfo& names = *machine.getInstrInfo();
  for (const auto& [plain, name] : kPlain) {
    plain_[static_cast<std::size_t>(plain)] = einjit::find(names, name);
    is_complete_ &= find(plain) != 0;
  }
  find_vectors(names, isa);
  find_registers(*machine.getRegisterInfo());
}

void Instructions::find_vectors(const llvm::MCInstrInfo& names, Isa isa) {
  const bool is_wide = isa == Isa::x86_64_v4;
  is_wide_ = is_wide;
  const std::array<const char*, 4> sizes = is_wide
                                               ? std::array{"Z", "Z128", "Z256", "Z"}
                                               : std::array<const char*, 4>{"", "", "Y", nullptr};
  auto set = [&](Op op, int type, Shape shape, const std::string& name) {
    unsigned& number = vector_[index_of(op)][type][static_cast<std::size_t>(shape)];
    number = einjit::find(names, name);
    is_complete_ &= number != 0;
  };
  for (int type : {0, 1}) {
    const char letter = type ? 'D' : 'S';
    for (int s = 0; s < 4; ++s) {
      if (!sizes[s]) continue;
      const auto shape = static_cast<Shape>(s);
      for (const Pattern& pattern : kPatterns) {
        const char* text = s == 0 ? pattern.scalar : pattern.vector;
        if (!text || (!is_wide && std::ranges::find(kWide, pattern.op) != std::end(kWide)))
          continue;
        // Two lanes of 64 bits have a name of their own.
        const bool is_pair = type == 1 && shape == Shape::bits128;
        if (is_pair && pattern.op == Op::broadcast) text = "VMOVDDUP$zrr";
        if (is_pair && pattern.op == Op::broadcast_load) text = "VMOVDDUP$zrm";
        if (!is_wide && pattern.op == Op::load_masked) text = s ? "VMASKMOVP$t$zrm" : nullptr;
        if (!is_wide && pattern.op == Op::blend) text = s ? "VBLENDVP$t$zrrr" : nullptr;
        if (!is_wide && pattern.op == Op::store_masked) text = s ? "VMASKMOVP$t$zmr" : nullptr;
        set(pattern.op, type, shape, filled_in(text, letter, sizes[s]));
      }
    }
    set(Op::zero, type, Shape::scalar,
        filled_in(is_wide ? "AVX512_FsFLD0S$t" : "FsFLD0S$t", letter, ""));
    set(Op::zero, type, Shape::bits128, is_wide ? "AVX512_128_SET0" : "V_SET0");
    set(Op::zero, type, Shape::bits256, is_wide ? "AVX512_256_SET0" : "AVX_SET0");
    set(Op::pick_lanes, type, Shape::bits256, is_wide ? "VSHUFF64X2Z256rri" : "VPERM2F128rr");
    set(Op::upper_half, type, Shape::bits256, is_wide ? "VEXTRACTF32x4Z256rr" : "VEXTRACTF128rr");
    const std::string join = is_wide ? "VINSERTF32x4Z256r" : "VINSERTF128r";
    set(Op::join_halves, type, Shape::bits256, join + "r");
    set(Op::join_halves_load, type, Shape::bits256, join + "m");
    if (!is_wide) continue;
    set(Op::zero, type, Shape::bits512, "AVX512_512_SET0");
    set(Op::pick_lanes, type, Shape::bits512, "VSHUFF64X2Zrri");
    set(Op::upper_half, type, Shape::bits512, "VEXTRACTF64x4Zrr");
    set(Op::join_halves, type, Shape::bits512, "VINSERTF64x4Zrr");
    set(Op::join_halves_load, type, Shape::bits512, "VINSERTF64x4Zrm");
  }
  auto set_plain = [&](unsigned& number, const char* name) {
    number = einjit::find(names, name);
    is_complete_ &= number != 0;
  };
  set_plain(plain_[static_cast<std::size_t>(Plain::narrow)],
            is_wide ? "VCVTSD2SSZrr" : "VCVTSD2SSrr");
  if (!is_wide) {
    set_plain(plain_[static_cast<std::size_t>(Plain::to_vector)], "VMOVDI2PDIrr");
    for (int s = 1; s < 3; ++s) {
      set_plain(compare_[s], filled_in("VPCMPGTD$zrr", ' ', sizes[s]).c_str());
      set_plain(spread_[s], filled_in("VPBROADCASTD$zrr", ' ', sizes[s]).c_str());
      set_plain(and_[s], filled_in("VPAND$zrr", ' ', sizes[s]).c_str());
      set_plain(widen_[s], filled_in("VPMOVSXDQ$zrr", ' ', sizes[s]).c_str());
    }
    return;
  }
  set_plain(plain_[static_cast<std::size_t>(Plain::mask_from_32)], "KMOVWkr");
  set_plain(plain_[static_cast<std::size_t>(Plain::and_masks)], "KANDWrr");
  set_plain(plain_[static_cast<std::size_t>(Plain::shift_mask)], "KSHIFTRWri");
  for (int s = 1; s < 4; ++s) {
    set_plain(compare_[s], filled_in("VPCMPUD$zrri", ' ', sizes[s]).c_str());
    set_plain(spread_[s], filled_in("VPBROADCASTDr$zrr", ' ', sizes[s]).c_str());
    set_plain(spread_offsets_[s], filled_in("VPBROADCASTQr$zrr", ' ', sizes[s]).c_str());
    set_plain(multiply_offsets_[s], filled_in("VPMULLQ$zrr", ' ', sizes[s]).c_str());
  }
}

void Instructions::find_registers(const llvm::TargetRegisterInfo& registers) {
  auto find_register = [&](llvm::StringRef name) {
    for (unsigned r = 1; r < registers.getNumRegs(); ++r)
      if (name == registers.getName(r)) return llvm::MCRegister(r);
    is_complete_ = false;
    return llvm::MCRegister();
  };
  auto find_part = [&](llvm::StringRef name) {
    for (unsigned s = 1; s < registers.getNumSubRegIndices(); ++s)
      if (name == registers.getSubRegIndexName(s)) return s;
    is_complete_ = false;
    return 0u;
  };
  arguments_ = {find_register("RDI"), find_register("RSI"), find_register("RDX")};
  rip_ = find_register("RIP");
  low32_ = find_part("sub_32bit");
  low128_ = find_part("sub_xmm");
  low256_ = find_part("sub_ymm");
}

}  // namespace einjit
