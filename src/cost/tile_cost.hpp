// Floor 3: the closed-form time of a register tile walked over a contraction.
//
// In: a contraction, a target, and a tile in the terms below. Out: cycles on one core with the
// operands in cache; memory_seconds() is the other bound. No machine is asked, nothing is run.
//
// Per step of the reduction a tile issues one FMA per accumulator, loads each operand's distinct
// values, and must wait out the FMA latency if its accumulators are few; stores and the sum over
// lanes come once a tile.
#pragma once

#include "einjit/target.hpp"
#include "index_ir/contraction.hpp"

namespace einjit {

// vec: label and elements; unroll: up to two labels with counts; the reduced label `inner` goes
// innermost (-1: the last one) and is unrolled `steps` times over `chains` sets of accumulators.
// Label -1: none.
struct RegisterTile {
  Label vec = -1;
  std::int64_t vec_length = 1;
  Label unroll = -1;
  std::int64_t unroll_length = 1;
  Label unroll2 = -1;
  std::int64_t unroll2_length = 1;
  Label inner = -1;
  std::int64_t steps = 1;
  int chains = 1;
  unsigned packed = 0;  // bit k: input k is read from panels
};

// Cycles for the whole contraction, packing included.
double tile_cycles(const Contraction& contraction, const Target& target, const RegisterTile& tile);

// Of adding all sums once more to what was stored, which every cut of the sum costs.
double store_cycles(const Contraction& contraction, const Target& target, const RegisterTile& tile);

// Whether an operand's steps along `inner` and its unrolled positions are the same elements
// shifted, as in a sliding window: a tile that unrolls both loads each once.
bool is_window(const Access& access, Label unroll, Label inner);

// Vector registers the tile holds at once.
int registers_used(const Contraction& contraction, const Target& target, const RegisterTile& tile);

// Positions of an operand: one per point of the labels it moves in. A copy has so many elements.
double position_count(const Contraction& contraction, const Access& access);

// Distinct elements an operand has: labels it does not move in do not count, and windows that
// overlap have no more than lie between the first and the last.
double element_count(const Contraction& contraction, const Access& access);

// Bytes that must move at least: every input read once, the output written once (read too if beta
// is not 0).
double byte_count(const Contraction& contraction);

// The least time the bytes and the multiply-adds take: the larger of both, in seconds.
double predicted_seconds(const Contraction& contraction, const Target& target, double cycles);

}  // namespace einjit
