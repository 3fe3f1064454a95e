// x86's instructions by the names LLVM's tables give them: their numbers are private to its target.
#pragma once

#include <llvm/CodeGen/TargetSubtargetInfo.h>

#include <array>
#include <cstdint>

#include "einjit/target.hpp"

namespace einjit {

// What is done to a value of floating-point elements. `..._load` reads its last factor or summand
// from memory, `..._broadcast` one element of it for all lanes.
enum class Op : std::uint8_t {
  load,
  store,
  stream,
  load_masked,  // lanes out of the mask are zero
  store_masked,
  broadcast,
  broadcast_load,
  zero,
  add,
  add_load,
  add_broadcast,
  multiply,
  multiply_load,
  multiply_broadcast,
  fma,  // the first operand plus the product of the others
  fma_load,
  fma_broadcast,
  unpack_low,
  unpack_high,
  pick_lanes,  // 128 bits each, by an immediate
  upper_half,
  join_halves,  // the second operand becomes the upper half, by an immediate of 1
  join_halves_load,
  blend,
  permute,  // of two registers, by a third
  gather,   // by indices of 64 bits: of the shape that holds these
  scatter,
  count
};

// What is done to integers, addresses and masks.
enum class Plain : std::uint8_t {
  load64,
  load32,
  extend32,
  address,
  constant32,
  constant64_short,  // 32 bits, not negative
  constant64,        // 32 bits with their sign
  constant64_long,
  add,
  multiply,
  multiply_constant,
  subtract,
  subtract_constant,
  and_constant,
  exclusive_or,
  shift_right,
  compare,
  compare_constant,
  test,
  test_bool,
  and_bool,
  set_bool,
  extend_bool,
  negate32,
  choose,
  jump,
  jump_if,
  leave,
  prefetch_l1,
  prefetch_l2,
  prefetch_to_write,
  mask_from_32,
  and_masks,
  shift_mask,
  to_vector,  // 32 bits into the first lane
  narrow,     // f64 to f32
  count
};

// How a value lies in registers.
enum class Shape : std::uint8_t { scalar, bits128, bits256, bits512, count };

class Instructions {
 public:
  Instructions(const llvm::TargetSubtargetInfo& machine, Isa isa);

  // 0 if the machine has none.
  unsigned find(Op op, bool is_f64, Shape shape) const {
    return vector_[index_of(op)][is_f64][static_cast<std::size_t>(shape)];
  }
  unsigned find(Plain plain) const { return plain_[static_cast<std::size_t>(plain)]; }
  // Lanes of 32 bits: with AVX-512, the mask of those that compare with another's as an immediate
  // says; else all ones where they are greater.
  unsigned compare_lanes(Shape shape) const { return compare_[static_cast<std::size_t>(shape)]; }
  unsigned spread_lanes(Shape shape) const { return spread_[static_cast<std::size_t>(shape)]; }
  unsigned and_lanes(Shape shape) const { return and_[static_cast<std::size_t>(shape)]; }
  // To 64 bits, with their signs; `shape` is the result's.
  unsigned widen_lanes(Shape shape) const { return widen_[static_cast<std::size_t>(shape)]; }
  // Lanes of 64 bits.
  unsigned spread_offsets(Shape shape) const {
    return spread_offsets_[static_cast<std::size_t>(shape)];
  }
  unsigned multiply_offsets(Shape shape) const {
    return multiply_offsets_[static_cast<std::size_t>(shape)];
  }

  llvm::MCRegister argument(unsigned index) const { return arguments_[index]; }
  llvm::MCRegister instruction_pointer() const { return rip_; }
  // AVX-512: registers for masks, and whatever Op says that others lack.
  bool is_wide() const { return is_wide_; }
  unsigned low32() const { return low32_; }
  unsigned low128() const { return low128_; }
  unsigned low256() const { return low256_; }

  // Whether LLVM calls everything this needs by the names known here.
  bool is_complete() const { return is_complete_; }

 private:
  static std::size_t index_of(Op op) { return static_cast<std::size_t>(op); }
  void find_vectors(const llvm::MCInstrInfo& names, Isa isa);
  void find_registers(const llvm::TargetRegisterInfo& registers);

  using Shapes = std::array<unsigned, static_cast<std::size_t>(Shape::count)>;
  std::array<std::array<Shapes, 2>, static_cast<std::size_t>(Op::count)> vector_{};
  std::array<unsigned, static_cast<std::size_t>(Plain::count)> plain_{};
  Shapes compare_{}, spread_{}, and_{}, widen_{}, spread_offsets_{}, multiply_offsets_{};
  std::array<llvm::MCRegister, 3> arguments_;
  llvm::MCRegister rip_;
  unsigned low32_ = 0, low128_ = 0, low256_ = 0;
  bool is_wide_ = false;
  bool is_complete_ = true;
};

}  // namespace einjit
