// Floor 4: the schedule, plain data that says in which order and in which pieces a contraction is
// computed. It prints, parses back, compares, and a person may edit it.
//
//   loop k 256            the range of k is cut into pieces of 256, one after the other
//   pack in1              in1's part of the current ranges is copied into a packed buffer
//   loop i 168 parallel   pieces that may run at the same time
//   pack in0
//   loop j 32
//   loop i 14
//   prefetch out          each tile asks for its lines of the output before it sums
//   tile j vec 32, i unroll 14, k reduce
//
// Loops narrow a label's range; the tile computes all that is left of every label it names, in
// registers: `vec` lies across SIMD lanes, `unroll` in separate accumulators, `reduce` is summed in
// a loop. A number after `reduce` unrolls that loop; `chains` spreads it over that many sets of
// accumulators. `merge 32` sums blocks of 32 steps, and blocks of 32 blocks, each on its own, so
// that rounding errors of long sums do not add up. `gray` takes the steps of such a block in the
// order of the Gray code (0 1 3 2 6 ...): no load then goes along by one stride, which prefetchers
// would follow to the harm of rows that lie in L2. `halved` sums a vec label in vectors of half a
// register's width, two lines of an input after the other. `kept` has a summed vec label's lanes in
// sums of their own, which are added at the end of the tile: `tile j vec 16 kept, i reduce 16` can
// transpose blocks of an input along i, which a tile that runs along j cannot. A label the tile
// does not name must have been narrowed to 1.
//
// `pack in1*in2` copies the product of two inputs: tiles then see one operand in place of both.
//
// `factor out in0` multiplies by in0 what the rest has been summed to over the labels in0 does not
// have, instead of every term (the distributive law): its own summed labels stand before those.
//
// `buffer out` has the sums of the loops inside, over part of what is summed, in a packed buffer of
// their own, and adds them to the output (or the buffer outside) when those loops are done. So sums
// of many blocks grow in levels, none of many additions, and rounding errors do not add up.
//
// Where nothing is summed, `buffer out` with `stream out` has what the loops inside make of the
// output in a buffer, and then writes it past the caches, in runs: elements that lie end to end in
// the output, in whole lines but for a run's first and last, wherever they begin.
//
// `pack in0 ahead` asks for the lines that the next copy of in0 will read while the tiles in
// between compute, a few at a time. `prefetch in0 next`, between loops, does so for tiles that read
// in0 itself: they ask for what the next piece of the loops outside will read, row after row.
// `prefetch in1 k 128` asks, with every vector of in1 a tile reads, for the one 128 elements
// further along k. All are hints: what is asked for in vain costs time only.
//
// `stream out` writes the output past the caches, in whole lines. It is for outputs that are
// written once and are larger than the caches; where a store at run time is not on a cache line, an
// ordinary one takes its place.
//
// `loop i 16 aligned`, along the output's contiguous label, by whole lines: pieces begin at cache
// lines wherever a row lies in memory, which is known at run time only. The first is shorter by
// what that takes, and what is not a whole piece is stored in the ordinary way.
//
// `loop i 32 carried`, along the output's contiguous label, by whole lines and around tiles that
// hold a whole piece of it: rows may begin anywhere on a line, each on its own place. What a piece
// leaves of a row's last line waits in a buffer for the row's next piece, so that `stream out`
// writes whole lines but for the row's first and last. Where all rows turn out to begin at lines,
// nothing waits. Rows of whole lines that follow each other are one where the loop from row to row
// is carried too: `loop j 1 carried; loop i 32 carried`.
//
// `loop j 16; loop i 16 diagonal`: neither a row nor a column of tiles is gone along, whose lines
// share sets of the caches and mislead prefetchers. Where both loops have eight pieces, those of i
// come in the order of the Gray code, and with number g of them number a ^ g of the j's in trip a;
// else in turn, each with the next of the j's, from a on and around.
//
// Where nothing is summed and whole runs of the vec label lie end to end along an unrolled one, a
// tile writes them as one: `tile l vec 3, j unroll 16` stores three vectors of 16.
//
// A packed buffer holds the operand's labels in the order [others][vec or unroll label / factor]
// [reduced labels][vec or unroll label % factor], the last contiguous.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "index_ir/contraction.hpp"

namespace einjit {

inline constexpr std::int64_t kLineBytes = 64;  // of a cache line
inline constexpr std::int64_t kDiagonal = 8;    // pieces of loops that go by Gray-code diagonals
inline constexpr int kMostFactors = 32;         // inputs that may be factored out: the first

enum class Order : std::uint8_t { serial, parallel };

struct LoopSpec {
  Label label;
  std::int64_t step;
  Order order = Order::serial;
  bool is_aligned = false;   // pieces begin at cache lines of the output
  bool is_diagonal = false;  // pieces of this and the loop outside go by diagonals
  bool is_carried = false;   // what a piece leaves of the output's lines waits for the next
  bool operator==(const LoopSpec&) const = default;
};

struct PackSpec {
  int operand;  // input number
  bool is_ahead = false;
  int factor = -1;  // an input that the operand is multiplied by while it is copied; -1: none
  bool operator==(const PackSpec&) const = default;
};

// Rows of a box whose next one is asked for while it is drained, if they are so many bytes long; of
// shorter ones tiles ask for what they will miss most.
inline constexpr std::int64_t kAskedByDrains = 1024;

// The operand's box of the next piece of the loops outside is asked for by the tiles inside.
struct NextSpec {
  int operand;
  bool operator==(const NextSpec&) const = default;
};

struct BufferSpec {
  bool operator==(const BufferSpec&) const = default;
};

enum class Role : std::uint8_t { vec, unroll, reduce };

struct TileVar {
  Label label;
  Role role;
  std::int64_t factor = 1;  // vec, unroll: the most elements; reduce: steps unrolled
  int chains = 1;           // reduce: separate sets of accumulators
  int merge = 0;            // summed: loop trips between additions to a second set; 0: none
  bool is_halved = false;   // vec, summed: vectors of half a register's width
  bool is_gray = false;     // reduce: the trips of a merge in the order of the Gray code
  bool is_kept = false;     // vec, summed: as many sums as elements, added at the end of the tile
  bool operator==(const TileVar&) const = default;
};

enum class Store : std::uint8_t { cached, streaming };
enum class Prefetch : std::uint8_t { none, output };

// Vectors of an input asked for before they are read.
struct AheadSpec {
  int operand;
  Label label;
  std::int64_t distance;  // elements along the label
  bool operator==(const AheadSpec&) const = default;
};

struct Schedule {
  std::vector<std::variant<LoopSpec, PackSpec, BufferSpec, NextSpec>> outer;  // outermost first
  std::vector<TileVar> tile;
  Store store = Store::cached;
  Prefetch prefetch = Prefetch::none;
  std::vector<AheadSpec> ahead;
  std::uint32_t factored_out = 0;  // bit k: input k
  bool operator==(const Schedule&) const = default;
};

std::string to_string(const Schedule& schedule, const Contraction& contraction);

// Parses to_string's text (also with ';' for newlines). Checks names and numbers only; what the
// schedule means is checked by check().
Result<Schedule> parse_schedule(std::string_view text, const Contraction& contraction);

// Whether the schedule computes the contraction: every label covered, packs well placed, parallel
// loops over output labels, or around buffers of sums; streamed stores only where the sum is whole
// and lines are.
Result<void> check(const Schedule& schedule, const Contraction& contraction);

// Whether some packed operand has the label.
bool is_packed_along(const Schedule& schedule, const Contraction& contraction, Label label);

// Why an output cannot be written past the caches.
struct StreamFault {
  enum class Kind : std::uint8_t { output_is_read, sum_is_cut, stride, step };
  Kind kind;
  Label label = -1;
};

// `lengths`: of the range of each label inside all loops.
std::optional<StreamFault> stream_fault(const Schedule& schedule, const Contraction& contraction,
                                        std::span<const std::int64_t> lengths);

}  // namespace einjit
