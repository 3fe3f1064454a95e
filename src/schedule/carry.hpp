// Loops whose pieces leave parts of the output's lines to the next: rows that begin anywhere are
// written past the caches in whole lines.
#pragma once

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// Whether a copy's tile writes pieces of rows that begin anywhere, of an output that is to be
// written past the caches.
bool may_carry(const Problem& problem, const RegisterTile& tile);

// Makes the innermost loop along the output's rows a carried one, and the one that goes from row to
// row where these are whole lines; false if it cannot be, the schedule is then of no use. What
// waits shall stay a part of L2, and threads take some of the rows, or long parts of them: blocks
// are cut for that.
bool carry_lines(Schedule& schedule, const Problem& problem, const RegisterTile& tile);

// Lines written, of one in a long row: the ends of a row's pieces wait for memory.
double carried_cost(const Schedule& schedule, const Problem& problem);

}  // namespace einjit
