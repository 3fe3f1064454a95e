// Floor 6: from a contraction and its schedule to a loop nest.
//
// Requires check(schedule, contraction). Ensures verify(nest). Packing becomes tiles without a
// reduced label that copy an operand's current box into panels (see schedule.hpp for the order);
// buffers of sums, tiles that add them to what they are part of.
#pragma once

#include "einjit/target.hpp"
#include "loop_ir/loop_nest.hpp"

namespace einjit {

LoopNest lower(const Contraction& contraction, const Schedule& schedule, const Target& target);

}  // namespace einjit
