// Packed panels: the layout of one operand's box in scratch, and the nest that copies it there.
//
// The panel label p is the operand's vec label of the tile, else its first unroll label; with width
// w = p's factor the buffer is [other labels][p / w][reduced labels][p % w]. The copy is a tile
// over p (vec) and, where the source is contiguous in another label q, q (unroll), which the
// emitter turns into a transpose in registers. Other element types will convert or interleave
// here: the source's and the buffer's types may differ then, and k comes in groups of 2 or 4.
#pragma once

#include "einjit/target.hpp"
#include "loop_ir/loop_nest.hpp"

namespace einjit {

inline constexpr std::int64_t kSlack = 64;  // elements a whole vector may read past a buffer's last

struct Packing {
  Ref packed;             // how tiles read the buffer
  std::int64_t elements;  // the buffer's size
  Block copy;
};

// `length` is the most of each label's range where the buffer is allocated. Several sources are
// multiplied.
Packing make_packing(const Contraction& contraction, const std::vector<TileVar>& tile,
                     const std::vector<std::int64_t>& length, const std::vector<Ref>& sources,
                     int buffer, const Target& target, Order order);

}  // namespace einjit
