// The enumeration of register tiles.
#pragma once

#include <vector>

#include "cost/tile_cost.hpp"

namespace einjit {

struct RatedTile {
  RegisterTile tile;
  double cycles;  // from L1, packing included
};

// The best tile for every choice of labels and of packed operands that is worth a look, the
// cheapest first; never empty.
std::vector<RatedTile> register_tiles(const Problem& problem);

}  // namespace einjit
