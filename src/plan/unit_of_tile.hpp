// The unit of a tile at given ranges: labels and shape taken out, what stays is the key.
#pragma once

#include <cstdint>
#include <vector>

#include "loop_ir/loop_nest.hpp"
#include "plan/plan.hpp"

namespace einjit {

// Panels are addressed by whole tiles: a piece of one begins `shift` elements after `lo`.
struct LabelRange {
  std::int64_t lo, len, shift = 0;
};

// Loops of a unit with run-time sizes: chains of fewer are filled up, those around more are walked.
// So units are of few kinds.
inline constexpr std::size_t kUnitLoops = 3;

// A tile and the loops right above it that go into its unit, outermost first.
struct TileChain {
  std::vector<const For*> loops;
  const Tile* tile = nullptr;
};

// The order in which a unit takes the tile's inputs. With run-time sizes, of two factors the one
// that moves along the vec label comes first: units are of fewer kinds.
std::vector<std::size_t> input_order(const Tile& tile, UnitShape shape);

// Whether the tile's unit carries parts of lines: only sizes given at the call can say where rows
// begin and end.
inline bool carries(const Tile& tile, UnitShape shape) {
  return tile.carry && shape == UnitShape::argument;
}

struct UnitOfTile {
  Unit unit;
  std::vector<std::int64_t> slots;  // the arguments for these ranges
  std::int64_t lines_ahead = 0;     // entries of the list of lines that a call goes through
  int aligned_trips_slot = -1;      // of the chain's aligned loop
};

// What part of its sums a call of a tile adds up.
enum class SumPiece : std::uint8_t { whole, first, later };

// `ranges` are those around the chain. With UnitShape::argument each absorbed loop's range must be
// whole pieces or shorter than one.
UnitOfTile unit_of_tile(const LoopNest& nest, const TileChain& chain,
                        const std::vector<LabelRange>& ranges, SumPiece piece, UnitShape shape);

// The unit that drains runs of elements to the output, each as far from the one before as the call
// says: its arguments, in elements. If it asks, for a line of the list with each that it writes.
enum class RunSlot : std::uint8_t { elements, runs, out_stride, in_stride };
inline constexpr int kRunSlots = 4;
Unit unit_of_runs(const Contraction& contraction, bool asks);

}  // namespace einjit
