// A contraction on a target with what the cost model and the scheduler ask of it for every one of
// the hundreds of schedules they compare, computed once.
#pragma once

#include <vector>

#include "einjit/target.hpp"
#include "index_ir/contraction.hpp"

namespace einjit {

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

inline constexpr std::int64_t kPage = 4096;        // bytes
inline constexpr std::int64_t kPagesTogether = 8;  // whose entries are a line of the table
inline constexpr double kShareOfL3 = 0.375;        // that others leave

// A label an operand moves along.
struct Move {
  Label label;
  double stride;  // elements, without its sign
  double stride_bytes;
  double page_part;  // the largest power of two up to a page that divides stride_bytes
};

// One operand of a problem.
struct Operand {
  Operand(const Contraction& contraction, const Access& access);

  const Access* access;
  std::vector<Move> moves;  // by rising stride
  double positions, elements;
  bool is_summed;  // it moves along a reduced label
  // In elements: the largest power of two of which all strides but 1 are multiples, and, of an
  // output, where it begins: so are the places where its rows do.
  std::int64_t row_alignment;
};

// Where an output begins: at a cache line, as most large arrays do, or anywhere on one, as those do
// that malloc gives or that lie within others.
enum class Placement : std::uint8_t { at_line, anywhere };

struct Problem {
  // Contraction and target must outlive it.
  Problem(const Contraction& contraction, const Target& target,
          Placement placement = Placement::at_line);

  std::int64_t vectors_in(std::int64_t elements) const {
    return (elements + lanes - 1) >> lane_bits;
  }
  // Of an empty sum one step is counted: its stores remain.
  double extent(Label l) const { return l < 0 ? 1 : extents[static_cast<std::size_t>(l)]; }

  // Whether an operand is much larger than L2, which its copies share.
  bool is_from_memory(const Operand& a) const {
    return a.elements * static_cast<double>(item) > 2 * static_cast<double>(target.l2_bytes);
  }

  // Whether it is so much larger than L2 that what comes next finds little of it there, or, where
  // L3 is as far as memory, that it does not lie there itself.
  bool outgrows_l2(const Operand& a) const;
  // And in L3: outputs are written past the caches, inputs asked for.
  bool outgrows_caches(const Operand& a) const { return outgrows_l2(a) && !is_held_by_l3; }

  const Contraction& c;
  const Target& target;
  std::int64_t item;   // bytes of an element
  std::int64_t lanes;  // elements of a vector: 1 << lane_bits
  int lane_bits;
  double points, bytes;         // multiply-adds of one loop nest; byte_count()
  std::vector<double> extents;  // per label, at least 1
  std::vector<Label> kept, reduced;
  std::vector<Operand> in;
  Operand out;
  // A copy that L3 has room for, beside others, and whose rows do not share few sets of L1 and L2.
  bool is_held_by_l3;
  int large_inputs;     // that outgrow the caches
  Placement placement;  // of the output
};

}  // namespace einjit
