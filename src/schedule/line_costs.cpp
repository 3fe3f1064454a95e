#include "schedule/line_costs.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "schedule/alignment.hpp"
#include "schedule/carry.hpp"

namespace einjit {
namespace {

constexpr double kL2Scattered = 1.5;
constexpr double kL2ManyRows = 2;
constexpr double kL2Gathered = 4;  // each lane's line comes alone, from a page of its own
constexpr double kL3LineCycles = 3;
constexpr double kL2Resident = 0.1;     // of what a line from L3 costs, if operands stay in L2
constexpr double kShortRun = 3;         // a line from DRAM that comes alone, against in a run
constexpr double kShortRunCopied = 4;   // if a copy asked for ahead reads it
constexpr double kShortRunAhead = 1.5;  // if tiles that go along its row ask for it
constexpr double kTogether = 2;         // lines of a page that do not come alone
constexpr double kAloneCopied = 0.7;    // more of a line written past the caches that does
constexpr double kAloneInTile = 0.2;    // whose neighbour the next tile writes, on meshes
constexpr double kReadFirst = 1.8;      // of a line that a copy writes into caches, on meshes
constexpr double kLeavesAlone = 0.6;    // more of it, if its neighbours do not leave with it
constexpr double kTornAlone = 12;       // times a part of a line, which is read first, on meshes
constexpr double kEndsOfRun = 10;       // lines that those of a run from a buffer take the time of
constexpr double kDrained = 1.4;        // more of a line written while nothing is read
constexpr double kOpenRows = 16;        // of memory, between two of whose lines others are written
constexpr double kManyRows = 64;
constexpr double kShortBurst = 8;      // lines a tile writes past the caches
constexpr double kBurst = 0.01;        // more of a line, for each further one
constexpr double kFewRows = 4;         // read at once: the hardware's prefetchers keep up
constexpr double kAskedRows = 128;     // of a tile, which the hardware could not follow
constexpr double kAskedAlong = 0.1;    // more of a line asked for, against rows that are followed
constexpr double kAskedAcross = 0.2;   // if the innermost loop goes to other rows
constexpr double kCopiedAcross = 0.5;  // and nothing is summed meanwhile
constexpr double kAcrossBeside = 1.2;  // and other inputs are read, along rows of their own
constexpr double kLeftAlone = 2;       // of a line of one, if it is neither asked for nor followed
constexpr double kFirstLines = 6;      // that nobody has asked for, of a row
constexpr double kFoundSoon = 16;      // lines read of a row, among which these do not matter
constexpr double kJump = 0.35;         // and boxes lie elsewhere, if they are no larger than this
constexpr double kLeastJump = 2048;    // bytes of a box that is worth going on after
constexpr double kJumpBytes = 16384;   // of one that costs all of it: less of larger ones
constexpr std::int64_t kSameChannels = 65536;  // bytes between lines on the same channels of memory
constexpr double kVisitLines = 4;       // of a row, that a copy reads before it goes to others
constexpr double kRowsInSet = 8;        // of L1, that tiles may ask for together
constexpr double kRowCost = 0.015;      // more of a line, for each further row
constexpr double kPagesLost = 0.1;      // more of a line, for twice as many pages as are followed
constexpr double kFollowedLate = 0.25;  // if a tile reads several such rows
constexpr double kTornRows = 2;         // more of a line that is read alone, of a row that is not
constexpr double kTornSoon = 1.0;       // if the rest is read soon
constexpr double kLinesBehind = 40;     // a run, that the hardware fetches and the time it takes to
                                        // find out where the next one is
constexpr double kAskedTooEarly = 0.5;
constexpr double kStartLines = 8;
constexpr double kStreams = 16;  // rows in turn that a prefetcher follows

}  // namespace

bool LineCosts::is_waited_for(const Stream& s) const {
  if (s.is_output || s.is_dense || is_asked_for(s)) return false;
  if (s.is_copied) return true;
  if (is_followed(s)) return false;
  // Rows end to end on a page come one after the other.
  if (target_.page_streams > 0 && rows(s, s.to) == 1 && s.boxes[s.to].pages <= 1) return false;
  const double few = std::max(kFewRows, static_cast<double>(rows_followed(target_)));
  return line_cost(s) == 1 && rows_at_once(s) > few && !is_read_in_turn(s);
}

double LineCosts::lateness(const Stream& s) const {
  if (s.is_ahead) return kAskedTooEarly;
  if (!s.is_copied && lines_along(s) >= kLongPiece) return kFollowedLate;
  return 1 + (p_.in.size() < 2 ? 0 : std::min(kStartLines / lines_along(s), 1.5));
}

bool LineCosts::reads_parts_of_rows(const Stream& s) const {
  if (s.is_output || s.is_dense || s.is_copied || line_cost(s) < 1 || is_asked_for(s) ||
      is_followed(s) || !is_read_in_turn(s))
    return false;
  const Lengths tile = nest_.lengths(nest_.loops.size());
  const auto apart = static_cast<double>(long_row(target_));
  return std::ranges::any_of(schedule_.tile, [&](const TileVar& var) {
    const auto stride = static_cast<double>(std::abs(s.access().strides[var.label]));
    return var.role == Role::reduce && tile[static_cast<std::size_t>(var.label)] > 1 &&
           stride * item() >= apart && s.boxes[s.to].run * item() < kPage;
  });
}

bool LineCosts::goes_across_alone(const Stream& s) const {
  return !s.is_output && std::ranges::count(schedule_.tile, Role::vec, &TileVar::role) == 0 &&
         is_across(s) && line_cost(s) == 1 && !is_asked_for(s);
}

bool LineCosts::is_strip(const Stream& s) const {
  return target_.page_streams > 0 && p_.reduced.empty() && !s.is_output && line_cost(s) == 1 &&
         !is_asked_for(s) && rows(s, body_along(s)) > static_cast<double>(rows_followed(target_));
}

double LineCosts::run_read(const Stream& s) const {
  double run = s.boxes[s.to].run;
  for (std::size_t d = s.to; d-- > 0;)
    if (s.boxes[d].run > run && footprint_at(d + 1, Level::l2) <= bytes_of(Level::l2))
      run = s.boxes[d].run;
  return run;
}

bool LineCosts::may_be_torn(const Stream& s) const {
  const StreamBox& box = s.boxes[s.to];
  if (target_.page_streams == 0 || p_.reduced.empty() || !is_read_once(s) ||
      box.elements / box.run <= static_cast<double>(target_.page_streams) || line_cost(s) < 1)
    return false;
  const Lengths tile = nest_.lengths(nest_.loops.size());
  const auto next = std::ranges::find_if(s.operand->moves, [&](const Move& m) {
    return tile[static_cast<std::size_t>(m.label)] > 1 && m.stride > box.run;
  });
  return next != s.operand->moves.end() && next->stride_bytes < kPage;
}

double LineCosts::torn_rows_cost(const Stream& s) const {
  if (!may_be_torn(s)) return 1;
  const double run = run_read(s), lines = std::max(run / line_items(), 1.0);
  const bool is_lost = is_across(s) && run < s.boxes[0].run && lines < kRunLines;
  const double lost = is_lost ? kTornRows * (kRunLines - lines) / (kRunLines - 1) : 0;
  return 1 + std::max(lost, kTornSoon / std::max(s.boxes[s.to].run / line_items(), 1.0));
}

double LineCosts::overshoot(const Stream& s) const {
  if (target_.page_streams == 0 || !p_.reduced.empty() || s.is_output || line_cost(s) < 1) return 1;
  if (p_.large_inputs > 1 && is_asked_row_by_row(s)) return 1;
  const double bytes = run_read(s) * item();
  return std::fmod(bytes, kPage) == 0
             ? 1
             : 1 + kLinesBehind * static_cast<double>(target_.line_bytes) / bytes;
}

double LineCosts::beside_cost(const Stream& s) const {
  if (!p_.reduced.empty() || p_.large_inputs < 2 || s.is_output || line_cost(s) < 1) return 1;
  if (is_asked_row_by_row(s)) return rows_in_set_cost(s);
  if (is_asked_for(s)) return 1;
  if (!is_followed(s)) return kLeftAlone;
  std::size_t depth = body_along(s);
  while (depth > 0 && goes_on(s, depth)) --depth;
  const double lines = std::max(s.boxes[depth].run / line_items(), 1.0);
  return 1 + kFirstLines * std::max(1 / lines - 1 / kFoundSoon, 0.0);
}

bool LineCosts::is_one_page(const Stream& s) const {
  return target_.page_streams > 0 && !s.is_output && !s.is_dense && !s.is_copied &&
         line_cost(s) == 1 && rows_at_once(s) == 1;
}

double LineCosts::line_cost(const Stream& s) const {
  const double all = p_.bytes;
  const double l3_line =
      kL3LineCycles * target_.dram_bytes_per_cycle / static_cast<double>(target_.line_bytes);
  if (all <= bytes_of(Level::l2)) return kL2Resident * l3_line;
  const bool is_near =
      target_.has_near_l3 || !p_.reduced.empty() || !p_.outgrows_caches(*s.operand);
  if (all < static_cast<double>(target_.fast_cache_bytes()) && is_near) return l3_line;
  const double bytes = s.is_dense
                           ? s.boxes[s.from].lines * static_cast<double>(target_.line_bytes) * 2
                           : s.operand->elements * item() * 4;
  const std::int64_t cache = s.is_dense ? target_.l3_bytes : target_.fast_cache_bytes();
  return bytes <= static_cast<double>(cache) && is_near ? l3_line : 1;
}

double LineCosts::l1_line_cost(const Stream& s) const {
  if (s.is_output) return goes_along(s) ? 1 : kL2Scattered;
  if (is_gathered(s)) return kL2Gathered;
  const bool sums_rows = std::ranges::any_of(schedule_.tile, [&](const TileVar& var) {
    return var.role == Role::vec && p_.c.is_reduced(var.label) && !var.is_kept &&
           s.access().strides[var.label] == 1;
  });
  const double few = target_.page_streams > 0 ? kFewRows - 1 : kFewRows;
  return sums_rows && !s.is_dense && rows_at_once(s) > few ? kL2ManyRows : 1;
}

double LineCosts::vector_stride(const Stream& s) const {
  if (s.is_dense || s.is_copied || p_.reduced.empty() || schedule_.tile.empty()) return 0;
  const auto vec = std::ranges::find(schedule_.tile, Role::vec, &TileVar::role);
  const TileVar& along = vec != schedule_.tile.end() ? *vec : schedule_.tile.back();
  return static_cast<double>(std::abs(s.access().strides[along.label]));
}

bool LineCosts::is_gathered(const Stream& s) const {
  if (!is_across(s)) return false;
  const Lengths tile = nest_.lengths(nest_.loops.size());
  double along = 1;  // elements of a row
  for (const TileVar& var : schedule_.tile)
    if (std::abs(s.access().strides[var.label]) == 1)
      along = var.role == Role::reduce ? static_cast<double>(var.factor) : tile[var.label];
  return along * 4 < static_cast<double>(p_.lanes);
}

double LineCosts::run_cost(const Stream& s, const StreamBox& box) const {
  if (is_streamed(s) || may_be_torn(s)) return 1;
  const double run_lines = std::min(box.run_lines, visited_run_lines(s));
  if (run_lines >= kRunLines) return 1;
  const double short_run = !is_asked_for(s) ? kShortRun
                           : s.is_ahead     ? kShortRunCopied
                                            : kShortRunAhead;
  return 1 + (short_run - 1) * (kRunLines - run_lines) / (kRunLines - 1);
}

double LineCosts::written_cost(const Stream& s) const {
  if (schedule_.store == Store::cached) return 2 * written_back_cost(s);
  if (is_drained()) return 1 + kEndsOfRun * line_items() / s.boxes[s.to].run;
  if (carried_loop(schedule_)) return carried_cost(schedule_, p_);
  const bool is_torn = target_.page_streams > 0 && p_.reduced.empty();
  return 1 + (is_torn ? kTornAlone : 1) * unaligned_part(schedule_, p_.c, s.operand->row_alignment);
}

double LineCosts::written_back_cost(const Stream& s) const {
  if (target_.page_streams == 0 || !p_.reduced.empty() || line_cost(s) < 1) return 1;
  const double run = s.boxes[std::min(fitting_depth(Level::l1), s.to)].run_lines;
  return kReadFirst * (1 + kLeavesAlone * std::clamp((kRunLines - run) / kRunLines, 0.0, 1.0));
}

double LineCosts::streamed_cost(const Stream& s) const {
  if (!p_.reduced.empty()) return 0;
  if (is_drained()) return kDrained;
  const std::size_t body = body_along(s);
  const double open = open_rows(s, body);
  const double others = std::clamp((open - kOpenRows) / (kManyRows - kOpenRows), 0.0, 1.0);
  const StreamBox& tile = s.boxes[s.to];
  const double alone = std::max(kTogether - tile.lines / open_rows(s, s.to), 0.0);
  const bool bursts = line_cost(s) == 1 && rows(s, s.to) > kFewRows;
  const double burst = bursts ? std::max(tile.lines - kShortBurst, 0.0) : 0;
  const double single = target_.page_streams > 0 ? kAloneInTile * std::min(alone, 1.0) : 0;
  return kAloneCopied * others * alone + single + kBurst * burst;
}

double LineCosts::open_rows(const Stream& s, std::size_t depth) const {
  const Lengths lengths = nest_.lengths(depth);
  for (const Move& m : s.operand->moves)
    if (lengths[static_cast<std::size_t>(m.label)] > 1 && m.page_part >= kFewChannels)
      return rows(s, depth);
  return std::clamp(s.boxes[depth].pages, 1.0, rows(s, depth));
}

double LineCosts::asked_cost(const Stream& s) const {
  if (!p_.reduced.empty())
    return (1 + (goes_along(s) ? kAskedAlong : kAskedAcross)) * rows_beyond_followed(s);
  std::size_t body = s.to;
  while (body > 0 && goes_on(s, body)) --body;
  const double visited = s.boxes[body].run / line_items();
  const double across = schedule_.store == Store::streaming ? kCopiedAcross : kAskedAcross;
  const double alone = std::clamp((kVisitLines - visited) / (kVisitLines - 1), 0.0, 1.0);
  const double left = p_.large_inputs > 1 ? kAcrossBeside * alone * alone : across * alone;
  const double cost =
      1 + jump_cost(s) +
      (body < s.to ? kAskedAlong * std::min(1.0, kStreams / visited) + left : across);
  return cost * pages_cost(s) * rows_in_set_cost(s);
}

double LineCosts::rows_in_set_cost(const Stream& s) const {
  return 1 + kRowCost * std::max(rows_in_one_set(s) - kRowsInSet, 0.0);
}

double LineCosts::rows_beyond_followed(const Stream& s) const {
  const auto followed = static_cast<double>(target_.page_streams);
  return followed > 0 && is_across(s) ? std::clamp(rows_at_once(s) / followed, 1.0, 2.0) : 1;
}

double LineCosts::pages_cost(const Stream& s) const {
  const StreamBox& body = s.boxes[body_along(s)];
  const double pages = std::min(body.elements / body.run, body.pages);
  const auto followed = static_cast<double>(target_.page_streams);
  return followed > 0 && pages > followed ? 1 + kPagesLost * std::log2(pages / followed) : 1;
}

bool LineCosts::writes_long_runs() const {
  return std::ranges::any_of(streams_, [&](const Stream& s) {
    return s.is_output && s.boxes[body_along(s)].run >= kTogether * line_items();
  });
}

double LineCosts::jump_cost(const Stream& s) const {
  // Where the hardware follows pages, whole lines cost the same anywhere.
  if (target_.page_streams > 0 || p_.out.row_alignment < static_cast<std::int64_t>(line_items()))
    return 0;
  for (const AheadSpec& a : schedule_.ahead) {
    if (&p_.c.in[static_cast<std::size_t>(a.operand)] != &s.access()) continue;
    for (std::size_t d = nest_.loops.size(); d-- > 0;) {
      if (nest_.loops[d].label != a.label || a.distance % nest_.loops[d].step != 0) continue;
      const std::int64_t trip = nest_.loops[d].step;
      const StreamBox& box = s.boxes[d + 1];
      if (box.run < box.elements || box.run * item() < kLeastJump) return 0;
      const auto step = static_cast<double>(std::abs(s.access().strides[a.label]) * trip);
      const std::int64_t written = p_.c.out.strides[a.label] * trip * p_.item;
      if (step == box.run && written % kSameChannels != 0) return 0;
      if (!writes_long_runs()) return 0;
      return kJump * std::min(kJumpBytes / (box.run * item()), 1.0);
    }
  }
  return 0;
}

double LineCosts::visited_run_lines(const Stream& s) const {
  if (s.is_dense || s.to < nest_.loops.size() || is_asked_by_blocks(s)) return kRunLines;
  const bool is_far = !s.is_output && line_cost(s) == 1;
  const bool is_left_alone = is_far && !is_asked_for(s);
  const std::size_t body = is_left_alone ? body_along(s) : s.to;
  const bool has_time = is_far && !is_left_alone && schedule_.store == Store::streaming;
  const double most =
      has_time ? kAskedRows : std::max(kStreams, static_cast<double>(target_.page_streams));
  return rows(s, body) <= most ? kRunLines : std::max(s.boxes[s.to].run / line_items(), 1.0);
}

}  // namespace einjit
