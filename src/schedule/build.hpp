// From a register tile to a whole schedule: loop order, blocks, packing, hints.
#pragma once

#include <memory>
#include <vector>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

// How the loops around a tile may be ordered. Without packing: the tile's labels innermost, the vec
// label or the unroll label outside; all by output stride; all by the strides of the largest input;
// or so, but with a few lines of each row of the output innermost; blocks of lines of the output's
// rows and the input's, a copy going along the input's; such blocks, of which an input's part is
// asked for, tiles going along the output's; blocks of a copy's tiles by diagonals; as
// the first, inside a loop over blocks of rows that are summed; or along whole rows that are
// summed, a few at a time; or boxes in a buffer, long along the rows of the output, of whole rows
// of the input if they are short, or long along these. With packing: which side's block is the
// outer one.
enum class LoopOrder : std::uint8_t {
  vec_outside,
  unroll_outside,
  by_output,
  by_input,
  by_lines,
  by_blocks,
  by_asked_blocks,
  by_diagonals,
  by_sum,
  by_rows,
  by_runs_written,
  by_rows_read,
  by_runs_read
};

// With packing: how much of the sum panels hold. Panels of few steps stay in L1; panels of the
// whole sum write the output once.
enum class SumCut : std::uint8_t { fits_l1, twice_l1, whole };

struct LoopPlan {
  LoopOrder order;
  SumCut cut = SumCut::fits_l1;
  // With packing: the innermost copy's next source is asked for ahead. Of a block the operand's
  // rows are then made long first, else the output's.
  bool is_ahead = false;
  bool carries_lines = false;  // from a piece of the output's rows to the next
};

// Work below this stays on one thread.
inline constexpr double kParallelCycles = 400e3;

// What a parallel loop's pieces leave idle on two and four threads, on average, against the work.
double idle_part(std::int64_t extent, std::int64_t step);

// Rows of an input that come from memory, are read once, and are summed along `sum`: what lies
// between two of its steps. `labels` of them, the contiguous one first.
struct SummedRows {
  // None: there are no such rows, or they are short, or few, or the sums of a piece of them, which
  // is cut along the last label if that is kept, do not stay in L2.
  Label sum = -1;
  std::vector<Label> labels;
  std::int64_t at_once = 0;  // memory delivers so many fastest: they lie on several pages
};
SummedRows summed_rows(const Problem& problem, Label vec);
inline constexpr std::int64_t kRowsAtOnce = 8;  // at least

// Whether a copy's boxes may be made in a buffer: rows of its output begin anywhere.
bool may_buffer_boxes(const Problem& problem, const RegisterTile& tile);

// Whether a tile reads parts of rows that come from memory and are summed: it goes through whole
// rows only in blocks of them.
bool sums_parts_of_rows(const Problem& problem, const RegisterTile& tile);

// Builds the schedules of a problem, one after the other, and forgets none of the memory that
// takes.
class ScheduleBuilder {
 public:
  explicit ScheduleBuilder(const Problem& problem);
  ~ScheduleBuilder();

  // Makes `schedule.outer`. `cycles`: predicted for all, decides whether the work is cut into
  // parallel pieces.
  void add_loops(const RegisterTile& tile, const LoopPlan& plan, double cycles, Schedule& schedule);
  // The tile and the hints, for the loops just added.
  void finish(Schedule& schedule);

 private:
  class Builder;
  std::unique_ptr<Builder> builder_;
};

}  // namespace einjit
