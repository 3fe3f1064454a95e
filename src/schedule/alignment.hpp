// Loops whose pieces begin at cache lines of the output: rows that begin anywhere are written past
// the caches all the same, but for their ends.
#pragma once

#include "schedule/schedule.hpp"

namespace einjit {

// The loop whose pieces begin at lines, or null.
const LoopSpec* aligned_loop(const Schedule& schedule);

// The loop whose pieces leave parts of lines to the next, the innermost of several, or null.
const LoopSpec* carried_loop(const Schedule& schedule);
bool carries_along(const Schedule& schedule, Label label);

// Whether what tiles make is written to the output from a buffer.
bool has_drained_buffer(const Schedule& schedule, const Contraction& contraction);

// Whether where the output lies decides on how it is written.
bool depends_on_place(const Schedule& schedule, const Contraction& contraction);

// Makes the innermost loop along the output's contiguous label one, if it can be.
void align(Schedule& schedule, const Contraction& contraction);

void unalign(Schedule& schedule);

// With pieces of one length only: written past the caches only where rows are whole lines anyway.
Schedule without_alignment(Schedule schedule, const Contraction& contraction);

// Elements of the output that begin alike: those inside all loops whose steps are not whole lines,
// which one call can write.
double aligned_elements(const Schedule& schedule, const Contraction& contraction);

// The part of the output that the aligned loop's whole pieces leave, for arrays that begin anywhere
// and are a multiple of `row_alignment` elements from one row to the next; 1 for arrays whose rows
// are whole lines: they begin off a line together.
double unaligned_part(const Schedule& schedule, const Contraction& contraction,
                      std::int64_t row_alignment);

}  // namespace einjit
