// The enumeration of register tiles and of what they read from panels.
#pragma once

#include "cost/tile_cost.hpp"
#include "einjit/target.hpp"

namespace einjit {

// The cheapest tile, its packing decided; `cycles` is its predicted cost.
struct RatedTile {
  RegisterTile tile;
  double cycles;
};
RatedTile best_register_tile(const Contraction& contraction, const Target& target);

}  // namespace einjit
