// Where that lies which tiles read next: rows and boxes of an operand that can be asked for.
#pragma once

#include <array>
#include <cstddef>
#include <memory_resource>
#include <optional>
#include <span>
#include <vector>

#include "cost/tile_cost.hpp"
#include "schedule/schedule.hpp"

namespace einjit {

inline constexpr std::int64_t kLinesAhead = 16;  // of a row
inline constexpr double kBoxesInL2 = 2;          // the one being read, and the next

// For a schedule whose loops and tile are complete.
class NextRows {
 public:
  // `lengths`: of the range of each label inside all loops.
  NextRows(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
           std::span<const std::int64_t> lengths)
      : schedule_(schedule),
        p_(problem),
        c_(p_.c),
        target_(p_.target),
        tile_(tile),
        length_(lengths) {}

 protected:
  // So many elements further on along a label.
  struct Ahead {
    Label label;
    std::int64_t distance;
  };
  // Lengths of ranges that a walk over the loops shortens.
  using Shrinking = std::pmr::vector<std::int64_t>;
  Shrinking whole_lengths() { return {c_.extents.begin(), c_.extents.end(), &memory_}; }

  Label label_of_stride(const Access& a, std::int64_t stride) const;
  double box_bytes(const Access& a, std::span<const std::int64_t> length) const;
  // Short rows end to end that tiles sum in vectors, one after the other: hardware follows the runs
  // of a tile and not the next row's beginning. A few KB ahead, along the label that has so many.
  std::optional<Ahead> next_rows(const Access& a) const;
  // Rows of parts of vectors that a tile holds whole and sums one after the other: they come too
  // slowly for the hardware to run far ahead.
  std::optional<Ahead> next_narrow_rows(const Access& a) const;
  // The next block of rows that are summed, if a loop goes from one to the next and tiles inside
  // through parts of all.
  std::optional<Ahead> next_rows_of_sum(const Access& a) const;
  // Elements of a row in a block inside which loops go across rows and along them. 0: none.
  std::int64_t block_along(Label row) const;
  // Along the innermost loop that goes from one box of the operand to another that is elsewhere,
  // and whose boxes are large enough for the next one's lines to come while one is read, and small
  // enough for them to stay. Where all are small, a few steps further.
  std::optional<Ahead> next_box(const Access& a);
  // A box that goes on where the rows of this one end, if so many rows share a set of L1 that what
  // is asked for early is lost there: a few lines further will do.
  Ahead nearer(const Access& a, const Ahead& box) const;
  // The label along which short rows lie end to end, if the tile reads several of them side by side
  // and to their ends before the next ones: what is asked for has time to come. -1: none.
  Label label_across(const Access& a) const;
  std::int64_t line_items() const { return target_.line_bytes / size_of(c_.dtype); }

  Schedule& schedule_;
  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  const RegisterTile& tile_;
  std::span<const std::int64_t> length_;  // of each label inside all loops
  std::array<std::byte, 1024> buffer_;
  std::pmr::monotonic_buffer_resource memory_{buffer_.data(), buffer_.size()};

 private:
  // Whether a step along the label leaves the lines of the one before.
  bool is_elsewhere(const Access& a, Label l) const;
  // Whether the tile goes along the rows step by step, across all of its own.
  bool is_summed(const std::vector<Label>& along) const;
  // Whether the innermost loop over the label has one over some of the others inside.
  bool is_outside(Label label, const std::vector<Label>& others) const;
};

}  // namespace einjit
