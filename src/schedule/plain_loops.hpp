// The loops around tiles that read arrays where they are: their orders, blocks of sums and of
// copies, pieces for threads.
#pragma once

#include "schedule/build.hpp"

namespace einjit {

inline constexpr int kMerge = 32;  // additions to an accumulator

// Of one schedule after the other; the blocks of packed panels are the derived class's.
class PlainLoops {
 public:
  explicit PlainLoops(const Problem& problem) : p_(problem), c_(p_.c), target_(p_.target) {}

 protected:
  // Cuts the label's range into chunks that can run at the same time, if there is work enough.
  bool chunk(Label l, std::int64_t step);
  // Large work that no rule has cut for threads yet: the outermost loop over an output label.
  void make_some_parallel();
  // A loop of one piece is left out, unless other extents have more.
  void loop(Label l, std::int64_t step, Order order = Order::serial);
  bool is_contiguous(Label l) const;
  void add_plain_loops();
  std::int64_t line_items() const { return target_.line_bytes / size_of(c_.dtype); }

  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  RegisterTile tile_;
  LoopPlan plan_;
  double cycles_;
  std::vector<std::int64_t> length_;  // of each label's pieces so far
  Schedule* schedule_ = nullptr;

 private:
  bool is_in_tile(Label l) const;
  bool has_loop(Label l, std::int64_t step) const;
  const Access& largest_input() const;
  void order_labels();
  // Cuts the output's contiguous label into a few lines and moves it innermost: they are written
  // one after the other. True if it has become parallel.
  bool add_lines();
  // Of rows that tiles write whole: what goes on where they end is moved right outside the loop
  // that goes along the input.
  void continue_rows(Label row);
  // The most columns of the output in a strip, which are rows of the input: no more than have pages
  // that the hardware follows, nor than L2 has room for where rows share sets.
  std::int64_t rows_in_strip(Label row) const;
  // Rows of an input along a label that have sets of L2 to themselves, one line of each.
  std::int64_t rows_in_sets(const Access& a, Label row) const;
  // Blocks of the labels outside, so that the TLB holds the pages that one strip of rows after the
  // other is written to.
  void cut_pages(Label row);
  // Some lines of rows of the output by a few lines of rows of the input, tiles going along these:
  // memory reads and writes several lines of a page at a time, and of few pages.
  void add_moved_blocks();
  // Blocks of the output, whose part of an input that lies across its rows is asked for while the
  // one before is made: tiles go along the output's rows and those of the other inputs.
  void add_asked_blocks();
  // Boxes of the output in a buffer: whole rows, as many as lie end to end there, by two lines of
  // the input's rows, by whole ones if they are short, or, if these come first, by long pieces of
  // them.
  void add_boxes();
  std::vector<std::int64_t> box_lengths();
  // Blocks of tiles, each by its diagonals.
  void add_diagonals();
  // Whole tiles, at most as many elements as `most` and few in the last piece.
  std::int64_t even_step(Label l, std::int64_t most) const;
  // Whole rows, a few at a time, are what the hardware follows best; their sums stay in L1.
  void add_rows();
  // Along the rows as they lie: over a sum among their labels if tiles do not hold what is inside.
  void add_loops_of_rows(const std::vector<Label>& labels);
  // A loop over a sum, inside buffers for blocks of its steps, blocks of these and so on, of few
  // additions each.
  void add_levels(Label sum, std::int64_t step, Order order);
  // Whether a tile has the whole output, for all extents, and no input lies across its vectors.
  bool only_sum_is_left() const;
  // A sum that is all there is to share, in pieces that may run at the same time and are added in
  // turn.
  void share_sum();
  // Of a sum over two labels along which inputs lie across each other: long pieces of one, each
  // with all of the other.
  void share_turned_sum();
  // The same for long sums of nothing but elements: in those of products, errors of these weigh as
  // much, and buffers cost.
  void loop_over_sum(Label sum, std::int64_t step);
  // Blocks of rows that stay a small part of L2, with the next one beside them.
  void add_blocks_of_rows();
  // A sum over rows far apart touches a page a row: a few rows at a time, all along the vec label.
  void add_sum_blocks();
  // Steps of the sum in such a block.
  std::int64_t sum_block(Label sum) const;
  bool is_read_once(const Operand& a) const;
  // Whether an input that is read once has rows that lie across the tile's vectors.
  bool is_turned(const Operand& a) const;
  bool goes_along_turned(Label sum) const;

  std::vector<Label> order_;
};

}  // namespace einjit
