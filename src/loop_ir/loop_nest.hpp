// Floor 6: the loop IR, a nest of loops around tiles over explicit buffers.
//
// Semantics. Every label has a current range [lo, lo + len), at first [0, extent). `For` cuts the
// range of its label into pieces of `step` (the last may be shorter) and runs its body for each. If
// it is aligned, the first piece ends where the output's next cache line begins. A tile with a
// `carry` inside a carried loop writes of each row of its box, with what it finds in the row's
// place of that buffer, all whole lines; the rest goes there, or, in the loop's last piece, to the
// output. Where a carried loop goes from row to row, the last piece is that of its last row.
//
// `Tile` works on the box of the current ranges of its variables:
//
//     out[x] = update(sum over the tile's reduced labels of in0[x] * in1[x] * ...)
//
// A reference addresses x by two strides a label: `outer` times lo (from lo at the buffer's Alloc,
// for scratch) plus `inner` times the position in the box. Plain arrays have outer == inner; packed
// panels of width w have inner 1 and outer (panel size / w), lo being a multiple of w.
// `Alloc` makes a scratch buffer for its body; its contents are undefined at first.
// `Ask` has the tiles of its body ask for what the next run of the body will read of an input.
//
//   nest f32 in0 in1
//   for j step 512
//     alloc p3[16896] worker
//       for j step 32
//         for k step 4
//           tile p3[j:256|1 k:32] = in1[k:1000 j:1]  j vec 32, k unroll 4
//       ask in1
//         ...
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "schedule/schedule.hpp"

namespace einjit {

struct Stride {
  std::int64_t outer = 0;
  std::int64_t inner = 0;
  bool operator==(const Stride&) const = default;
};

struct Ref {
  int buffer;                   // 0 the output, 1 + k input k, then scratch
  std::vector<Stride> strides;  // per label
  bool operator==(const Ref&) const = default;
};

// How a tile stores. `assign`: out = sum. `output`: out = alpha * sum + beta * out on the first
// pieces of all reduced labels, out += alpha * sum on later ones. `partial`, to a scratch buffer:
// out = sum on the first pieces since its Alloc, out += sum on later ones.
enum class Update : std::uint8_t { assign, partial, output };

struct Node;
using Block = std::vector<Node>;

struct For {
  Label label;
  std::int64_t step;
  Order order;
  Block body;
  bool is_aligned = false;
  bool is_diagonal = false;  // with the loop right outside: an order only
  bool is_carried = false;
  bool operator==(const For&) const = default;
};

enum class Scope : std::uint8_t { worker, shared };

struct Alloc {
  int buffer;
  Block body;
  bool operator==(const Alloc&) const = default;
};

// The input's next box, one step on in the innermost loop around that has one and moves it, is
// asked for while the tiles of the body run. Lengths of the box per label. None is in another.
struct Ask {
  int input;
  std::vector<std::int64_t> lengths;
  Block body;
  bool operator==(const Ask&) const = default;
};

// Lines of the Ask around it that a tile asks for at each step of its sum, or once.
struct Pace {
  int lines = 0;
  bool per_step = false;
  bool operator==(const Pace&) const = default;
};

struct Tile {
  Ref out;
  std::vector<Ref> in;
  std::vector<TileVar> vars;
  Update update;
  Store store = Store::cached;
  Prefetch prefetch = Prefetch::none;
  Pace pace = {};
  std::vector<std::int64_t> ahead = {};  // per input: elements further on to ask for, 0 none
  std::uint32_t factored_out = 0;        // bit k: in[k] multiplies sums, not their terms
  std::optional<Ref> carry = {};         // a line for each row of the output
  bool operator==(const Tile&) const = default;
};

// Writes a buffer that holds a box of the output, as tiles have made it, to the output's current
// ranges, times alpha, past the caches. `strides` are the buffer's.
struct Drain {
  int buffer;
  std::vector<std::int64_t> strides;
  bool asks = false;  // for a line of the Ask around it with every line written
  bool operator==(const Drain&) const = default;
};

struct Node {
  std::variant<For, Alloc, Ask, Tile, Drain> value;
  bool operator==(const Node&) const = default;
};

// Of one node; what lies below it is moved, as no initializer list would.
inline Block block_of(Node node) {
  Block block;
  block.push_back(std::move(node));
  return block;
}

// A scratch buffer. It belongs to one worker, or is shared by the workers of parallel loops inside.
struct Buffer {
  std::int64_t elements;
  Scope scope;
  bool operator==(const Buffer&) const = default;
};

struct LoopNest {
  Contraction contraction;
  std::vector<Buffer> scratch;  // buffer 1 + inputs + i
  Block body;
  int lanes = 1;  // elements of a vector register

  int first_scratch() const { return 1 + static_cast<int>(contraction.in.size()); }
  std::string to_string() const;
};

// Elements of an output's row that lie before an address on its cache line.
inline std::int64_t items_past_line(const void* address, std::int64_t item_bytes) {
  const auto past = reinterpret_cast<std::uintptr_t>(address) & (kLineBytes - 1);
  return static_cast<std::int64_t>(past) / item_bytes;
}

// True if the tile sums over the label.
bool is_summed(const Tile& tile, Label label);

// Offsets in bytes, from the first element, of the cache lines of an input's box of these lengths:
// rows in the order of their addresses, a few rows in turn. Empty if an offset needs more than 31
// bits.
std::vector<std::int32_t> ahead_offsets(const Contraction& contraction, int input,
                                        const std::vector<std::int64_t>& lengths);
// How many there are.
std::int64_t ahead_line_count(const Contraction& contraction, int input,
                              const std::vector<std::int64_t>& lengths);
// Bytes of each of those rows.
std::int64_t ahead_row_bytes(const Contraction& contraction, int input,
                             const std::vector<std::int64_t>& lengths);

// Elements of this many bytes from an address to the next cache line; 0 if no line begins with one.
inline std::int64_t items_to_line(const void* address, std::int64_t item_bytes) {
  const auto past =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(address)) & (kLineBytes - 1);
  return past == 0 || past % item_bytes != 0 ? 0 : (kLineBytes - past) / item_bytes;
}

// Proves that the nest stays in bounds, covers every element of the output exactly once (counting
// the pieces of reduced labels), and that the pieces of parallel loops write disjoint elements. A
// failure is a bug of lowering; the text says where.
Result<void> verify(const LoopNest& nest);

// Evaluates the nest, element by element, without LLVM. `operands` are pointers to element
// (0, 0, ...) of the output and of each input, of the contraction's dtype.
void interpret(const LoopNest& nest, const std::vector<void*>& operands, double alpha, double beta);

}  // namespace einjit
