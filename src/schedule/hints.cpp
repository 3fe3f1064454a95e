#include "schedule/hints.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <memory_resource>
#include <optional>
#include <ranges>

#include "schedule/alignment.hpp"
#include "schedule/carry.hpp"
#include "schedule/streams.hpp"

namespace einjit {
namespace {

constexpr double kMostUnaligned = 0.5;              // of what is written past the caches
constexpr double kFewUnaligned = 0.005;             // where rows are whole lines anyway
constexpr double kLeastAligned = 0.25;              // of L1, that one call writes
constexpr std::int64_t kMostRows = 1024;            // that one loop goes along
constexpr std::int64_t kMostReads = 2;              // of what is asked for ahead
constexpr std::int64_t kLinesAhead = 16;            // of a row
constexpr std::int64_t kPartAhead = 8;              // of a piece of a sum
constexpr std::int64_t kLinesNear = 5;              // of rows that share a set
constexpr std::int64_t kTilesOfRows = 4;            // end to end, where rows are short
constexpr std::int64_t kLinesOfBox = 32;            // whose next one is asked for
constexpr std::int64_t kBytesOfRows = 4096;         // summed one after the other, asked for ahead
constexpr std::int64_t kBytesOfNarrow = 8192;       // if they are parts of vectors
constexpr std::int64_t kLeastBlockLines = 4;        // of rows asked for block by block
constexpr std::int64_t kLongRowLines = 64;          // if tiles read whole lines of them
constexpr std::int64_t kMostBlockBytes = 40 << 10;  // of such a block
constexpr double kBoxesInL2 = 2;                    // the one being read, and the next
// In a block of a sum: more are asked for ahead, and as many if there is work for each and room.
constexpr std::int64_t kSumRows = 16;
constexpr std::int64_t kBlockAhead = 256 << 10;  // bytes
constexpr std::int64_t kMostAhead = 512 << 10;   // bytes of such a block
constexpr std::int64_t kLinesFollowed = 12;

class Hints {
 public:
  Hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
        std::span<const std::int64_t> lengths)
      : schedule_(schedule),
        p_(problem),
        c_(p_.c),
        target_(p_.target),
        tile_(tile),
        length_(lengths) {}

  void run(bool carries_lines) {
    schedule_.store = Store::cached;
    schedule_.prefetch = Prefetch::none;
    schedule_.ahead.clear();
    const bool is_drained = has_drained_buffer(schedule_, c_);
    if (is_drained || (carries_lines && carry_lines(schedule_, p_, tile_)))
      schedule_.store = Store::streaming;
    else
      choose_stores();
    if (is_drained) return;
    if (!goes_by_diagonals() && !tile_.is_by_rows) ask_ahead();
  }

 private:
  // Lengths of ranges that a walk over the loops shortens.
  using Shrinking = std::pmr::vector<std::int64_t>;
  Shrinking whole_lengths() { return {c_.extents.begin(), c_.extents.end(), &memory_}; }

  // Outputs written once and larger than the caches go past them; those that tiles come back to are
  // asked for ahead.
  void choose_stores() {
    if (goes_by_diagonals() ? p_.outgrows_l2(p_.out) && overfills_a_set(p_, tile_)
                            : p_.outgrows_caches(p_.out)) {
      schedule_.store = Store::streaming;
      const bool has_whole_lines =
          p_.placement == Placement::at_line && !stream_fault(schedule_, c_, length_);
      align(schedule_, c_);
      if (is_worth_aligning(has_whole_lines)) return;
      unalign(schedule_);
      if (has_whole_lines) return;
      schedule_.store = Store::cached;
    }
    const double out_bytes = p_.out.elements * static_cast<double>(p_.item);
    if (tile_.packed && out_bytes > static_cast<double>(target_.l1_bytes))
      schedule_.prefetch = Prefetch::output;
  }

  bool goes_by_diagonals() const {
    const auto* loop =
        schedule_.outer.empty() ? nullptr : std::get_if<LoopSpec>(&schedule_.outer.back());
    return loop && loop->is_diagonal;
  }

  // Pieces that begin at lines are found at every call, which must write enough. Rows of whole
  // lines need it only if the array does not begin on one, as any may: little may lie between their
  // pieces.
  bool is_worth_aligning(bool has_whole_lines) const {
    if (!aligned_loop(schedule_) || stream_fault(schedule_, c_, length_)) return false;
    const double least = static_cast<double>(target_.l1_bytes) * kLeastAligned;
    return aligned_elements(schedule_, c_) * static_cast<double>(p_.item) >= least &&
           unaligned_part(schedule_, c_, has_whole_lines ? 1 : p_.out.row_alignment) <=
               (has_whole_lines ? kFewUnaligned : kMostUnaligned);
  }

  // Rows of an operand that a tile reads side by side.
  std::int64_t rows_in_tile(const Access& a) const {
    std::int64_t rows = 1;
    for (Label l : {tile_.unroll, tile_.unroll2})
      if (l >= 0 && a.strides[l] != 0) rows *= tile_.step_of(l);
    return tile_.vec >= 0 && std::abs(a.strides[tile_.vec]) > 1 ? rows * tile_.vec_length : rows;
  }

  // Whether tiles read rows side by side that lie on several pages, and on others at every step of
  // the sum: they come no faster for being asked for where the hardware follows pages.
  bool is_on_many_pages(const Access& a, Label sum) const {
    std::int64_t reach = 0;
    for (Label l : {tile_.unroll, tile_.unroll2})
      if (l >= 0) reach += std::abs(a.strides[l]) * (tile_.step_of(l) - 1);
    return target_.page_streams > 0 && reach * p_.item > kPage &&
           std::abs(a.strides[sum]) * p_.item > kPage;
  }

  // A row along which the tile or a loop goes the hardware follows better alone. A tile
  // that sums across rows must read a good piece of each.
  bool is_followed(const Access& a) const {
    if (rows_in_tile(a) > rows_followed(target_)) return false;
    bool goes_across = false;
    for (Label l = 0; l < c_.label_count(); ++l)
      goes_across |= c_.is_reduced(l) && l != tile_.vec && a.strides[l] != 0;
    return !goes_across || tile_.vec_length >= kLinesFollowed * line_items();
  }

  // Inputs that stream from memory through tiles of several rows: a prefetcher of the hardware
  // loses them at every page.
  void ask_ahead() {
    for (std::size_t k = 0; k < c_.in.size(); ++k) {
      const Access& a = c_.in[k];
      const bool in_vectors = tile_.vec >= 0 && a.strides[tile_.vec] != 0;
      if (is_packed(k) || !in_vectors || !streams_once(p_.in[k])) continue;
      if (asks_by_blocks(static_cast<int>(k))) continue;
      if (const auto rows = next_rows(a)) {
        schedule_.ahead.push_back({static_cast<int>(k), rows->label, rows->distance});
        continue;
      }
      if (const auto rows = next_narrow_rows(a)) {
        schedule_.ahead.push_back({static_cast<int>(k), rows->label, rows->distance});
        continue;
      }
      if (const auto rows = next_rows_of_sum(a)) {
        if (is_on_many_pages(a, rows->label)) continue;
        schedule_.ahead.push_back({static_cast<int>(k), rows->label, rows->distance});
        continue;
      }
      // Tiles that carry lines are calls: the next one's loads do not begin while this one waits.
      const bool is_beside = is_beside_turned(a);
      if (!is_beside && is_followed(a) && !carried_loop(schedule_)) continue;
      const Label row = label_of_stride(a, 1);
      if (row < 0) continue;
      if (const std::int64_t block = block_along(row); block > 0)
        schedule_.ahead.push_back({static_cast<int>(k), row, block});
      else if (c_.extents[row] >= 4 * kLinesAhead * line_items() ||
               (is_beside && c_.extents[row] >= 8 * lines_ahead(a, row) * line_items())) {
        if (!is_beside && goes_along_strips(a, row)) continue;
        schedule_.ahead.push_back({static_cast<int>(k), row, lines_ahead(a, row) * line_items()});
      } else if (const auto box = next_box(a)) {
        const Ahead ahead = nearer(a, *box);
        schedule_.ahead.push_back({static_cast<int>(k), ahead.label, ahead.distance});
      } else if (const Label next = label_across(a); next >= 0)
        schedule_.ahead.push_back({static_cast<int>(k), next, tile_.step_of(next)});
    }
  }

  // Whether tiles ask, row after row, for the next block of the first loop around one that is small
  // enough.
  bool asks_by_blocks(int operand) {
    const auto [asked, row] = rows_asked_by_blocks(p_, tile_);
    if (schedule_.store != Store::streaming || asked != operand) return false;
    if (has_next(schedule_)) return true;
    Shrinking length = whole_lengths();
    bool goes_on = false;
    for (std::size_t at = 0; at < schedule_.outer.size(); ++at) {
      const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[at]);
      if (!loop) continue;
      const Access& a = c_.in[static_cast<std::size_t>(operand)];
      goes_on |= a.strides[loop->label] != 0 && loop->step < length[loop->label];
      length[loop->label] = std::min(length[loop->label], loop->step);
      const double bytes = box_bytes(a, length);
      if (!goes_on || bytes > static_cast<double>(kMostBlockBytes)) continue;
      if (length[row] < kLeastBlockLines * line_items()) return false;
      const auto inside = schedule_.outer.begin() + static_cast<std::ptrdiff_t>(at) + 1;
      schedule_.outer.insert(inside, NextSpec{operand});
      return true;
    }
    return false;
  }

  static bool has_next(const Schedule& schedule) {
    return std::ranges::any_of(
        schedule.outer, [](const auto& item) { return std::holds_alternative<NextSpec>(item); });
  }

  // Whether another input's rows lie across those of the output: the hardware does not follow both,
  // unless the innermost loop goes along these.
  bool is_beside_turned(const Access& a) const {
    if (p_.large_inputs < 2 || schedule_.outer.empty()) return false;
    const auto* innermost = std::get_if<LoopSpec>(&schedule_.outer.back());
    return innermost && (a.strides[innermost->label] != 1 || a.strides[tile_.vec] > 1) &&
           rows_asked_by_blocks(p_, tile_).operand >= 0;
  }

  Label label_of_stride(const Access& a, std::int64_t stride) const {
    const auto found = std::ranges::find(a.strides, stride);
    return found == a.strides.end() ? -1 : static_cast<Label>(found - a.strides.begin());
  }

  // Whether a step along the label leaves the lines of the one before.
  bool is_elsewhere(const Access& a, Label l) const {
    return std::abs(a.strides[l]) >= line_items();
  }

  double box_bytes(const Access& a, std::span<const std::int64_t> length) const {
    double elements = 1;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (a.strides[l] != 0) elements *= static_cast<double>(length[l]);
    return elements * static_cast<double>(size_of(c_.dtype));
  }

  struct Ahead {
    Label label;
    std::int64_t distance;
  };
  // Short rows end to end that tiles sum in vectors, one after the other: hardware follows the runs
  // of a tile and not the next row's beginning. A few KB ahead, along the label that has so many.
  std::optional<Ahead> next_rows(const Access& a) const {
    if (tile_.vec < 0 || !c_.is_reduced(tile_.vec) || a.strides[tile_.vec] != 1)
      return std::nullopt;
    std::int64_t run = c_.extents[tile_.vec];
    const std::int64_t most = kBytesOfRows / size_of(c_.dtype);
    if (run > most) return std::nullopt;
    std::optional<Ahead> found;
    for (Label next = label_of_stride(a, run);
         next >= 0 && run <= kTilesOfRows * most && c_.extents[next] > 1;
         next = label_of_stride(a, run)) {
      const std::int64_t distance = std::max((most + run - 1) / run, tile_.step_of(next));
      if (c_.extents[next] >= kTilesOfRows * distance) found = {next, distance};
      run *= c_.extents[next];
    }
    return found;
  }

  // Rows of parts of vectors that a tile holds whole and sums one after the other: they come too
  // slowly for the hardware to run far ahead.
  std::optional<Ahead> next_narrow_rows(const Access& a) const {
    const Label row = label_of_stride(a, 1);
    if (row < 0 || c_.is_reduced(row) || tile_.step_of(row) < c_.extents[row]) return std::nullopt;
    const std::int64_t run = c_.extents[row];
    const Label next = label_of_stride(a, run);
    if (run % p_.lanes == 0 || run > 2 * p_.lanes || next < 0 || !c_.is_reduced(next))
      return std::nullopt;
    const std::int64_t distance = kBytesOfNarrow / (run * p_.item);
    if (c_.extents[next] < kTilesOfRows * distance) return std::nullopt;
    return Ahead{next, distance};
  }

  // The next block of rows that are summed, if a loop goes from one to the next and tiles inside
  // through parts of all.
  std::optional<Ahead> next_rows_of_sum(const Access& a) const {
    if (tile_.packed != 0 || tile_.vec < 0 || c_.is_reduced(tile_.vec) || a.strides[tile_.vec] != 1)
      return std::nullopt;
    const std::int64_t row = c_.extents[tile_.vec] * p_.item;
    const bool is_small = row * kSumRows <= kBlockAhead;
    const std::int64_t least = tile_.unroll >= 0 && is_small ? kSumRows : kSumRows + 1;
    bool is_cut = false;  // the rows, inside the loop
    for (const auto& item : schedule_.outer | std::views::reverse)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        is_cut |= loop->label == tile_.vec;
        if (is_cut && c_.is_reduced(loop->label) && loop->step >= least &&
            a.strides[loop->label] != 0 && row * loop->step <= kMostAhead)
          return Ahead{loop->label, loop->step};
      }
    return std::nullopt;
  }

  // Elements of a row in a block inside which loops go across rows and along them. 0: none.
  std::int64_t block_along(Label row) const {
    bool goes_along = false, goes_across = false;
    for (const auto& item : schedule_.outer | std::views::reverse)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        if (loop->label != row)
          goes_across |= goes_along;
        else if (goes_across)
          return loop->step <= kLinesAhead * line_items() ? loop->step : 0;
        else
          goes_along = true;
      }
    return 0;
  }

  // Along the innermost loop that goes from one box of the operand to another that is elsewhere,
  // and whose boxes are large enough for the next one's lines to come while one is read, and small
  // enough for them to stay. Where all are small, a few steps further.
  std::optional<Ahead> next_box(const Access& a) {
    std::optional<Ahead> found, small;
    Shrinking length = whole_lengths();
    auto bytes = [&](const Access& access) { return box_bytes(access, length); };
    const auto least = static_cast<double>(kLinesOfBox * target_.line_bytes);
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        length[loop->label] = std::min(length[loop->label], loop->step);
        double all = bytes(c_.out);
        for (const Access& access : c_.in) all += bytes(access);
        if (!is_elsewhere(a, loop->label) || tile_.step_of(loop->label) > 1 ||
            length[loop->label] > 1 || all * kBoxesInL2 > static_cast<double>(target_.l2_bytes))
          continue;
        const bool is_far = p_.bytes * 2 > static_cast<double>(target_.fast_cache_bytes());
        const auto steps = static_cast<std::int64_t>(std::ceil(2 * least / bytes(a)));
        if (bytes(a) >= least)
          found = {loop->label, loop->step * (is_far ? steps : 1)};
        else if (!small && is_far)
          small = {loop->label, steps};
      }
    return found ? found : small;
  }

  // A box that goes on where the rows of this one end, if so many rows share a set of L1 that what
  // is asked for early is lost there: a few lines further will do.
  Ahead nearer(const Access& a, const Ahead& box) const {
    if (rows_in_a_set(p_, tile_, a) <= l1_ways(target_)) return box;
    Ahead near = box;
    std::int64_t run = 1;
    for (Label l = label_of_stride(a, 1); l >= 0 && l != box.label; l = label_of_stride(a, run)) {
      if (c_.extents[l] == 1) return box;
      if (run <= kLinesNear * line_items()) near = {l, kLinesNear * line_items() / run};
      run *= c_.extents[l];
    }
    return run == a.strides[box.label] ? near : box;
  }

  // The label along which short rows lie end to end, if the tile reads several of them side by side
  // and to their ends before the next ones: what is asked for has time to come. -1: none.
  Label label_across(const Access& a) const {
    std::vector<Label> along;  // a row may be one of several labels
    std::int64_t run = 1;
    bool goes_across = false;  // in the tile
    for (Label next = label_of_stride(a, 1); next >= 0; next = label_of_stride(a, run)) {
      const bool is_cut = tile_.step_of(next) < c_.extents[next];
      if (!along.empty() && tile_.step_of(next) > 1 && is_cut) {
        const bool has_time = goes_across || is_outside(next, along) || is_summed(along);
        if (c_.extents[next] >= kTilesOfRows * tile_.step_of(next)) return has_time ? next : -1;
      }
      goes_across |= !along.empty() && tile_.step_of(next) > 1 && is_summed(along);
      along.push_back(next);
      if (c_.extents[next] == 1) break;
      run *= c_.extents[next];
    }
    return -1;
  }

  // Whether the tile goes along the rows step by step, across all of its own.
  bool is_summed(const std::vector<Label>& along) const {
    return c_.is_reduced(along.front()) && along.front() != tile_.vec;
  }

  // Whether the innermost loop over the label has one over some of the others inside.
  bool is_outside(Label label, const std::vector<Label>& others) const {
    for (const auto& item : schedule_.outer | std::views::reverse)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        if (loop->label == label) return false;
        if (std::ranges::find(others, loop->label) != others.end()) return true;
      }
    return false;
  }

  // Whether a copy goes along as few rows at once as have pages that the hardware follows.
  bool goes_along_strips(const Access& a, Label along) {
    if (!p_.reduced.empty()) return false;
    Shrinking length = whole_lengths();
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        if (loop->label == along && loop->step < length[along]) {
          std::int64_t rows = 1;
          for (Label l = 0; l < c_.label_count(); ++l)
            if (a.strides[l] != 0 && l != along) rows *= length[l];
          if (rows <= target_.page_streams) return true;
        }
        length[loop->label] = std::min(length[loop->label], loop->step);
      }
    return false;
  }

  // All rows of a tile together stay a small part of L2.
  std::int64_t lines_ahead(const Access& a, Label along) {
    // Inside the last loop along the rows all other ranges are gone through, unless that is so much
    // that the tile alone goes along them.
    Shrinking length = whole_lengths();
    Shrinking inside(length_.begin(), length_.end(), &memory_);
    auto rows = [&](std::span<const std::int64_t> of) {
      std::int64_t count = 1;
      for (Label l = 0; l < c_.label_count(); ++l)
        if (a.strides[l] != 0 && l != along) count *= of[l];
      return count;
    };
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        length[loop->label] = std::min(length[loop->label], loop->step);
        if (loop->label == along && rows(length) <= kMostRows) inside = length;
      }
    // Where the hardware follows rows too, the next lines will do.
    std::int64_t most =
        target_.page_streams > 0 ? 0 : target_.l2_bytes / 32 / target_.line_bytes / rows(inside);
    // A piece of a sum ends: what is asked for behind it comes in vain.
    if (tile_.is_kept && along == tile_.inner)
      most = std::min(most, length_[along] / kPartAhead / line_items());
    const std::int64_t tile = std::max<std::int64_t>(
        2 * std::min(tile_.step_of(along), length_[along]) / line_items(), 2);
    return std::clamp(most, std::min(tile, kLinesAhead), kLinesAhead);
  }

  std::int64_t line_items() const { return target_.line_bytes / size_of(c_.dtype); }
  bool is_packed(std::size_t k) const { return tile_.packed >> k & 1; }

  // Larger than the caches, and loops come back to it hardly ever.
  bool streams_once(const Operand& operand) {
    if (!p_.outgrows_caches(operand)) return false;
    const Access& a = *operand.access;
    const auto l2_bytes = static_cast<double>(target_.l2_bytes);
    Shrinking length = whole_lengths();
    std::int64_t times = 1;
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        // What a cache holds is there when the loop comes back to it. (Panels share it.)
        const bool is_held = !tile_.packed && box_bytes(a, length) * kBoxesInL2 <= l2_bytes;
        if (a.strides[loop->label] == 0 && !is_held)
          times *= (length[loop->label] + loop->step - 1) / loop->step;
        length[loop->label] = std::min(length[loop->label], loop->step);
      }
    return times <= kMostReads;
  }

  Schedule& schedule_;
  const Problem& p_;
  const Contraction& c_;
  const Target& target_;
  const RegisterTile& tile_;
  std::span<const std::int64_t> length_;  // of each label inside all loops
  std::array<std::byte, 1024> buffer_;
  std::pmr::monotonic_buffer_resource memory_{buffer_.data(), buffer_.size()};
};

// The label of an input's rows, if they are to be asked for by blocks; -1 if not.
Label asked_row(const Problem& p, const Operand& a, const RegisterTile& tile) {
  const std::vector<std::int64_t>& strides = a.access->strides;
  const auto found = std::ranges::find(strides, 1);
  if (found == strides.end() || std::abs(strides[tile.vec]) <= 1) return -1;
  const auto row = static_cast<Label>(found - strides.begin());
  if (p.in.size() > 1 && !p.outgrows_caches(a)) return -1;
  if (p.large_inputs > 1 && p.c.out.strides[row] == 1) return -1;
  const std::int64_t line = p.target.line_bytes / p.item, step = tile.step_of(row);
  // Where the output's rows are no whole lines either, tiles have more to do with each.
  const bool has_time = a.row_alignment >= line || p.out.row_alignment < line || p.large_inputs > 1;
  // Whole lines are asked for with each vector as well, unless rows are long.
  const std::int64_t least = step < line || p.large_inputs > 1 ? kLeastBlockLines : kLongRowLines;
  return step > 1 && step <= line && has_time && p.c.extents[row] >= least * line ? row : -1;
}

}  // namespace

AskedRows rows_asked_by_blocks(const Problem& p, const RegisterTile& tile) {
  const bool is_near = p.large_inputs <= 1 && p.bytes <= static_cast<double>(p.target.l3_bytes);
  const bool follows_rows = p.target.page_streams == 0 && p.large_inputs < 2;
  if (follows_rows || !p.reduced.empty() || tile.vec < 0 || is_near || !p.outgrows_caches(p.out))
    return {};
  for (std::size_t k = 0; k < p.in.size(); ++k)
    if (const Label row = asked_row(p, p.in[k], tile); row >= 0) return {static_cast<int>(k), row};
  return {};
}

void add_hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
               std::span<const std::int64_t> lengths, bool carries_lines) {
  Hints(schedule, problem, tile, lengths).run(carries_lines);
}

}  // namespace einjit
