#include "schedule/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "schedule/alignment.hpp"
#include "schedule/carry.hpp"
#include "schedule/fetching.hpp"

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
constexpr double kAcrossAlone = 2.2;    // more of a line, if the sum of a scalar goes across rows
constexpr double kPartOfRow = 1.2;      // more of a line, if a tile sums parts of rows
constexpr double kOnePage = 1.15;       // more of a line, if one page is followed, not several
constexpr double kStripAlone = 1.1;     // more of a line of rows that only the hardware asks for
constexpr double kLinesBehind = 40;     // a run, that the hardware fetches and the time it takes to
                                        // find out where the next one is
constexpr double kAskedTooEarly = 0.5;
constexpr double kAskedTwice = 2;  // what is gone before it is read
constexpr double kStartLines = 8;
constexpr double kStreams = 16;  // rows in turn that a prefetcher follows

class Analysis : Fetching {
 public:
  using Fetching::Fetching;

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
      if (is_one_page(s)) lines *= kOnePage;
      if (is_strip(s)) lines *= kStripAlone;
      lines *= overshoot(s) * torn_rows_cost(s);
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
  // Copies wait for what nobody asks for, and so do tiles that read many rows from memory at once,
  // a few lines of each.
  bool is_waited_for(const Stream& s) const {
    if (s.is_output || s.is_dense || is_asked_for(s)) return false;
    if (s.is_copied) return true;
    if (is_followed(s)) return false;
    // Rows end to end on a page come one after the other.
    if (target_.page_streams > 0 && rows(s, s.to) == 1 && s.boxes[s.to].pages <= 1) return false;
    const double few = std::max(kFewRows, static_cast<double>(rows_followed(target_)));
    return line_cost(s) == 1 && rows_at_once(s) > few && !is_read_in_turn(s);
  }

  // How late a line that is waited for comes, against one nobody knew of. Asked for too early is
  // better than not at all; the hardware's prefetchers need a few lines of each row to begin.
  double lateness(const Stream& s) const {
    if (s.is_ahead) return kAskedTooEarly;
    if (!s.is_copied && lines_along(s) >= kLongPiece) return kFollowedLate;
    return 1 + (p_.in.size() < 2 ? 0 : std::min(kStartLines / lines_along(s), 1.5));
  }

  // Whether a tile sums long pieces of rows that lie on pages of their own, but goes to the next
  // row before it has read a page: few lines are on their way then.
  bool reads_parts_of_rows(const Stream& s) const {
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

  // Whether a sum of single elements goes to another row with each: nobody asks for those.
  bool goes_across_alone(const Stream& s) const {
    return !s.is_output && is_across(s) && line_cost(s) == 1 && !is_asked_for(s) &&
           std::ranges::count(schedule_.tile, Role::vec, &TileVar::role) == 0;
  }

  // Whether a copy goes along many rows from memory, and nobody but the hardware asks for them.
  bool is_strip(const Stream& s) const {
    return target_.page_streams > 0 && p_.reduced.empty() && !s.is_output && line_cost(s) == 1 &&
           !is_asked_for(s) && rows(s, body_along(s)) > static_cast<double>(rows_followed(target_));
  }

  // What is read of a run before L2 has lost what lies beside it.
  double run_read(const Stream& s) const {
    double run = s.boxes[s.to].run;
    for (std::size_t d = s.to; d-- > 0;)
      if (s.boxes[d].run > run && footprint_at(d + 1, Level::l2) <= bytes_of(Level::l2))
        run = s.boxes[d].run;
    return run;
  }

  // Whether a sum's tile goes across rows that lie several to a page, more of them than the
  // hardware follows on meshes.
  bool may_be_torn(const Stream& s) const {
    const StreamBox& box = s.boxes[s.to];
    if (target_.page_streams == 0 || p_.reduced.empty() || line_cost(s) < 1 || !is_read_once(s) ||
        box.elements / box.run <= static_cast<double>(target_.page_streams))
      return false;
    const Lengths tile = nest_.lengths(nest_.loops.size());
    const auto next = std::ranges::find_if(s.operand->moves, [&](const Move& m) {
      return tile[static_cast<std::size_t>(m.label)] > 1 && m.stride > box.run;
    });
    return next != s.operand->moves.end() && next->stride_bytes < kPage;
  }

  // Of lines of such rows, few of each at a time: the hardware fetches what lies between, too late
  // for the next tile, or in vain if that is read much later.
  double torn_rows_cost(const Stream& s) const {
    if (!may_be_torn(s)) return 1;
    const double run = run_read(s), lines = std::max(run / line_items(), 1.0);
    const bool is_lost = is_across(s) && run < s.boxes[0].run && lines < kRunLines;
    const double lost = is_lost ? kTornRows * (kRunLines - lines) / (kRunLines - 1) : 0;
    return 1 + std::max(lost, kTornSoon / std::max(s.boxes[s.to].run / line_items(), 1.0));
  }

  // Of a copy's lines, if the hardware fetches what lies behind the end of a run, up to the end of
  // its page, and L2 has lost that when a loop comes to it.
  double overshoot(const Stream& s) const {
    if (target_.page_streams == 0 || !p_.reduced.empty() || s.is_output || line_cost(s) < 1)
      return 1;
    const double bytes = run_read(s) * item();
    return std::fmod(bytes, kPage) == 0
               ? 1
               : 1 + kLinesBehind * static_cast<double>(target_.line_bytes) / bytes;
  }

  // Whether of the pages that the hardware could follow a tile reads one at a time.
  bool is_one_page(const Stream& s) const {
    return target_.page_streams > 0 && !s.is_output && !s.is_dense && !s.is_copied &&
           line_cost(s) == 1 && rows_at_once(s) == 1;
  }

  // Of a line, against one from memory: what L3 can hold comes from there, and if everything fits
  // L2, nothing leaves it.
  double line_cost(const Stream& s) const {
    const double all = p_.bytes;
    const double l3_line =
        kL3LineCycles * target_.dram_bytes_per_cycle / static_cast<double>(target_.line_bytes);
    if (all <= bytes_of(Level::l2)) return kL2Resident * l3_line;
    if (all < static_cast<double>(target_.fast_cache_bytes())) return l3_line;
    const double bytes = s.is_dense
                             ? s.boxes[s.from].lines * static_cast<double>(target_.line_bytes) * 2
                             : s.operand->elements * item() * 4;
    const std::int64_t cache = s.is_dense ? target_.l3_bytes : target_.fast_cache_bytes();
    return bytes <= static_cast<double>(cache) ? l3_line : 1;
  }

  // Of a line from L2, against one of few rows read along: those are there before they are wanted.
  double l1_line_cost(const Stream& s) const {
    if (s.is_output) return goes_along(s) ? 1 : kL2Scattered;
    if (is_gathered(s)) return kL2Gathered;
    const bool sums_rows = std::ranges::any_of(schedule_.tile, [&](const TileVar& var) {
      return var.role == Role::vec && p_.c.is_reduced(var.label) && !var.is_kept &&
             s.access().strides[var.label] == 1;
    });
    const double few = target_.page_streams > 0 ? kFewRows - 1 : kFewRows;
    return sums_rows && !s.is_dense && rows_at_once(s) > few ? kL2ManyRows : 1;
  }

  // From one element of a tile's vectors, or of its steps, to the next. 0: of a copy or a panel.
  double vector_stride(const Stream& s) const {
    if (s.is_dense || s.is_copied || p_.reduced.empty() || schedule_.tile.empty()) return 0;
    const auto vec = std::ranges::find(schedule_.tile, Role::vec, &TileVar::role);
    const TileVar& along = vec != schedule_.tile.end() ? *vec : schedule_.tile.back();
    return static_cast<double>(std::abs(s.access().strides[along.label]));
  }

  // Whether vectors go across the rows of an input.
  bool is_across(const Stream& s) const { return vector_stride(s) >= line_items(); }

  // Whether they are put together of single elements: no blocks are transposed.
  bool is_gathered(const Stream& s) const {
    if (!is_across(s)) return false;
    const Lengths tile = nest_.lengths(nest_.loops.size());
    double along = 1;  // elements of a row
    for (const TileVar& var : schedule_.tile)
      if (std::abs(s.access().strides[var.label]) == 1)
        along = var.role == Role::reduce ? static_cast<double>(var.factor) : tile[var.label];
    return along * 4 < static_cast<double>(p_.lanes);
  }

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

  // Of a line in runs as the box's, against one in a long run. (Of those written past the caches
  // others care: streamed_cost.)
  double run_cost(const Stream& s, const StreamBox& box) const {
    if (is_streamed(s) || may_be_torn(s)) return 1;
    const double run_lines = std::min(box.run_lines, visited_run_lines(s));
    if (run_lines >= kRunLines) return 1;
    const double short_run = !is_asked_for(s) ? kShortRun
                             : s.is_ahead     ? kShortRunCopied
                                              : kShortRunAhead;
    return 1 + (short_run - 1) * (kRunLines - run_lines) / (kRunLines - 1);
  }

  // Of a line of the output: what is not written past the caches is read first.
  double written_cost(const Stream& s) const {
    if (schedule_.store == Store::cached) return 2 * written_back_cost(s);
    if (is_drained()) return 1 + kEndsOfRun * line_items() / s.boxes[s.to].run;
    if (carried_loop(schedule_)) return carried_cost(schedule_, p_);
    const bool is_torn = target_.page_streams > 0 && p_.reduced.empty();
    return 1 +
           (is_torn ? kTornAlone : 1) * unaligned_part(schedule_, p_.c, s.operand->row_alignment);
  }

  // Of a line that a copy does not write past the caches, on meshes: it is read first, alone, and
  // leaves L2 alone, unless a long run of lines does at a time.
  double written_back_cost(const Stream& s) const {
    if (target_.page_streams == 0 || !p_.reduced.empty() || line_cost(s) < 1) return 1;
    const double run = s.boxes[std::min(fitting_depth(Level::l1), s.to)].run_lines;
    return kReadFirst * (1 + kLeavesAlone * std::clamp((kRunLines - run) / kRunLines, 0.0, 1.0));
  }

  // What a line that a copy writes past the caches costs beside its bytes: those of a page that
  // come alone while many others are written, and those of a tile that come all at once.
  double streamed_cost(const Stream& s) const {
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

  // Rows of a box, or their pages: lines of one need not be in order, unless the rows begin on few
  // channels of the memory.
  double open_rows(const Stream& s, std::size_t depth) const {
    const Lengths lengths = nest_.lengths(depth);
    for (const Move& m : s.operand->moves)
      if (lengths[static_cast<std::size_t>(m.label)] > 1 && m.page_part >= kFewChannels)
        return rows(s, depth);
    return std::clamp(s.boxes[depth].pages, 1.0, rows(s, depth));
  }

  // Of a line that a copy's tiles ask for ahead.
  double asked_cost(const Stream& s) const {
    if (!p_.reduced.empty())
      return (1 + (goes_along(s) ? kAskedAlong : kAskedAcross)) * rows_beyond_followed(s);
    std::size_t body = s.to;
    while (body > 0 && goes_on(s, body)) --body;
    const double visited = s.boxes[body].run / line_items();
    const double across = schedule_.store == Store::streaming ? kCopiedAcross : kAskedAcross;
    const double alone = std::clamp((kVisitLines - visited) / (kVisitLines - 1), 0.0, 1.0);
    const double cost =
        1 + jump_cost(s) +
        (body < s.to ? kAskedAlong * std::min(1.0, kStreams / visited) + across * alone : across);
    return cost * pages_cost(s) * (1 + kRowCost * std::max(rows_in_one_set(s) - kRowsInSet, 0.0));
  }

  // Of rows that lie across the vectors, if there are more of them than the hardware follows.
  double rows_beyond_followed(const Stream& s) const {
    const auto followed = static_cast<double>(target_.page_streams);
    return followed > 0 && is_across(s) ? std::clamp(rows_at_once(s) / followed, 1.0, 2.0) : 1;
  }

  // Of lines of many pages in turn, against those of as many as the hardware follows.
  double pages_cost(const Stream& s) const {
    const StreamBox& body = s.boxes[body_along(s)];
    const double pages = std::min(body.elements / body.run, body.pages);
    const auto followed = static_cast<double>(target_.page_streams);
    return followed > 0 && pages > followed ? 1 + kPagesLost * std::log2(pages / followed) : 1;
  }

  // Of some lines, by the loops around a tile.
  bool writes_long_runs() const {
    return std::ranges::any_of(streams_, [&](const Stream& s) {
      return s.is_output && s.boxes[body_along(s)].run >= kTogether * line_items();
    });
  }

  // What the lines of boxes without gaps cost more that are asked for ahead and do not go on where
  // the one before ends; or if the output then stays on few channels of memory. Where its lines are
  // not whole, the order in which they become so decides.
  double jump_cost(const Stream& s) const {
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

  // Lines read of a row before the nest goes on to another. A loop along the rows comes back to
  // each after all others of its body: from memory the hardware's prefetchers follow a few. What is
  // near, or asked for, or written cares about the rows of a tile only. (Copies into panels go
  // along the rows.)
  double visited_run_lines(const Stream& s) const {
    if (s.is_dense || s.to < nest_.loops.size() || is_asked_by_blocks(s)) return kRunLines;
    const bool is_far = !s.is_output && line_cost(s) == 1;
    const bool is_left_alone = is_far && !is_asked_for(s);
    const std::size_t body = is_left_alone ? body_along(s) : s.to;
    const bool has_time = is_far && !is_left_alone && schedule_.store == Store::streaming;
    const double most =
        has_time ? kAskedRows : std::max(kStreams, static_cast<double>(target_.page_streams));
    return rows(s, body) <= most ? kRunLines : std::max(s.boxes[s.to].run / line_items(), 1.0);
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
