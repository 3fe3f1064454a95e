#include "schedule/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "schedule/line_costs.hpp"

namespace einjit {
namespace {

constexpr double kFetchedAgain = 3;
constexpr double kPartAgain = 8;  // the next part of a line that is read in parts
constexpr double kPushedOut = 4;  // of lines a copy writes into a set that is too small for them
constexpr double kTlbEntries = 80;
constexpr double kPageMissCycles = 6;
constexpr double kSecondTlbEntries = 1500;
constexpr double kTlbRoom = 1.1;
constexpr double kPageWalkCycles = 20;
constexpr double kWalkNear = 0.15;     // of a walk: those of a copy overlap, or share a line
constexpr double kL2LineCycles = 2.5;  // a line from L2, what FMAs do not hide
constexpr double kAcrossAlone = 2.2;   // more of a line, if the sum of a scalar goes across rows
constexpr double kPartOfRow = 1.2;     // more of a line, if a tile sums parts of rows
constexpr double kOnePage = 1.15;      // more of a line, if one page is followed, not several
constexpr double kStripAlone = 1.1;    // more of a line of rows that only the hardware asks for
constexpr double kReadWhileWritten = 0.7;
constexpr double kAskedTwice = 2;  // what is gone before it is read

class Analysis : LineCosts {
 public:
  using LineCosts::LineCosts;

  Traffic run() const {
    Traffic result;
    for (const Stream& s : streams_) {
      if (const double lines = lines_into(s, Level::l1); lines > 0)
        result.l1_lines += lines * l1_line_cost(s);
      double lines = lines_into(s, Level::l2);
      if (s.is_output) lines *= written_cost(s);
      lines *= is_streamed(s) ? line_cost(s) + streamed_cost(s)
                              : line_cost(s) * (1 + 2 * asked_in_vain(s));
      if (!s.is_output && !s.is_ahead && is_asked_for(s) &&
          (p_.reduced.empty() || !is_followed(s)) && !is_asked_by_blocks(s) &&
          !is_asked_row_by_row(s))
        lines *= asked_cost(s);
      if (is_lost_before_read(s)) lines *= kAskedTwice;
      if (reads_parts_of_rows(s)) lines *= kPartOfRow;
      if (goes_across_alone(s)) lines *= kAcrossAlone;
      if (is_asked_by_drains(s)) lines *= kReadWhileWritten;
      if (is_one_page(s)) lines *= kOnePage;
      if (is_strip(s)) lines *= kStripAlone;
      lines *= overshoot(s) * torn_rows_cost(s) * beside_cost(s);
      if (is_waited_for(s)) {
        const double late = lateness(s);
        result.waited_lines += lines * late;
        lines *= std::max(late, 1.0);
      }
      result.l2_lines += lines;
      result.page_misses += page_misses(s);
      if (s.is_output || s.is_copied || p_.reduced.empty() || is_across(s))
        result.page_walks +=
            pages_into(s, second_tlb_entries()) *
            (s.is_copied || (p_.reduced.empty() && visits_neighbours(s)) ? kWalkNear : 1);
    }
    return result;
  }

 private:
  double lines_into(const Stream& s, Level level) const {
    const std::size_t depth = std::clamp(fitting_depth(level), s.from, s.to);
    if (s.is_dense && depth <= s.from) return 0;
    const StreamBox& box = s.boxes[depth];
    // A tile larger than the cache finds nothing of its last visit there.
    bool moved = footprint_at(depth, level) > bytes_of(level);
    double fetched = moved && vector_stride(s) > 1 ? box.held_lines : box.lines;
    if (level == Level::l2) fetched *= run_cost(s, box);
    for (std::size_t d = depth; d-- > 0;) {
      moved |= s.access().strides[nest_.loops[d].label] != 0;
      // Panels are made anew for every iteration outside; their lines are in the cache then.
      if (moved) fetched *= nest_.trips[d];
    }
    return level == Level::l1 ? fetched * times_evicted(s) : fetched;
  }

  // As many rows in one set as it has ways: where a tile reads an element of each at a step, a line
  // is gone before its next element is wanted; where it reads vectors, what was fetched ahead is.
  // Blocks that are transposed take as much of a line at once as they are long.
  double times_evicted(const Stream& s) const {
    if (s.is_output) return is_pushed_out(s) ? kPushedOut : 1;
    double all_rows = 0;
    for (const Stream& other : streams_)
      if (!other.is_output) all_rows += rows_in_one_set(other);
    if (rows_in_one_set(s) <= 1 || all_rows < static_cast<double>(l1_ways(target_))) return 1;
    double along = 1;
    for (const TileVar& var : schedule_.tile) {
      const std::int64_t stride = s.access().strides[var.label];
      if (stride != 0 && var.role == Role::vec)
        return stride == 1 ? kFetchedAgain : parts_of_line(s);
      if (stride == 1 && var.role == Role::reduce)
        along = nest_.lengths(nest_.loops.size())[var.label];
    }
    return std::min(along, line_items());
  }

  // Whether a copy writes rows that share a set which does not hold them all, a tile's or, of lines
  // that are not whole then, those between two parts of one.
  bool is_pushed_out(const Stream& s) const {
    if (!p_.reduced.empty() || schedule_.store != Store::cached) return false;
    const bool is_whole = s.operand->row_alignment >= static_cast<std::int64_t>(line_items()) &&
                          std::fmod(s.boxes[s.to].run, line_items()) == 0;
    const Lengths lengths = nest_.lengths(is_whole ? s.to : body_along(s));
    double rows = 1;
    for (const Move& m : s.operand->moves)
      if (m.page_part >= kPage) rows *= lengths[static_cast<std::size_t>(m.label)];
    return rows > static_cast<double>(l1_ways(target_));
  }

  // Of lines that tiles read together, one after the other.
  double parts_of_line(const Stream& s) const {
    const Lengths tile = nest_.lengths(nest_.loops.size());
    double length = 1;
    for (const TileVar& var : schedule_.tile)
      if (s.access().strides[var.label] == 1) length = tile[var.label];
    if (length >= line_items()) return 1;
    return line_items() / length * (target_.page_streams > 0 ? 1 : kPartAgain);
  }

  // The innermost box walks over pages; beyond the first-level TLB's reach each costs a miss. Lines
  // written past the caches, with nothing summed, have nothing to hide behind.
  double page_misses(const Stream& s) const {
    if (p_.reduced.empty() && is_streamed(s)) return pages_into(s, kTlbEntries);
    double misses = s.boxes[s.to].pages;
    if (misses <= kTlbEntries) return 0;
    for (std::size_t d = 0; d < s.to; ++d) misses *= nest_.trips[d];
    return misses;
  }

  // With room for the few pages of the other stream.
  double second_tlb_entries() const {
    return target_.tlb_pages > 0 ? kTlbRoom * static_cast<double>(target_.tlb_pages)
                                 : kSecondTlbEntries;
  }

  // Whether the innermost loop that moves the stream goes to a page whose entry in the table lies
  // near.
  bool visits_neighbours(const Stream& s) const {
    for (std::size_t d = s.to; d-- > 0;)
      if (moves_along(s, d + 1)) {
        const LoopSpec& loop = nest_.loops[d];
        const auto step = static_cast<double>(std::abs(s.access().strides[loop.label]) * loop.step);
        return step * item() < kPagesTogether * kPage;
      }
    return true;
  }

  // Pages that come into a TLB of so many entries: as lines into a cache. Those that one step of
  // the first loop outside shares with the next are still there.
  double pages_into(const Stream& s, double entries) const {
    if (s.is_dense) return 0;
    auto all = [&](std::size_t depth) {
      double sum = 0;
      for (const Stream& other : streams_)
        if (depth >= other.from) sum += other.boxes[std::min(depth, other.to)].pages;
      return sum;
    };
    std::size_t fitting = 0;
    while (fitting < nest_.loops.size() && all(fitting) > entries) ++fitting;
    if (fitting == 0) return 0;
    const std::size_t depth = std::clamp(fitting, s.from, s.to);
    double pages = s.boxes[depth].pages;
    bool moved = false;
    for (std::size_t d = depth; d-- > 0;) {
      const bool is_first = !moved && s.access().strides[nest_.loops[d].label] != 0;
      moved |= is_first;
      if (is_first && p_.reduced.empty())
        pages *= s.boxes[d].pages / s.boxes[d + 1].pages;
      else if (moved)
        pages *= nest_.trips[d];
    }
    return pages;
  }
};

}  // namespace

Traffic traffic(const Problem& problem, const Schedule& schedule) {
  return Analysis(problem, schedule).run();
}

double schedule_cycles(const Problem& problem, const Schedule& schedule, double tile_cycles) {
  const Target& target = problem.target;
  const Traffic moved = traffic(problem, schedule);
  const double line = static_cast<double>(target.line_bytes) / target.dram_bytes_per_cycle;
  // What nobody waits for hides behind the arithmetic, mostly.
  const double waited = moved.waited_lines * line;
  const double memory = moved.l2_lines * line - waited;
  const double core = tile_cycles + moved.l1_lines * kL2LineCycles * 0.3 +
                      moved.page_misses * kPageMissCycles + moved.page_walks * kPageWalkCycles;
  return std::max(core, memory) + 0.3 * std::min(core, memory) + waited;
}

}  // namespace einjit
