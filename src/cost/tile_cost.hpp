// Floor 3: the closed-form time of a register tile walked over a contraction.
//
// In: a contraction, a target, and a tile in the terms below. Out: cycles on one core with the
// operands in cache; predicted_seconds() knows the other bound. No machine is asked, nothing is
// run.
//
// Per step of the reduction a tile issues one FMA per accumulator, loads each operand's distinct
// values, and must wait out the FMA latency if its accumulators are few; stores and the sum over
// lanes come once a tile.
#pragma once

#include "cost/problem.hpp"

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
  bool is_kept = false;     // the vec label is summed, but only at the end of a tile
  bool is_gray = false;     // the sum's steps in the order of the Gray code, block by block
  bool is_by_rows = false;  // goes along whole rows that are summed, some at a time
  unsigned packed = 0;      // bit k: input k is read from panels

  // Positions of an output label that one tile takes.
  std::int64_t step_of(Label l) const {
    return l == vec ? vec_length : l == unroll ? unroll_length : l == unroll2 ? unroll2_length : 1;
  }
};

// Whether tiles run along their vec label, which is summed.
inline bool runs_along_vec(const Contraction& contraction, const RegisterTile& tile) {
  return tile.vec >= 0 && contraction.is_reduced(tile.vec) && !tile.is_kept;
}

// A tile walked over a problem. How it goes along the sum can be changed, and which inputs it reads
// from panels is said with each question: the rest of the work is shared.
class TileCost {
 public:
  // `may_pack`: the inputs it will be asked about, of the first kMostPacked.
  TileCost(const Problem& problem, const RegisterTile& tile, unsigned may_pack);

  // Takes over the tile's inner label, its steps, their order and chains; its vec and unrolled
  // labels are those of before.
  void set_sum(const RegisterTile& tile);

  // For the whole contraction, the packing of the inputs in the bit set `packed` included.
  double cycles(unsigned packed) const;
  // Of adding all sums once more to what was stored, which every cut of the sum costs.
  double store_cycles() const;

 private:
  static constexpr std::size_t kMostPacked = 2;
  // Of one input in one step: cycles of loads, of shuffles on units that multiply too; rows that
  // come from afar.
  struct Reading {
    double loads = 0, shuffles = 0, rows = 0;
  };
  bool moves(const Operand& a, Label l) const { return l >= 0 && a.access->strides[l] != 0; }
  bool is_contiguous(const Operand& a, Label l) const { return a.access->strides[l] == 1; }
  double vectors_of(std::int64_t length) const;
  bool is_read_again(Label l) const;
  bool is_transposable(const Operand& a) const;
  double turn_shuffles(const Operand& a) const;
  std::int64_t block_length(const Operand& a) const;
  double store_waste(const Operand& a) const;
  double load_parts(const Operand& a) const;
  double load_shuffles(const Operand& a) const;
  double vector_load(const Operand& a, bool is_packed) const;
  Reading reading(const Operand& a, bool is_packed) const;
  double count(const Operand& a) const;
  double stores() const;
  bool is_joined() const;
  double joined_stores(double each) const;
  double packing(unsigned packed) const;
  double turning() const;
  double rows_of_sum(double sums) const;
  bool hides_loop(double operations) const;
  double step_cycles(const Reading& all) const;
  double misled_part(const Operand& a) const;

  const Problem& p_;
  RegisterTile tile_;
  unsigned may_pack_;
  Label innermost_ = -1;
  bool runs_along_vec_;
  double lanes_, shuffles_;  // the latter of a transpose, per vector
  // Of a tile, on average over the tails along each label: vectors along the vec label, elements
  // along the others.
  double vectors_ = 1, unroll_ = 1, unroll2_ = 1;
  double kinds_ = 1;                  // of tiles: with and without tails along each label
  double again_ = 0;                  // parts of labels that are tails and read again
  double tiles_, steps_;              // in all; of one along the whole sum
  Reading readings_[kMostPacked][2];  // from where it lies, and from panels
  double tile_cycles_ = 0;            // beside its steps
};

// Whether an operand's steps along `inner` and its unrolled positions are the same elements
// shifted, as in a sliding window: a tile that unrolls both loads each once.
bool is_window(const Access& access, Label unroll, Label inner);

// Whether a sum goes across rows of the operand that lie in L2 so far apart that the processor's
// prefetchers take each load of a loop for a stream of its own, to the rows' harm.
bool misleads_prefetchers(const Problem& problem, const Operand& operand, Label vec, Label inner);

// Whether a tile copies a line or less of rows of an input into a line or less of rows of the
// output, in arrays that come from memory.
bool moves_blocks(const Problem& problem, const RegisterTile& tile);

// Whether a tile transposes blocks of arrays that the caches hold, into rows of whole lines, and
// there are so many tiles along both labels.
bool transposes_in_cache(const Problem& problem, const RegisterTile& tile, std::int64_t tiles);

// Vector registers the tile holds at once.
int registers_used(const Problem& problem, const RegisterTile& tile);

}  // namespace einjit
