#include "schedule/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "cost/tile_cost.hpp"

namespace einjit {
namespace {

constexpr double kFill = 0.85;   // of a cache that is of use to its streams
constexpr double kConflict = 8;  // a stream whose rows fall into one set
constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kL1Ways = 8;
constexpr double kFetchedAgain = 3;
constexpr double kTlbEntries = 64;  // left for one stream
constexpr double kPageMissCycles = 6;
constexpr double kSecondTlbEntries = 1500;
constexpr double kPageWalkCycles = 20;
constexpr double kL2LineCycles = 2.5;  // a line from L2, what FMAs do not hide
constexpr double kL3LineCycles = 3;
constexpr double kL2Resident = 0.1;        // of what a line from L3 costs, if operands stay in L2
constexpr double kShortRun = 3;            // a line from DRAM that comes alone, against in a run
constexpr double kShortRunCopied = 4;      // if a copy asked for ahead reads it
constexpr double kShortRunAhead = 1.5;     // if tiles that go along its row ask for it
constexpr double kShortRunStreamed = 1.5;  // if it is written past the caches
constexpr double kRunLines = 6;            // lines that make a run
constexpr double kFewRows = 4;             // read at once: the hardware's prefetchers keep up
constexpr double kStartLines = 8;
constexpr double kStreams = 16;  // rows in turn that a prefetcher follows

enum class Level : std::uint8_t { l1, l2 };
using Lengths = std::vector<std::int64_t>;

// One array as the nest sees it between two depths.
struct Stream {
  const Access* access;
  std::size_t from, to;   // depths: loops [0, from) are outside, boxes are those at `to`
  bool is_dense = false;  // panels: no gaps between elements
  bool is_output = false;
  bool is_copied = false, is_ahead = false;
};

struct Nest {
  std::vector<LoopSpec> loops;
  std::vector<Lengths> lengths;  // per depth 0 .. loops.size(): the range of each label
  std::vector<double> trips;     // per loop
};

class Analysis {
 public:
  Analysis(const Contraction& c, const Schedule& schedule, const Target& target)
      : c_(c), target_(target), schedule_(schedule) {
    collect();
  }

  Traffic run() const {
    Traffic result;
    for (const Stream& s : streams_) {
      result.l1_lines += lines_into(s, Level::l1) * (s.is_output && !goes_along(s) ? 1.5 : 1);
      double lines = lines_into(s, Level::l2);
      if (s.is_output && schedule_.store == Store::cached) lines *= 2;
      lines *= line_cost(s) * (1 + 2 * asked_in_vain(s));
      if (is_waited_for(s)) {
        // Asked for too early is better than not at all; prefetchers of the hardware need a few
        // lines of each row to begin.
        const double start = c_.in.size() < 2 ? 0 : std::min(kStartLines / lines_along(s), 1.5);
        const double late = s.is_ahead ? 0.5 : 1 + start;
        result.waited_lines += lines * late;
        lines *= std::max(late, 1.0);
      }
      result.l2_lines += lines;
      result.page_misses += page_misses(s);
      if (s.is_output) result.page_walks += page_walks(s);
    }
    return result;
  }

 private:
  void collect() {
    nest_.lengths.push_back(c_.extents);
    std::vector<std::pair<int, std::size_t>> packs;  // operand, depth
    int ahead = -1;
    for (const auto& item : schedule_.outer) {
      if (const auto* pack = std::get_if<PackSpec>(&item)) {
        packs.emplace_back(pack->operand, nest_.loops.size());
        if (pack->is_ahead) ahead = pack->operand;
        continue;
      }
      const LoopSpec& loop = std::get<LoopSpec>(item);
      Lengths next = nest_.lengths.back();
      const double before = static_cast<double>(next[loop.label]);
      next[loop.label] = std::min(next[loop.label], loop.step);
      nest_.trips.push_back(std::max(1.0, before / static_cast<double>(next[loop.label])));
      nest_.loops.push_back(loop);
      nest_.lengths.push_back(std::move(next));
    }
    const std::size_t all = nest_.loops.size();
    for (std::size_t k = 0; k < c_.in.size(); ++k) {
      const auto pack =
          std::ranges::find(packs, static_cast<int>(k), &std::pair<int, std::size_t>::first);
      if (pack == packs.end()) {
        streams_.push_back({&c_.in[k], 0, all});
      } else {
        streams_.push_back(
            {&c_.in[k], 0, pack->second, false, false, true, static_cast<int>(k) == ahead});
        streams_.push_back({&c_.in[k], pack->second, all, true});
      }
    }
    streams_.push_back({&c_.out, 0, all, false, true});
  }

  // Whether somebody asks for a stream's lines before they are read, early enough and not too
  // early.
  bool is_asked_for(const Stream& s) const {
    if (s.is_ahead) return footprint_at(s.to, Level::l2) <= bytes_of(Level::l2);
    return std::ranges::any_of(schedule_.ahead, [&](const AheadSpec& a) {
      return &c_.in[static_cast<std::size_t>(a.operand)] == s.access;
    });
  }

  // The part of what is asked for that lies beyond the end of the rows being read.
  double asked_in_vain(const Stream& s) const {
    for (const AheadSpec& a : schedule_.ahead) {
      if (&c_.in[static_cast<std::size_t>(a.operand)] != s.access) continue;
      // The innermost loops over the label go on where their last piece ended.
      std::size_t depth = nest_.loops.size();
      for (std::size_t d = depth; d-- > 0;) {
        if (s.access->strides[nest_.loops[d].label] == 0) continue;
        if (nest_.loops[d].label != a.label) break;
        depth = d;
      }
      return std::min(1.0, static_cast<double>(a.distance) /
                               static_cast<double>(nest_.lengths[depth][a.label]));
    }
    return 0;
  }

  // Copies wait for what nobody asks for, and so do tiles that read many rows from memory at once.
  bool is_waited_for(const Stream& s) const {
    if (s.is_output || s.is_dense || is_asked_for(s)) return false;
    if (s.is_copied) return true;
    return line_cost(s) == 1 && rows_at_once(s) > kFewRows;
  }

  // Whether the innermost loop goes along the stream's rows: better for writes than for reads.
  bool goes_along(const Stream& s) const {
    return nest_.loops.empty() || s.access->strides[nest_.loops.back().label] == 1;
  }

  // Lines of one of the rows that a stream goes along.
  double lines_along(const Stream& s) const {
    Lengths walked = nest_.lengths[s.to];
    for (const TileVar& var : schedule_.tile)
      if (var.role == Role::unroll) walked[var.label] = 1;
    return std::max(run_length(s, walked, -1, s.to) / line_items(), 1.0);
  }

  // Rows a tile goes along at the same time: unrolled ones, whether or not they lie end to end.
  double rows_at_once(const Stream& s) const {
    Lengths walked = nest_.lengths[s.to];
    double elements = 1;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (s.access->strides[l] != 0) elements *= static_cast<double>(walked[l]);
    for (const TileVar& var : schedule_.tile)
      if (var.role == Role::unroll) walked[var.label] = 1;
    return elements / run_length(s, walked, -1, s.to);
  }

  // Of a line, against one from memory: what L3 can hold comes from there, and if everything fits
  // L2, nothing leaves it.
  double line_cost(const Stream& s) const {
    const double all = byte_count(c_);
    const double l3_line =
        kL3LineCycles * target_.dram_bytes_per_cycle / static_cast<double>(target_.line_bytes);
    if (all <= bytes_of(Level::l2)) return kL2Resident * l3_line;
    if (all < static_cast<double>(target_.l3_bytes)) return l3_line;
    const double bytes =
        s.is_dense ? box_lines(s, s.from).lines * static_cast<double>(target_.line_bytes) * 2
                   : element_count(c_, *s.access) * item() * 4;
    return bytes <= static_cast<double>(target_.l3_bytes) ? l3_line : 1;
  }

  double item() const { return static_cast<double>(size_of(c_.dtype)); }
  double line_items() const { return static_cast<double>(target_.line_bytes) / item(); }

  // Lines of a stream's box, and the length of its runs in lines.
  struct BoxLines {
    double lines, run_lines;
  };
  BoxLines box_lines(const Stream& s, std::size_t depth) const {
    const Lengths& lengths = nest_.lengths[depth];
    double elements = 1, reach = 1;
    for (Label l = 0; l < c_.label_count(); ++l) {
      if (s.access->strides[l] == 0) continue;
      elements *= static_cast<double>(lengths[l]);
      reach += std::abs(static_cast<double>(s.access->strides[l])) *
               static_cast<double>(std::max<std::int64_t>(lengths[l] - 1, 0));
    }
    if (s.is_dense) return {std::ceil(elements / line_items()), kRunLines};
    // The loop outside may go on where the box ends.
    const double run = depth > 0 ? run_length(s, lengths, nest_.loops[depth - 1].label, depth)
                                 : run_length(s, lengths, -1, depth);
    const double partial = run >= elements || run <= 1 || is_aligned(*s.access, run) ? 0 : 0.5;
    const double run_lines = std::max(run / line_items() + partial, 1.0);
    // Windows overlap: there are no more lines than from the first element to the last.
    const double lines = std::max(elements / run * run_lines, elements / line_items());
    return {std::min(lines, std::ceil(reach / line_items()) + 1), run_lines};
  }

  // Whether runs begin and end on lines, if the array begins on one.
  bool is_aligned(const Access& a, double run) const {
    const auto items = static_cast<std::int64_t>(line_items());
    return static_cast<std::int64_t>(run) % items == 0 &&
           std::ranges::all_of(a.strides, [&](std::int64_t stride) {
             return std::abs(stride) <= 1 || stride % items == 0;
           });
  }

  // Elements in a row: those of contiguous labels, then of labels whose stride is the run so far.
  double run_length(const Stream& s, const Lengths& lengths, Label outside,
                    std::size_t depth) const {
    double run = 1;
    for (bool grown = true; grown;) {
      grown = false;
      for (Label l = 0; l < c_.label_count(); ++l) {
        const auto length =
            static_cast<double>(l == outside ? nest_.lengths[depth - 1][l] : lengths[l]);
        if (length <= 1 || std::abs(static_cast<double>(s.access->strides[l])) != run) continue;
        run *= length;
        grown = true;
        break;
      }
    }
    return run;
  }

  // Bytes of cache a box takes; rows that fall into few sets take more.
  double footprint(const Stream& s, std::size_t depth, Level level) const {
    if (s.is_output && schedule_.store == Store::streaming) return 0;
    const double bytes = box_lines(s, depth).lines * static_cast<double>(target_.line_bytes);
    if (s.is_dense) return bytes;
    return bytes * (level == Level::l1 ? l1_conflict(s, depth) : l2_conflict(s, depth));
  }

  // Rows read in turn, an element of each at a time, thrash the set they share.
  double l1_conflict(const Stream& s, std::size_t depth) const {
    double conflict = 1;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const std::int64_t stride = std::abs(s.access->strides[l]) * size_of(c_.dtype);
      if (stride > 0 && stride % (kPage / 2) == 0 && nest_.lengths[depth][l] > kL1Ways)
        conflict *= kConflict;
    }
    return conflict;
  }

  // L2 is indexed by physical addresses: pages lie anywhere, but places in them stay. Rows a power
  // of two apart use a part of the places, and so of the sets.
  double l2_conflict(const Stream& s, std::size_t depth) const {
    const Lengths& lengths = nest_.lengths[depth];
    const double row = std::max(run_length(s, lengths, -1, depth) * item(),
                                static_cast<double>(target_.line_bytes));
    std::int64_t apart = kPage;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const std::int64_t stride = std::abs(s.access->strides[l]) * size_of(c_.dtype);
      if (lengths[l] > 1 && static_cast<double>(stride) >= row) apart = std::gcd(apart, stride);
    }
    return std::clamp(static_cast<double>(apart) / row, 1.0, kConflict);
  }

  double footprint_at(std::size_t depth, Level level) const {
    double bytes = 0;
    for (const Stream& s : streams_)
      if (depth >= s.from) bytes += footprint(s, std::min(depth, s.to), level);
    return bytes;
  }

  double bytes_of(Level level) const {
    return static_cast<double>(level == Level::l1 ? target_.l1_bytes : target_.l2_bytes) * kFill;
  }

  // The outermost depth whose streams fit a cache together.
  std::size_t fitting_depth(Level level) const {
    for (std::size_t d = 0; d < nest_.loops.size(); ++d)
      if (footprint_at(d, level) <= bytes_of(level)) return d;
    return nest_.loops.size();
  }

  double lines_into(const Stream& s, Level level) const {
    const std::size_t depth = std::clamp(fitting_depth(level), s.from, s.to);
    const BoxLines box = box_lines(s, depth);
    double fetched = box.lines;
    const double run_lines = std::min(box.run_lines, visited_run_lines(s));
    const bool is_streamed = s.is_output && schedule_.store == Store::streaming;
    const double short_run = is_streamed        ? kShortRunStreamed
                             : !is_asked_for(s) ? kShortRun
                             : s.is_ahead       ? kShortRunCopied
                                                : kShortRunAhead;
    if (level == Level::l2 && run_lines < kRunLines)
      fetched *= 1 + (short_run - 1) * (kRunLines - run_lines) / (kRunLines - 1);
    // A tile larger than the cache finds nothing of its last visit there.
    bool moved = footprint_at(depth, level) > bytes_of(level);
    for (std::size_t d = depth; d-- > 0;) {
      moved |= s.access->strides[nest_.loops[d].label] != 0;
      // Panels are made anew for every iteration outside; their lines are in the cache then.
      if (moved) fetched *= nest_.trips[d];
    }
    if (s.is_dense && depth <= s.from) return 0;
    return level == Level::l1 ? fetched * times_evicted(s) : fetched;
  }

  // Rows of a tile that lie in one set of L1.
  double rows_in_one_set(const Stream& s) const {
    if (s.is_dense || s.to < nest_.loops.size()) return 0;
    const Lengths& tile = nest_.lengths[nest_.loops.size()];
    double rows = 1;
    for (const TileVar& var : schedule_.tile) {
      const std::int64_t stride = s.access->strides[var.label] * size_of(c_.dtype);
      if (stride != 0 && stride % kPage == 0 && var.role != Role::reduce)
        rows *= static_cast<double>(tile[var.label]);
    }
    return rows;
  }

  // As many rows in one set as it has ways: where a tile reads an element of each at a step, a line
  // is gone before its next element is wanted; where it reads vectors, what was fetched ahead is.
  // Blocks that are transposed take a line at once.
  double times_evicted(const Stream& s) const {
    double all_rows = 0;
    for (const Stream& other : streams_)
      if (!other.is_output) all_rows += rows_in_one_set(other);
    if (rows_in_one_set(s) <= 1 || all_rows < kL1Ways) return 1;
    double along = 1;
    for (const TileVar& var : schedule_.tile) {
      const std::int64_t stride = s.access->strides[var.label];
      if (stride != 0 && var.role == Role::vec) return stride == 1 ? kFetchedAgain : 1;
      if (stride == 1 && var.role == Role::reduce)
        along = static_cast<double>(nest_.lengths[nest_.loops.size()][var.label]);
    }
    return std::min(along, line_items());
  }

  // Lines read in a row as a tile visits them: one with many rows leaves each after its own run,
  // whatever the loops outside do. (Copies into panels go along the rows.)
  double visited_run_lines(const Stream& s) const {
    if (s.is_dense || s.to < nest_.loops.size()) return kRunLines;
    const Lengths& tile = nest_.lengths[s.to];
    double elements = 1;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (s.access->strides[l] != 0) elements *= static_cast<double>(tile[l]);
    const double run = run_length(s, tile, -1, s.to);
    const bool is_streamed = s.is_output && schedule_.store == Store::streaming;
    const double most = is_streamed ? kStreams / 2 : kStreams;
    return elements / run <= most ? kRunLines : std::max(run / line_items(), 1.0);
  }

  // Pages that a box lies on.
  double pages(const Stream& s, std::size_t depth) const {
    if (s.is_dense) return 0;  // scratch lies on large pages
    const Lengths& box = nest_.lengths[depth];
    double pages = 1;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const double stride = std::abs(static_cast<double>(s.access->strides[l])) * item();
      if (stride > 0 && box[l] > 1)
        pages *= std::max(1.0, std::min(static_cast<double>(box[l]),
                                        static_cast<double>(box[l]) * stride / kPage));
    }
    return pages;
  }

  // The innermost box walks over pages; beyond the first-level TLB's reach each costs a miss.
  double page_misses(const Stream& s) const {
    double misses = pages(s, s.to);
    if (misses <= kTlbEntries) return 0;
    for (std::size_t d = 0; d < s.to; ++d) misses *= nest_.trips[d];
    return misses;
  }

  // Misses of the second-level TLB: as lines, with pages for lines.
  double page_walks(const Stream& s) const {
    auto all = [&](std::size_t depth) {
      double sum = 0;
      for (const Stream& other : streams_)
        if (depth >= other.from) sum += pages(other, std::min(depth, other.to));
      return sum;
    };
    std::size_t fitting = 0;
    while (fitting < nest_.loops.size() && all(fitting) > kSecondTlbEntries) ++fitting;
    if (fitting == 0) return 0;
    const std::size_t depth = std::clamp(fitting, s.from, s.to);
    double walks = pages(s, depth);
    bool moved = false;
    for (std::size_t d = depth; d-- > 0;) {
      moved |= s.access->strides[nest_.loops[d].label] != 0;
      if (moved) walks *= nest_.trips[d];
    }
    return walks;
  }

  const Contraction& c_;
  const Target& target_;
  const Schedule& schedule_;
  Nest nest_;
  std::vector<Stream> streams_;
};

}  // namespace

Traffic traffic(const Contraction& c, const Schedule& schedule, const Target& target) {
  return Analysis(c, schedule, target).run();
}

double schedule_cycles(const Contraction& c, const Schedule& schedule, const Target& target,
                       double tile_cycles) {
  const Traffic moved = traffic(c, schedule, target);
  const double line = static_cast<double>(target.line_bytes) / target.dram_bytes_per_cycle;
  // What nobody waits for hides behind the arithmetic, mostly.
  const double waited = moved.waited_lines * line;
  const double memory = moved.l2_lines * line - waited;
  const double core = tile_cycles + moved.l1_lines * kL2LineCycles * 0.3 +
                      moved.page_misses * kPageMissCycles + moved.page_walks * kPageWalkCycles;
  return std::max(core, memory) + 0.3 * std::min(core, memory) + waited;
}

}  // namespace einjit
