// What the loops of a schedule touch: at every depth of the nest the range of each label is known,
// so the box of each array there is too, with its lines, its rows, its pages and the cache it
// takes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <list>
#include <memory_resource>
#include <span>
#include <vector>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

inline constexpr double kFill = 0.85;   // of a cache that is of use to its streams
inline constexpr double kConflict = 8;  // a stream whose rows fall into one set
inline constexpr double kRunLines = 6;  // lines that make a run

inline constexpr std::int64_t kOtherRows = 4;  // in a set of L1, beside those that are unrolled
// Rows of a tile that the hardware follows without being asked, beside those of other operands.
inline std::int64_t rows_followed(const Target& target) {
  return std::max<std::int64_t>(target.page_streams / 4, 1);
}

// Bytes of rows that are worth reading whole: where the hardware follows pages, a part of one is.
inline std::int64_t long_row(const Target& target) {
  return target.page_streams > 0 ? kPage / 4 : kPage;
}

// Lines of one set of L1: it is indexed by the place in a page.
inline std::int64_t l1_ways(const Target& target) { return target.l1_bytes / kPage; }

// The rows of an array that a tile holds and that lie whole pages apart: in one set of L1.
inline std::int64_t rows_in_a_set(const Problem& p, const RegisterTile& tile, const Access& a) {
  std::int64_t rows = 1;
  for (Label l : {tile.vec, tile.unroll, tile.unroll2})
    if (l >= 0 && a.strides[l] != 0 && a.strides[l] * p.item % kPage == 0) rows *= tile.step_of(l);
  return rows;
}

// Whether a tile writes rows that fall into one set, too many to wait there for the rest of their
// lines.
inline bool overfills_a_set(const Problem& p, const RegisterTile& tile) {
  return rows_in_a_set(p, tile, p.c.out) > l1_ways(p.target) - kOtherRows;
}

enum class Level : std::uint8_t { l1, l2 };
using Lengths = std::span<const double>;  // of the range of each label

// What a stream's box at some depth takes: elements, those from its first to its last, those that
// lie end to end; lines, of which parts are the next box's, and the length of its runs in lines;
// all lines it lies on; bytes of a cache (rows that fall into few sets take more); pages.
struct StreamBox {
  double elements, reach, run;
  double conflict[2];  // per Level
  double pages;
  double lines, run_lines;
  double held_lines;
  double footprint[2];  // per Level
};

// One array as the nest sees it between two depths.
struct Stream {
  const Operand* operand;
  std::size_t from, to;   // depths: loops [0, from) are outside, boxes are those at `to`
  bool is_dense = false;  // panels: no gaps between elements
  bool is_output = false;
  bool is_copied = false, is_ahead = false;
  std::span<StreamBox> boxes = {};  // per depth

  const Access& access() const { return *operand->access; }
};

struct Nest {
  // Per depth 0 .. loops.size().
  Lengths lengths(std::size_t depth) const { return {&all[depth * labels], labels}; }

  std::span<LoopSpec> loops;
  std::span<double> trips;  // per loop
  std::size_t labels = 0;
  std::span<double> all;  // of one depth after the other
};

class Streams {
 public:
  Streams(const Problem& problem, const Schedule& schedule);
  Streams(const Streams&) = delete;

 protected:
  double item() const { return static_cast<double>(p_.item); }
  double line_items() const { return line_items_; }
  // Elements in a row of a box of the given lengths: those of contiguous labels, then of labels
  // whose stride is the run so far.
  template <class LengthOf>
  static double run_length(const Stream& s, const LengthOf& length_of) {
    double run = 1;
    for (const Move& m : s.operand->moves) {
      const double length = length_of(m.label);
      if (length <= 1 || m.stride < run) continue;
      if (m.stride > run) break;
      run *= length;
    }
    return run;
  }
  // Whether the loop outside a depth moves the stream.
  bool moves_along(const Stream& s, std::size_t depth) const {
    return s.access().strides[static_cast<std::size_t>(nest_.loops[depth - 1].label)] != 0;
  }
  // With the whole of what the loop outside goes along.
  double run_with_loop(const Stream& s, std::size_t depth) const;
  double footprint_at(std::size_t depth, Level level) const;
  double bytes_of(Level level) const { return cache_bytes_[static_cast<int>(level)]; }
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
  // Whether what tiles make is written to the output from a buffer.
  bool is_drained() const { return buffer_depth_.has_value() && p_.reduced.empty(); }
  // Of what such a buffer holds.
  const StreamBox& drained_box(const Stream& s) const { return s.boxes[*buffer_depth_]; }
  const Problem& p_;
  const Target& target_;
  const Schedule& schedule_;

 private:
  // Hundreds of schedules are looked at: what one takes lies on the stack, unless it is huge.
  std::array<std::byte, 8192> buffer_;
  std::pmr::monotonic_buffer_resource memory_{buffer_.data(), buffer_.size()};

 protected:
  Nest nest_;
  std::pmr::vector<Stream> streams_{&memory_};

 private:
  template <class T>
  std::span<T> array_of(std::size_t count);
  void add_nest();
  bool is_turned() const;
  void add_input(int operand);
  void measure(const Stream& s) const;
  void measure_box(const Stream& s, std::size_t depth) const;
  void measure_lines(const Stream& s, std::size_t depth) const;
  double held_lines(const Stream& s, const StreamBox& box) const;
  // Rows read in turn, an element of each at a time, thrash the set they share.
  double l1_conflict(const Stream& s, std::size_t depth) const;
  // L2 is indexed by physical addresses: pages lie anywhere, but places in them stay. Rows a power
  // of two apart use a part of the places, and so of the sets.
  double l2_conflict(const Stream& s, std::size_t depth, double run) const;
  double walked_run(const Stream& s) const;

  struct Pack {
    PackSpec spec;
    std::size_t depth;
  };
  struct Product {
    Product(const Contraction& c, Access a) : access(std::move(a)), operand(c, access) {}
    Access access;
    Operand operand;
  };
  std::pmr::vector<Pack> packs_{&memory_};
  // Of inputs that are multiplied while they are copied.
  std::pmr::list<Product> products_{&memory_};
  double line_items_;
  double cache_bytes_[2];
  std::size_t fitting_[2];
  std::optional<std::size_t> buffer_depth_ = {};  // inside it tiles write to a buffer
};

}  // namespace einjit
