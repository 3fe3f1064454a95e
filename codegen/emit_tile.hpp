// A unit's tile: its sums in registers, and what is stored of them.
#pragma once

#include "einjit/target.hpp"
#include "unit_frame.hpp"

namespace einjit {

// Emits one tile with its in-register lengths (per variable) fixed, at these pointers (output
// first).
void emit_tile(UnitFrame& frame, const Unit& unit, const Target& target,
               std::vector<std::int64_t> lengths, const Values& pointers);

}  // namespace einjit
