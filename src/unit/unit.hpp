// A code unit: what is compiled at once, shared between shapes and cached by its own key.
//
// A unit is one tile of the loop IR under a chain of loops, stripped of labels and shape: steps,
// factors, roles, tails and unit strides are part of the key; every other number is either a
// constant (a fully specialised unit) or an argument ("slot") given at each call. So a micro-kernel
// with its run-time k, leading dimensions and trip counts serves every shape.
//
// Calling convention: run(pointers, slots, scale). pointers[0] is the output's element at the first
// point, pointers[1 + k] input k's; slots[s] the run-time sizes; scale = {alpha, beta}.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "einjit/target.hpp"
#include "index_ir/contraction.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// A constant, or the number of the argument that holds it.
struct Size {
  std::int64_t value = 0;
  int slot = -1;
  bool is_constant() const { return slot < 0; }
  bool is(std::int64_t constant) const { return slot < 0 && value == constant; }
  bool operator==(const Size&) const = default;
};

// A loop around the tile: `trips` whole pieces of `step`, then one of `tail` (0: none). It cuts
// tile variable `var` (-1: a label that is not in the tile, of step 1).
struct UnitLoop {
  std::int64_t step = 1;
  Size trips;
  std::int64_t tail = 0;
  int var = -1;
  bool operator==(const UnitLoop&) const = default;
};

// A tile variable. In registers (not reduced): `length` elements, or what its loop leaves; with
// `active_slot`, a vec variable's last vector holds only as many elements as that argument says. If
// the output does not move in a vec variable, its elements are added up before they are stored.
// Reduced: `trips` steps of `factor`, then `tail` (< factor) steps; before them `blocks` of `merge`
// such trips, each summed on its own and then added, and before those `superblocks` of `merge`
// blocks. With `tail_slot` the number of tail steps is an argument. Then, and of a sum in blocks,
// each of these numbers may be 0 if it is an argument.
struct UnitVar {
  Role role = Role::unroll;
  bool is_reduced = false;
  std::int64_t length = 1;
  int active_slot = -1;
  bool is_halved =
      false;  // in vectors of half a register's width, some of an input after the other
  std::int64_t factor = 1;
  Size trips;
  std::int64_t tail = 0;
  int tail_slot = -1;
  int chains = 1;
  int merge = 0;
  bool is_gray = false;  // the trips of a block in the order of the Gray code
  Size blocks, superblocks;
  bool operator==(const UnitVar&) const = default;
};

// Strides in elements: per loop for whole positions, per variable inside the box. A padded buffer
// may be read (not written) up to whole vectors.
struct UnitRef {
  std::vector<Size> loop_strides;
  std::vector<Size> var_strides;
  bool padded = false;
  // Of an input: multiplies what the others are summed to over the variables after its last.
  bool is_factored_out = false;
  Size ahead = {};  // of an input: elements further on to ask for, with every vector; 0: none
  bool operator==(const UnitRef&) const = default;
};

// What a store does with the old value of the output. add_if_told: a unit of a sum may be called
// for a later piece of it.
enum class Old : std::uint8_t { ignore, add_if_told, scale_by_beta };

// What a unit is told of storing, if that is an argument; any of these bits. Only a unit that
// `add_if_told` can add. Streaming takes place only where lines are aligned.
// Of a unit that carries, rows that begin or end in its box need parts of lines; it carries nothing
// where it may stream.
enum StoreMode : std::int64_t {
  kAddsOld = 1,
  kStreams = 2,
  kPrefetchesOutput = 4,
  kBeginsRows = 8,
  kEndsRows = 16
};

// Lines asked for from a list: the pointer behind all others is the next entry of an array of
// 32-bit offsets, the one behind it what they are relative to. With `lines_slot` their number, once
// a tile, is an argument; for 0 there need be no such pointers. Units of runs ask with every line.
struct UnitAhead {
  int lines = 0;  // 0: none, and no such pointers
  bool per_step = false;
  int lines_slot = -1;
  bool operator==(const UnitAhead&) const = default;
};

struct Unit {
  DType dtype = DType::f32;
  Alpha alpha = Alpha::one;
  Old old = Old::ignore;
  Store store = Store::cached;
  Prefetch prefetch = Prefetch::none;
  int mode_slot = -1;  // holds a StoreMode, in place of `store` and `prefetch`
  UnitAhead ahead;
  std::vector<UnitLoop> loops;  // outermost first
  bool is_diagonal = false;     // the last two go by diagonals: see LoopSpec
  std::vector<UnitVar> vars;
  UnitRef out;
  std::vector<UnitRef> in;
  // Of what waits of each row's last line, for the next piece of the row; by pointers[operands].
  std::optional<UnitRef> carry;
  // If not -1, all the unit does inside its loops is to write so many elements of its input, one
  // after the other, to the output, past the caches, in whole lines but for the first and the last.
  int run_slot = -1;
  int slot_count = 0;

  // A readable text, equal exactly for equal units.
  std::string key() const;
  // How operand number o is addressed: the output, inputs, what waits.
  const UnitRef& ref(std::size_t o) const {
    return o == 0 ? out : o <= in.size() ? in[o - 1] : *carry;
  }
  std::size_t operand_count() const { return 1 + in.size() + carry.has_value(); }
  bool operator==(const Unit&) const = default;
};

using UnitFunction = void (*)(char* const* pointers, const std::int64_t* slots,
                              const double* scale);

// A unit's machine code, kept alive by whoever may call it.
class CompiledUnit {
 public:
  virtual ~CompiledUnit() = default;
  UnitFunction run = nullptr;
  std::int64_t code_bytes = 0;
};

// Who turns units into code. Thread-safe.
class UnitProvider {
 public:
  virtual ~UnitProvider() = default;
  // What is in memory or part of the program; null if there is more to do. `key`: unit.key().
  virtual std::shared_ptr<const CompiledUnit> find(const std::string& key) = 0;
  virtual std::shared_ptr<const CompiledUnit> get(const Unit& unit, const std::string& key) = 0;
};

}  // namespace einjit
