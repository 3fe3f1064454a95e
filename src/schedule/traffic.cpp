#include "schedule/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cost/tile_cost.hpp"

namespace einjit {
namespace {

constexpr double kFill = 0.85;   // of a cache that is of use to its streams
constexpr double kConflict = 8;  // a stream whose rows fall into one set
constexpr std::int64_t kPage = 4096;
constexpr double kTlbEntries = 32;  // left for one stream
constexpr double kPageMissCycles = 6;
constexpr double kL2LineCycles = 2.5;  // a line from L2, what FMAs do not hide
constexpr double kL3LineCycles = 4;
constexpr double kShortRun = 3;  // a line from DRAM that comes alone, against in a run
constexpr double kRunLines = 6;  // lines that make a run
constexpr double kStreams = 16;  // rows in turn that a prefetcher follows

using Lengths = std::vector<std::int64_t>;

// One array as the nest sees it between two depths.
struct Stream {
  const Access* access;
  std::size_t from, to;   // depths: loops [0, from) are outside, boxes are those at `to`
  bool is_dense = false;  // panels: no gaps between elements
  bool is_output = false;
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
      result.l1_lines += lines_into(s, static_cast<double>(target_.l1_bytes) * kFill, false);
      double lines = lines_into(s, static_cast<double>(target_.l2_bytes) * kFill, true);
      if (s.is_output && schedule_.store == Store::cached) lines *= 2;
      result.l2_lines += lines;
      result.page_misses += page_misses(s);
    }
    return result;
  }

 private:
  void collect() {
    nest_.lengths.push_back(c_.extents);
    std::vector<std::pair<int, std::size_t>> packs;  // operand, depth
    for (const auto& item : schedule_.outer) {
      if (const auto* pack = std::get_if<PackSpec>(&item)) {
        packs.emplace_back(pack->operand, nest_.loops.size());
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
        streams_.push_back({&c_.in[k], 0, pack->second});
        streams_.push_back({&c_.in[k], pack->second, all, true});
      }
    }
    streams_.push_back({&c_.out, 0, all, false, true});
  }

  double item() const { return static_cast<double>(size_of(c_.dtype)); }
  double line_items() const { return static_cast<double>(target_.line_bytes) / item(); }

  // Lines of a stream's box, and the length of its runs in lines.
  struct BoxLines {
    double lines, run_lines;
  };
  BoxLines box_lines(const Stream& s, std::size_t depth) const {
    const Lengths& lengths = nest_.lengths[depth];
    double elements = 1;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (s.access->strides[l] != 0) elements *= static_cast<double>(lengths[l]);
    if (s.is_dense) return {std::ceil(elements / line_items()), kRunLines};
    // The loop outside may go on where the box ends.
    const double run = depth > 0 ? run_length(s, lengths, nest_.loops[depth - 1].label, depth)
                                 : run_length(s, lengths, -1, depth);
    const double partial = run >= elements || run <= 1 ? 0 : 0.5;
    const double run_lines = std::max(run / line_items() + partial, 1.0);
    return {std::max(elements / run * run_lines, elements / line_items()), run_lines};
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
  double footprint(const Stream& s, std::size_t depth) const {
    const Lengths& lengths = nest_.lengths[depth];
    double bytes = box_lines(s, depth).lines * static_cast<double>(target_.line_bytes);
    if (s.is_dense) return bytes;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const std::int64_t stride = std::abs(s.access->strides[l]) * size_of(c_.dtype);
      if (stride > 0 && stride % (kPage / 2) == 0 && lengths[l] > 16) bytes *= kConflict;
    }
    return bytes;
  }

  double footprint_at(std::size_t depth) const {
    double bytes = 0;
    for (const Stream& s : streams_)
      if (depth >= s.from) bytes += footprint(s, std::min(depth, s.to));
    return bytes;
  }

  // The outermost depth whose streams fit `bytes` together.
  std::size_t fitting_depth(double bytes) const {
    for (std::size_t d = 0; d < nest_.loops.size(); ++d)
      if (footprint_at(d) <= bytes) return d;
    return nest_.loops.size();
  }

  double lines_into(const Stream& s, double cache, bool counts_runs) const {
    const std::size_t depth = std::clamp(fitting_depth(cache), s.from, s.to);
    const BoxLines box = box_lines(s, depth);
    double fetched = box.lines;
    const double run_lines = std::min(box.run_lines, visited_run_lines(s));
    if (counts_runs && run_lines < kRunLines)
      fetched *= 1 + (kShortRun - 1) * (kRunLines - run_lines) / (kRunLines - 1);
    // A tile larger than the cache finds nothing of its last visit there.
    bool moved = footprint_at(depth) > cache;
    for (std::size_t d = depth; d-- > 0;) {
      moved |= s.access->strides[nest_.loops[d].label] != 0;
      // Panels are made anew for every iteration outside; their lines are in the cache then.
      if (moved) fetched *= nest_.trips[d];
    }
    if (s.is_dense && depth <= s.from) return 0;
    return fetched;
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
    return elements / run <= kStreams ? kRunLines : std::max(run / line_items(), 1.0);
  }

  // The innermost box walks over pages; beyond the TLB's reach each costs a miss.
  double page_misses(const Stream& s) const {
    if (s.is_dense) return 0;
    const Lengths& box = nest_.lengths[s.to];
    double pages = 1;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const double stride = std::abs(static_cast<double>(s.access->strides[l])) * item();
      if (stride > 0 && box[l] > 1)
        pages *= std::max(1.0, std::min(static_cast<double>(box[l]),
                                        static_cast<double>(box[l]) * stride / kPage));
    }
    if (pages <= kTlbEntries) return 0;
    for (std::size_t d = 0; d < s.to; ++d) pages *= nest_.trips[d];
    return pages;
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
  const bool in_l3 = byte_count(c) < static_cast<double>(target.l3_bytes);
  const double line =
      in_l3 ? kL3LineCycles : static_cast<double>(target.line_bytes) / target.dram_bytes_per_cycle;
  const double memory = moved.l2_lines * line;
  const double core =
      tile_cycles + moved.l1_lines * kL2LineCycles * 0.3 + moved.page_misses * kPageMissCycles;
  return std::max(core, memory) + 0.3 * std::min(core, memory);
}

}  // namespace einjit
