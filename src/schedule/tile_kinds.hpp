// Kinds of register tiles: of each the best is made into schedules.
#pragma once

#include <cstdint>

#include "cost/tile_cost.hpp"

namespace einjit {

// Of a tile that transposes blocks of one of two such inputs: a line of f32, two of f64.
inline constexpr std::int64_t kTurnedSteps = 16;

class TileKinds {
 public:
  // The problem must outlive it.
  explicit TileKinds(const Problem& problem);

  // Of each kind one tile is kept: per vec label, unroll labels, packed operands, and for tiles of
  // one vector: their blocks can be smaller; for those that move blocks of lines, or write pairs
  // of lines, or strips of which lines are carried, or go along whole rows of a sum, or use all of
  // such a row's element at once, or keep a summed vec label, or transpose blocks along a sum where
  // inputs are turned; and by whether rows fight for a set.
  std::uint64_t of(const RegisterTile& tile) const;
  // Whether two inputs are read once and contiguous along labels of their own.
  bool are_turned() const { return are_turned_; }

 private:
  // Whether a copy's tile writes lines two by two, of rows as many as the hardware can follow.
  bool writes_pairs(const RegisterTile& tile) const;
  // Whether a tile that carries lines goes along as many rows as the hardware can follow: no loop
  // lies between the two.
  bool carries_strips(const RegisterTile& tile) const;
  // Whether tiles side by side read each row that comes from memory and is summed once.
  bool uses_rows_once(const RegisterTile& tile) const;
  // Whether the unrolled rows that are read where they are, or written, fall into one set of L1,
  // too many for it.
  bool thrashes(const RegisterTile& tile) const;

  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  std::int64_t lanes_;
  bool are_turned_;
};

}  // namespace einjit
