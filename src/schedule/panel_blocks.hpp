// How far the blocks reach that are copied into panels, around a tile of two sides.
#pragma once

#include <vector>

#include "schedule/build.hpp"

namespace einjit {

class PanelBlocks {
 public:
  // All must outlive it.
  PanelBlocks(const Problem& problem, const RegisterTile& tile, const LoopPlan& plan)
      : p_(problem), c_(p_.c), target_(p_.target), tile_(tile), plan_(plan) {}

  // Which packed operand an output label moves: the vec side's, the unroll side's, or both (batch).
  enum class Side : std::uint8_t { both, vec, unroll };
  Side side_of(Label label) const;
  int vec_operand() const { return c_.in[0].strides[tile_.vec] != 0 ? 0 : 1; }

  // A block of a side: about `most` elements of the operand, innermost loop first. One tile, then
  // enough of the labels that are contiguous in the output or the operand for rows to be long, then
  // the tile's label `first`, then the others by rising output stride.
  void cut_side(Side side, Label first, int operand, std::int64_t most,
                std::vector<LoopSpec>& loops) const;
  // The sum's block, of the length that the plan says: a line of every label that is contiguous in
  // an input, then whole inner labels.
  void cut_sum(std::vector<LoopSpec>& loops) const;

 private:
  std::int64_t sum_length() const;
  std::int64_t run_target(Label label) const;
  void grow_run(std::vector<LoopSpec>& loops, const Access& a, std::int64_t most) const;
  void grow(const std::vector<LoopSpec>& loops, LoopSpec& loop, std::int64_t target,
            std::int64_t most) const;

  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  const RegisterTile& tile_;
  const LoopPlan& plan_;
};

}  // namespace einjit
