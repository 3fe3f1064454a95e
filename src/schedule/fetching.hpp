// What of an array is on its way before it is read: what somebody asks for, and rows that the
// hardware follows.
#pragma once

#include "schedule/streams.hpp"

namespace einjit {

inline constexpr std::int64_t kFewChannels = 512;  // bytes after which lines lie on few channels
inline constexpr double kPieceOnMesh = 4;          // such lines where many rows are read in turn
inline constexpr double kLongPiece = 12;  // lines of a row read at once: prefetchers follow each

class Fetching : protected Streams {
 public:
  using Streams::Streams;

 protected:
  // Whether somebody asks for a stream's lines before they are read, early enough and not too
  // early.
  bool is_asked_for(const Stream& s) const;
  // Whether somebody asks so early that L2 has lost the lines when they are read.
  bool is_lost_before_read(const Stream& s) const;
  // Whether what is asked for stays in L2 until the loop along the rows comes to it.
  bool stays(const Stream& s, const AheadSpec& a) const;
  // The depth of what is visited between two pieces of a row; that of the tile if no loop goes
  // along the rows.
  std::size_t body_along(const Stream& s) const;
  // The part of what is asked for that lies beyond the end of the rows being read.
  double asked_in_vain(const Stream& s) const;
  // Whether the next loop outside that moves the stream goes on where whole rows end.
  bool is_row_continued(const Stream& s, std::size_t depth) const;
  // Whether a loop goes along few rows, which are not pieces of one that the tile reads side by
  // side.
  bool is_followed(const Stream& s) const;
  // Whether points come back to an input's elements hardly ever.
  bool is_read_once(const Stream& s) const;
  // Long pieces of rows, one after the other.
  bool is_read_in_turn(const Stream& s) const;
  bool is_streamed(const Stream& s) const {
    return s.is_output && schedule_.store == Store::streaming;
  }
  // Whether a whole block of rows is asked for while the one before is summed: there is time for
  // its lines in any order.
  bool is_asked_by_blocks(const Stream& s) const;
  // Whether tiles ask for the whole next block of the stream, row after row.
  bool is_asked_row_by_row(const Stream& s) const;
  // Such a box, of long rows, while the one before is written.
  bool is_asked_by_drains(const Stream& s) const;
  // Whether the loop outside goes on where the rows of the box end, or, of what is written past the
  // caches, near them.
  bool goes_on(const Stream& s, std::size_t depth) const;
  double rows(const Stream& s, std::size_t depth) const {
    return s.boxes[depth].elements / s.boxes[depth].run;
  }
};

}  // namespace einjit
