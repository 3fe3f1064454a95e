#include "schedule/hints.hpp"

#include <algorithm>
#include <cstdlib>

#include "schedule/alignment.hpp"
#include "schedule/carry.hpp"
#include "schedule/next_rows.hpp"
#include "schedule/streams.hpp"

namespace einjit {
namespace {

constexpr double kMostUnaligned = 0.5;              // of what is written past the caches
constexpr double kFewUnaligned = 0.005;             // where rows are whole lines anyway
constexpr double kLeastAligned = 0.25;              // of L1, that one call writes
constexpr std::int64_t kMostRows = 1024;            // that one loop goes along
constexpr std::int64_t kMostReads = 2;              // of what is asked for ahead
constexpr std::int64_t kPartAhead = 8;              // of a piece of a sum
constexpr std::int64_t kLeastBlockLines = 4;        // of rows asked for block by block
constexpr std::int64_t kLongRowLines = 64;          // if tiles read whole lines of them
constexpr std::int64_t kMostBlockBytes = 40 << 10;  // of such a block
constexpr std::int64_t kLinesFollowed = 12;

class Hints : NextRows {
 public:
  using NextRows::NextRows;

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
  if (!p.reduced.empty() || tile.vec < 0 || !p.outgrows_caches(p.out)) return {};
  // One input's rows are left to hardware that follows them, and near ones to any.
  const bool is_near = p.bytes <= static_cast<double>(p.target.l3_bytes);
  if (p.large_inputs < 2 && (p.target.page_streams == 0 || is_near)) return {};
  for (std::size_t k = 0; k < p.in.size(); ++k)
    if (const Label row = asked_row(p, p.in[k], tile); row >= 0) return {static_cast<int>(k), row};
  return {};
}

void add_hints(Schedule& schedule, const Problem& problem, const RegisterTile& tile,
               std::span<const std::int64_t> lengths, bool carries_lines) {
  Hints(schedule, problem, tile, lengths).run(carries_lines);
}

}  // namespace einjit
