#include "schedule/carry.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "schedule/alignment.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLeastRow = 4;      // lines
constexpr std::int64_t kLeastPiece = 32;   // lines, of a row that threads share
constexpr std::int64_t kPieces = 16;       // that may run at the same time
constexpr std::int64_t kPiecesAcross = 4;  // of all rows, where each leaves pages of the input
constexpr std::int64_t kLeastRun = 2048;   // bytes of an input's row, in one of them
constexpr std::int64_t kShareOfL2 = 4;
constexpr double kEndsOfRow = 14;  // lines that those of a piece take the time of
constexpr double kWaits = 0.4;     // more of a line, if half as many lines wait for each
constexpr double kWritten = 2;     // against so many
constexpr double kOneMore = 0.25;  // more of a line, on meshes, if a tile writes pairs and one

// The label along which the output's rows follow each other, each of whole lines; -1: none.
Label next_row(const Problem& p, const RegisterTile& tile) {
  const std::int64_t row = p.c.extents[tile.vec];
  if (row % (p.target.line_bytes / p.item) != 0) return -1;
  const auto next = std::ranges::find_if(p.kept, [&](Label l) {
    return p.c.out.strides[l] == row && p.c.extents[l] > 1 && l != tile.vec && l != tile.unroll &&
           l != tile.unroll2;
  });
  return next == p.kept.end() ? -1 : *next;
}

class Carrier {
 public:
  Carrier(Schedule& schedule, const Problem& problem, const RegisterTile& tile)
      : schedule_(schedule), p_(problem), tile_(tile), length_(p_.c.extents) {}

  bool run() {
    if (!find_loop()) return false;
    if (!share_across()) share_row();
    if (at(row_).order == Order::parallel) {
      at(row_).order = Order::serial;
      if (!share_outside(1)) cut_inside(kPieces, Runs::long_ones, Order::parallel);
    }
    while (waiting_bytes() * kShareOfL2 > p_.target.l2_bytes) {
      const std::int64_t pieces = waiting_bytes() * kShareOfL2 / p_.target.l2_bytes + 1;
      if (!cut_inside(pieces, Runs::long_ones, Order::serial)) return false;
    }
    at(row_).is_carried = at(row_ + inside_).is_carried = true;
    return true;
  }

 private:
  using Place = std::size_t;  // in `outer`
  enum class Runs : std::uint8_t { long_ones, pages };
  LoopSpec& at(Place place) { return std::get<LoopSpec>(schedule_.outer[place]); }
  std::int64_t line_items() const { return p_.target.line_bytes / p_.item; }

  // The innermost loop along the rows, or the one outside of it from row to row; lengths are then
  // those outside of that.
  bool find_loop() {
    const Place none = schedule_.outer.size();
    Place along = last_loop(tile_.vec, none);
    const Label next = next_row(p_, tile_);
    row_ = next >= 0 ? last_loop(next, none) : none;
    const bool goes_on = row_ != none && row_ < along && at(row_).step == 1 &&
                         at(row_).order != Order::parallel && last_loop(tile_.vec, row_) == none;
    if (!goes_on && along == none) return false;
    if (goes_on && along == none) {
      along = row_ + 1;
      schedule_.outer.insert(schedule_.outer.begin() + static_cast<std::ptrdiff_t>(along),
                             LoopSpec{tile_.vec, tile_.vec_length});
    }
    if (!goes_on) row_ = along;
    inside_ = along - row_;
    if (inside_ > 0) next_ = next;
    if (at(along).step % line_items() != 0 || at(along).step > tile_.vec_length) return false;
    for (Place place = 0; place < row_; ++place)
      if (const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[place])) shorten(*loop);
    return std::none_of(schedule_.outer.begin() + static_cast<std::ptrdiff_t>(row_) + 1,
                        schedule_.outer.end(), [](const auto& item) {
                          const auto* loop = std::get_if<LoopSpec>(&item);
                          return loop && loop->order == Order::parallel;
                        });
  }
  // The innermost loop over a label, of those before a place; else the schedule's end.
  Place last_loop(Label label, Place before) const {
    for (Place place = before; place-- > 0;)
      if (const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[place]);
          loop && loop->label == label)
        return place;
    return schedule_.outer.size();
  }
  void shorten(const LoopSpec& loop) {
    if (loop.label == tile_.vec) length_before_ = length_[loop.label];
    length_[loop.label] = std::min(length_[loop.label], loop.step);
  }

  // The one around, if it is along the rows too.
  LoopSpec* pieces_of_row() {
    LoopSpec* loop = row_ > 0 ? std::get_if<LoopSpec>(&schedule_.outer[row_ - 1]) : nullptr;
    return loop && loop->label == tile_.vec ? loop : nullptr;
  }

  // Threads take some of the rows, whole, instead of pieces of all.
  bool share_across() {
    const LoopSpec* pieces = pieces_of_row();
    if ((pieces ? pieces : &at(row_))->order != Order::parallel) return false;
    const Place around = pieces ? row_ - 1 : row_;
    if (!share_outside(kPiecesAcross) && !cut_inside(kPiecesAcross, Runs::pages, Order::parallel))
      return false;
    at(row_).order = Order::serial;
    if (!pieces) return true;
    length_[tile_.vec] = length_before_;
    schedule_.outer.erase(schedule_.outer.begin() + static_cast<std::ptrdiff_t>(around));
    --row_;
    return true;
  }

  // Threads take long pieces of rows, in strips of which tiles go.
  void share_row() {
    LoopSpec* outside = pieces_of_row();
    const LoopSpec strip = at(row_);
    if (strip.order != Order::parallel && !outside) return;
    const std::int64_t least = kLeastPiece * line_items();
    const std::int64_t length = outside ? length_before_ : length_[tile_.vec];
    if (length < 2 * least) return;
    const std::int64_t most = std::max(least, (length + kPieces - 1) / kPieces);
    const std::int64_t step = whole(most, strip.step);
    if (outside) {
      outside->step = length_[tile_.vec] = std::max(outside->step, step);
      return;
    }
    LoopSpec piece = strip;
    piece.step = step;
    at(row_).order = Order::serial;
    insert(piece);
  }

  void insert(const LoopSpec& loop) {
    schedule_.outer.insert(schedule_.outer.begin() + static_cast<std::ptrdiff_t>(row_), loop);
    ++row_;
    shorten(loop);
  }

  // By a loop over another label, if that makes so many pieces.
  bool share_outside(std::int64_t pieces) {
    for (Place place = 0; place < row_; ++place)
      if (auto* loop = std::get_if<LoopSpec>(&schedule_.outer[place]);
          loop && loop->label != tile_.vec &&
          p_.c.extents[loop->label] > (pieces - 1) * loop->step) {
        loop->order = Order::parallel;
        return true;
      }
    return false;
  }

  // Blocks, outside of the carried loop, of a label whose loop is inside: in so many pieces, or as
  // many as leave whole steps and such runs of the input.
  bool cut_inside(std::int64_t pieces, Runs runs, Order order) {
    for (Place place = row_ + 1; place < schedule_.outer.size(); ++place) {
      const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[place]);
      if (!loop || loop->label == tile_.vec) continue;
      const std::int64_t length = length_[loop->label];
      const std::int64_t run = least_run(loop->label, runs);
      const std::int64_t count = std::clamp<std::int64_t>(length / run, 1, pieces);
      std::int64_t step = (length + count - 1) / count;
      // Rows that begin at pages are cut at such.
      if (runs == Runs::pages && length % run == 0) step = whole(step, run);
      step = whole(step, loop->step);
      if (step >= length) continue;
      insert({loop->label, step, order});
      return true;
    }
    return false;
  }
  static std::int64_t whole(std::int64_t length, std::int64_t step) {
    return (length + step - 1) / step * step;
  }

  // Elements along a label.
  std::int64_t least_run(Label label, Runs runs) const {
    if (std::ranges::none_of(p_.in,
                             [&](const Operand& a) { return a.access->strides[label] == 1; }))
      return 1;
    return runs == Runs::pages ? kPage / p_.item
                               : std::min(kLeastRun / p_.item, (length_[label] + 1) / 2);
  }

  std::int64_t waiting_bytes() const {
    std::int64_t bytes = p_.target.line_bytes;
    for (Label l : p_.kept)
      if (l != tile_.vec && l != next_) bytes *= length_[l];
    return bytes;
  }

  Schedule& schedule_;
  const Problem& p_;
  const RegisterTile& tile_;
  std::vector<std::int64_t> length_;  // of each label's range, outside the row's loop
  std::int64_t length_before_ = 0;    // of the row's, outside the last loop over it before
  Label next_ = -1;                   // of the rows that lines are carried through, -1: one alone
  Place row_ = 0;                     // the carried loop, the outer of two
  Place inside_ = 0;                  // how far inside the other is
};

// Whether tiles hold pieces of the output's rows, in vectors that are lines.
bool can_carry(const Problem& p, const RegisterTile& tile) {
  const std::int64_t line = p.target.line_bytes / p.item;
  return tile.vec >= 0 && tile.packed == 0 && p.reduced.empty() && p.c.beta == Beta::zero &&
         p.c.dynamic.empty() && p.lanes == line && p.c.out.strides[tile.vec] == 1 &&
         tile.vec_length % line == 0 &&
         (p.c.extents[tile.vec] > tile.vec_length || next_row(p, tile) >= 0);
}

}  // namespace

bool may_carry(const Problem& p, const RegisterTile& tile) {
  const std::int64_t line = p.target.line_bytes / p.item;
  if (!can_carry(p, tile) || p.out.row_alignment >= line || !p.outgrows_caches(p.out)) return false;
  const Label next = next_row(p, tile);
  return p.c.extents[tile.vec] * (next < 0 ? 1 : p.c.extents[next]) >= kLeastRow * line;
}

bool carry_lines(Schedule& schedule, const Problem& problem, const RegisterTile& tile) {
  return Carrier(schedule, problem, tile).run();
}

double carried_cost(const Schedule& schedule, const Problem& p) {
  const LoopSpec* carried = carried_loop(schedule);
  std::vector<std::int64_t> length = p.c.extents;  // outside of the carried loops
  std::int64_t piece = 1;
  for (const auto& item : schedule.outer) {
    const auto* loop = std::get_if<LoopSpec>(&item);
    if (loop && loop->is_carried) piece *= length[loop->label];
    if (loop) length[loop->label] = std::min(length[loop->label], loop->step);
  }
  const auto line = static_cast<double>(p.target.line_bytes / p.item);
  const double cost = 1 + kEndsOfRow * line / static_cast<double>(piece);
  if (p.target.page_streams == 0) return cost;
  const double written = static_cast<double>(carried->step) / line;  // of a row, by a tile
  return cost + kWaits * (1 / written - 1 / kWritten) + kOneMore * std::fmod(written, 2);
}

}  // namespace einjit
