// What the loops of a schedule touch: at every depth of the nest the range of each label is known,
// so the box of each array there is too, with its lines, its rows, its pages and the cache it
// takes.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "einjit/target.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

inline constexpr double kFill = 0.85;   // of a cache that is of use to its streams
inline constexpr double kConflict = 8;  // a stream whose rows fall into one set
inline constexpr std::int64_t kPage = 4096;
inline constexpr double kRunLines = 6;  // lines that make a run

// Lines of one set of L1: it is indexed by the place in a page.
inline std::int64_t l1_ways(const Target& target) { return target.l1_bytes / kPage; }

enum class Level : std::uint8_t { l1, l2 };
using Lengths = std::span<const std::int64_t>;  // of the range of each label

// What a stream's box at some depth takes: lines and the length of its runs in lines, bytes of a
// cache (rows that fall into few sets take more), pages.
struct StreamBox {
  double lines, run_lines;
  double footprint[2];  // per Level
  double pages;
};

// One array as the nest sees it between two depths.
struct Stream {
  const Access* access;
  std::size_t from, to;   // depths: loops [0, from) are outside, boxes are those at `to`
  bool is_dense = false;  // panels: no gaps between elements
  bool is_output = false;
  bool is_copied = false, is_ahead = false;
  std::vector<Label> moving = {};     // labels it moves along, by rising stride
  std::vector<StreamBox> boxes = {};  // per depth
};

struct Nest {
  std::vector<LoopSpec> loops;
  std::vector<double> trips;  // per loop
  // Per depth 0 .. loops.size().
  Lengths lengths(std::size_t depth) const { return {&all[depth * labels], labels}; }
  std::size_t labels = 0;
  std::vector<std::int64_t> all;  // of one depth after the other
};

class Streams {
 public:
  Streams(const Contraction& c, const Schedule& schedule, const Target& target);

 protected:
  double item() const { return static_cast<double>(size_of(c_.dtype)); }
  double line_items() const { return static_cast<double>(target_.line_bytes) / item(); }
  // Whether runs begin and end on lines, if the array begins on one.
  bool is_aligned(const Access& a, double run) const;
  // Elements in a row: those of contiguous labels, then of labels whose stride is the run so far.
  double run_length(const Stream& s, Lengths lengths, Label outside, std::size_t depth) const;
  // Rows read in turn, an element of each at a time, thrash the set they share.
  double l1_conflict(const Stream& s, std::size_t depth) const;
  // L2 is indexed by physical addresses: pages lie anywhere, but places in them stay. Rows a power
  // of two apart use a part of the places, and so of the sets.
  double l2_conflict(const Stream& s, std::size_t depth) const;
  double footprint_at(std::size_t depth, Level level) const;
  double bytes_of(Level level) const;
  // The outermost depth whose streams fit a cache together.
  std::size_t fitting_depth(Level level) const { return fitting_[static_cast<int>(level)]; }
  // Whether the innermost loop goes along the stream's rows: better for writes than for reads.
  bool goes_along(const Stream& s) const;
  // Lines of one of the rows that a stream goes along.
  double lines_along(const Stream& s) const;
  // Rows a tile goes along at the same time: unrolled ones, whether or not they lie end to end.
  double rows_at_once(const Stream& s) const;
  // Rows of a tile that lie in one set of L1.
  double rows_in_one_set(const Stream& s) const;
  // The contraction's bytes, in all.
  double all_bytes() const { return all_bytes_; }
  const Contraction& c_;
  const Target& target_;
  const Schedule& schedule_;
  Nest nest_;
  std::vector<Stream> streams_;

 private:
  void add_nest();
  void add_input(int operand);
  void measure_all(Stream& s) const;
  StreamBox measure(const Stream& s, std::size_t depth) const;
  void measure_lines(const Stream& s, std::size_t depth, StreamBox& box) const;
  double pages(const Stream& s, std::size_t depth) const;

  struct Pack {
    PackSpec spec;
    std::size_t depth;
  };
  std::vector<Pack> packs_;
  std::deque<Access> products_;  // of inputs that are multiplied while they are copied
  std::size_t fitting_[2];
  double all_bytes_;
};

}  // namespace einjit
