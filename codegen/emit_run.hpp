// The unit that writes a run of elements to the output: in whole lines, wherever it begins.
#pragma once

#include "einjit/target.hpp"
#include "unit_frame.hpp"

namespace einjit {

void emit_run(UnitFrame& frame, const Unit& unit, const Target& target, const Values& pointers);

}  // namespace einjit
