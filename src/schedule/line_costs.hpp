// What a line of a stream costs, against one that comes in a long run of lines from memory.
#pragma once

#include "schedule/fetching.hpp"

namespace einjit {

class LineCosts : protected Fetching {
 public:
  using Fetching::Fetching;

 protected:
  // Copies wait for what nobody asks for, and so do tiles that read many rows from memory at once,
  // a few lines of each.
  bool is_waited_for(const Stream& s) const;
  // How late a line that is waited for comes, against one nobody knew of. Asked for too early is
  // better than not at all; the hardware's prefetchers need a few lines of each row to begin.
  double lateness(const Stream& s) const;
  // Whether a tile sums long pieces of rows that lie on pages of their own, but goes to the next
  // row before it has read a page: few lines are on their way then.
  bool reads_parts_of_rows(const Stream& s) const;
  // Whether a sum of single elements goes to another row with each: nobody asks for those.
  bool goes_across_alone(const Stream& s) const;
  // Whether a copy goes along many rows from memory, and nobody but the hardware asks for them.
  bool is_strip(const Stream& s) const;
  // What is read of a run before L2 has lost what lies beside it.
  double run_read(const Stream& s) const;
  // Whether a sum's tile goes across rows that lie several to a page, more of them than the
  // hardware follows on meshes.
  bool may_be_torn(const Stream& s) const;
  // Of lines of such rows, few of each at a time: the hardware fetches what lies between, too late
  // for the next tile, or in vain if that is read much later.
  double torn_rows_cost(const Stream& s) const;
  // Of a copy's lines, if the hardware fetches what lies behind the end of a run, up to the end of
  // its page, and L2 has lost that when a loop comes to it.
  double overshoot(const Stream& s) const;
  // Of lines of a product of which nothing is summed, if nobody asks for them and only few of a row
  // are read before others are.
  double beside_cost(const Stream& s) const;
  // Of a line that is asked for, if a tile reads many rows of one set of L1.
  double rows_in_set_cost(const Stream& s) const;
  // Whether of the pages that the hardware could follow a tile reads one at a time.
  bool is_one_page(const Stream& s) const;
  // Of a line, against one from memory: what L3 can hold comes from there, and if everything fits
  // L2, nothing leaves it.
  double line_cost(const Stream& s) const;
  // Of a line from L2, against one of few rows read along: those are there before they are wanted.
  double l1_line_cost(const Stream& s) const;
  // From one element of a tile's vectors, or of its steps, to the next. 0: of a copy or a panel.
  double vector_stride(const Stream& s) const;
  // Whether vectors go across the rows of an input.
  bool is_across(const Stream& s) const { return vector_stride(s) >= line_items(); }
  // Whether they are put together of single elements: no blocks are transposed.
  bool is_gathered(const Stream& s) const;
  // Of a line in runs as the box's, against one in a long run. (Of those written past the caches
  // others care: streamed_cost.)
  double run_cost(const Stream& s, const StreamBox& box) const;
  // Of a line of the output: what is not written past the caches is read first.
  double written_cost(const Stream& s) const;
  // Of a line that a copy does not write past the caches, on meshes: it is read first, alone, and
  // leaves L2 alone, unless a long run of lines does at a time.
  double written_back_cost(const Stream& s) const;
  // What a line that a copy writes past the caches costs beside its bytes: those of a page that
  // come alone while many others are written, and those of a tile that come all at once.
  double streamed_cost(const Stream& s) const;
  // Rows of a box, or their pages: lines of one need not be in order, unless the rows begin on few
  // channels of the memory.
  double open_rows(const Stream& s, std::size_t depth) const;
  // Of a line that a copy's tiles ask for ahead.
  double asked_cost(const Stream& s) const;
  // Of rows that lie across the vectors, if there are more of them than the hardware follows.
  double rows_beyond_followed(const Stream& s) const;
  // Of lines of many pages in turn, against those of as many as the hardware follows.
  double pages_cost(const Stream& s) const;
  // Of some lines, by the loops around a tile.
  bool writes_long_runs() const;
  // What the lines of boxes without gaps cost more that are asked for ahead and do not go on where
  // the one before ends; or if the output then stays on few channels of memory. Where its lines are
  // not whole, the order in which they become so decides.
  double jump_cost(const Stream& s) const;
  // Lines read of a row before the nest goes on to another. A loop along the rows comes back to
  // each after all others of its body: from memory the hardware's prefetchers follow a few. What is
  // near, or asked for, or written cares about the rows of a tile only. (Copies into panels go
  // along the rows.)
  double visited_run_lines(const Stream& s) const;
};

}  // namespace einjit
