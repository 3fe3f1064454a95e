// From a loop nest to something that runs: code units for its tiles, and the loops above them as
// flat data that run() walks. A new shape of a known kind makes a plan without compiling anything.
//
// The loops right above a tile go into the tile's unit. If all of them do, the plan is `direct`:
// one call. UnitShape::constant bakes every size into the units (for small kernels, where it pays);
// UnitShape::argument leaves them as slots, and cuts each absorbed loop into its whole pieces and
// its tail, so that units know of no tails and are shared widely. Of a loop over a sum the first
// piece is cut off, too: later ones add to it.
#pragma once

#include <bit>
#include <memory>
#include <span>
#include <vector>

#include "einjit/executor.hpp"
#include "loop_ir/loop_nest.hpp"
#include "plan/arena.hpp"
#include "unit/unit.hpp"

namespace einjit {

// UnitShape::dynamic is between the two, for contractions with dynamic labels: what these decide is
// left as slots, everything else is baked in.
enum class UnitShape : std::uint8_t { constant, dynamic, argument };

struct PlanNode {
  enum class Kind : std::uint8_t { loop, parallel_loop, split, scratch, ask, call, drain };
  Kind kind;
  int end = 0;            // one past this node's subtree; its children follow it
  Label label = -1;       // loop, split
  std::int64_t step = 1;  // loop, split
  int bit = -1;           // loop, split of step > 1: set in the mask while in a shorter piece
  // The shorter piece comes in pieces of powers of two, of a bit each from `bit` on: so few units
  // serve every extent.
  bool has_powers = false;
  // The first piece ends where a cache line of the output begins. What is not a whole piece comes
  // in pieces of at most a vector.
  bool is_aligned = false;
  bool is_carried = false;  // tiles inside are told of its first and last piece
  // Nothing cuts the label further before a tile holds it in registers, as vectors or otherwise.
  bool is_innermost = false, is_masked = false;
  bool stores_first = false;  // split of a sum: the first piece stores, later ones add
  int first_bit = -1;         // if so: set in the mask while in the first piece
  bool holds_sums = false;    // scratch
  int addition = 0;           // if so: the first of the nodes that add them to what is outside
  // parallel_loop: its only child is a scratch of sums, of which each piece has its own; they are
  // added in turn.
  bool fills_buffers = false;
  int index = -1;  // number of the buffer of a scratch, the list of an ask, the call, the drain
};

// The bit of a shorter piece of the node.
inline std::uint64_t partial_bit(const PlanNode& node, std::int64_t length) {
  const int power = node.has_powers ? std::bit_width(static_cast<std::uint64_t>(length)) - 1 : 0;
  return node.bit < 0 ? 0 : std::uint64_t{1} << (node.bit + power);
}

// What a split cuts a range of this length into, of whose first piece the length is given.
struct SplitLengths {
  std::int64_t first, main, tail;
};
inline SplitLengths split_lengths(const PlanNode& node, std::int64_t length, std::int64_t first) {
  const std::int64_t tail = (length - first) % node.step;
  return {first, length - first - tail, tail};
}

inline std::uint64_t first_bit(const PlanNode& node) {
  return node.first_bit < 0 ? 0 : std::uint64_t{1} << node.first_bit;
}

// A tile's calls. Which unit runs depends on the shorter pieces around it and on being first.
struct PlanCall {
  struct Move {
    Label label;
    std::int64_t bytes, shift_bytes;
  };
  struct Operand {
    int buffer;
    std::vector<Move> moves;  // bytes per unit of lo, and of shift
  };
  struct Variant {
    std::uint64_t mask;
    bool is_first;  // on the first pieces of all reduced labels, or of those of the buffer
    Unit unit;
    std::vector<std::int64_t> slots;
    std::int64_t lines_ahead;  // entries of the list that a call goes through
    // Slots for the length of an aligned label's piece, known at the call: whole steps in it, and
    // elements of its last vector. -1: none.
    Label aligned = -1;
    std::int64_t step = 1;
    int trips_slot = -1, active_slot = -1;
    int edge_slot = -1;  // for what a carried loop's piece begins and ends
    bool is_measured() const { return aligned >= 0 || edge_slot >= 0; }
    // The unit, and the one for beta = 0: the old output is not read.
    std::shared_ptr<const CompiledUnit> code[2];
  };
  std::vector<Operand> operands;  // output first
  std::vector<Label> reduced;     // reduced labels that loops above cut, inside the buffer if any
  int sums = -1;                  // the scratch buffer it sums in
  bool asks = false;              // for lines of the list of the ask around it
  std::vector<Variant> variants;
};

// A box of an operand that is asked for while the one before is used.
struct PlanAhead {
  int operand;
  std::vector<std::int64_t> moves;    // bytes per lo and label
  std::vector<std::int32_t> offsets;  // of its lines, from the first element of the box
};

// A buffer's way to the output: labels by rising stride in the output, bytes of a step in both.
struct PlanDrain {
  struct Move {
    Label label;
    std::int64_t to, from;
  };
  int buffer;
  std::vector<Move> moves;
  Unit unit;  // of a run
  std::shared_ptr<const CompiledUnit> code;
};

struct Plan {
  std::vector<PlanNode> nodes;
  std::vector<PlanCall> calls;
  std::vector<std::int64_t> extents;                     // per label
  std::vector<std::vector<std::int64_t>> scratch_moves;  // per buffer and label: bytes per lo
  std::vector<std::int64_t> scratch_bytes;
  std::vector<PlanAhead> ahead;  // per ask
  std::vector<PlanDrain> drains;
  std::vector<std::int64_t> out_moves;  // of the output: bytes per label's lo
  std::int64_t item_bytes = 0;
  std::int64_t lanes = 1;          // of a vector
  std::size_t measured_slots = 0;  // the most slots of a variant that is measured
  int operand_count = 0;           // output and inputs
  bool is_direct = false;
  bool has_sums = false;     // in some scratch buffer
  bool is_streamed = false;  // some unit streams its stores
};

// Without units: their code is filled in by load_units. `nest` must verify.
Plan make_plan(const LoopNest& nest, UnitShape shape);
// The same with the units of every extent that dynamic labels, or all, may have. It is not for
// running.
enum class Cover : std::uint8_t { nothing, dynamic_labels, all_labels };
Plan make_covering_plan(const LoopNest& nest, Cover cover, UnitShape shape = UnitShape::argument);
// Compiles what the provider does not have, several units at once if the executor can.
void load_units(std::span<Plan* const> plans, UnitProvider& provider, const Executor& executor);

// False if there was no memory for scratch; the output's contents are then undefined. The calling
// thread's scratch comes from `arena`, that of an executor's other threads from their own.
bool run(const Plan& plan, char* const* operands, const double* scale, const Executor& executor,
         Arena& arena);

// The most bytes a run takes of the arena.
std::size_t arena_bytes(const Plan& plan);

}  // namespace einjit
