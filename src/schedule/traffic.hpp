// What a schedule moves between the levels of memory, in closed form.
//
// Each operand is a stream of boxes: at every depth of the nest the range of each label is known,
// so the lines a stream touches there are too. The outermost depth whose streams fit a cache
// together is where that cache starts to serve: lines are fetched once for every iteration outside
// of it that moves the stream, or that comes between two that do. A packed operand is two streams,
// its source up to the packing and its panels from there on.
#pragma once

#include "cost/problem.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

struct Traffic {
  double l1_lines = 0;      // into L1, from wherever
  double l2_lines = 0;      // into and out of L2, as lines from memory in a run would cost
  double waited_lines = 0;  // those of them that arithmetic waits for
  double page_misses = 0;   // in the first-level TLB
  double page_walks = 0;    // misses in the second-level TLB
};

Traffic traffic(const Problem& problem, const Schedule& schedule);

// Cycles the schedule takes if its tiles take `tile_cycles` from L1.
double schedule_cycles(const Problem& problem, const Schedule& schedule, double tile_cycles);

}  // namespace einjit
