#include "schedule/fetching.hpp"

#include <algorithm>
#include <cstdlib>

namespace einjit {
namespace {

constexpr std::int64_t kNearInPage = 4;      // steps, at least
constexpr std::int64_t kFollowedPages = 16;  // of several inputs, where nobody says how many
constexpr double kFollowedRows = 8;          // along which a loop goes

}  // namespace

bool Fetching::is_asked_for(const Stream& s) const {
  if (s.is_ahead) return footprint_at(s.to, Level::l2) <= bytes_of(Level::l2);
  if (is_asked_row_by_row(s)) return true;
  return std::ranges::any_of(schedule_.ahead, [&](const AheadSpec& a) {
    return &p_.c.in[static_cast<std::size_t>(a.operand)] == &s.access() && stays(s, a);
  });
}

bool Fetching::is_lost_before_read(const Stream& s) const {
  return std::ranges::any_of(schedule_.ahead, [&](const AheadSpec& a) {
    return &p_.c.in[static_cast<std::size_t>(a.operand)] == &s.access() && !stays(s, a);
  });
}

bool Fetching::stays(const Stream& s, const AheadSpec& a) const {
  for (std::size_t d = nest_.loops.size(); d-- > 0;)
    if (nest_.loops[d].label == a.label && nest_.loops[d].step == a.distance)  // the next box
      return footprint_at(d + 1, Level::l2) <= bytes_of(Level::l2);
  const std::int64_t stride = s.access().strides[a.label];
  const double bytes = static_cast<double>(a.distance * stride) * item();
  if (stride != 1) return bytes <= bytes_of(Level::l2);  // rows end to end
  const std::size_t body = body_along(s);
  return rows(s, body) * bytes * s.boxes[body].conflict[1] <= bytes_of(Level::l2);
}

std::size_t Fetching::body_along(const Stream& s) const {
  std::size_t body = s.to;
  while (body > 0 && !goes_on(s, body)) --body;
  return body == 0 ? s.to : body;
}

double Fetching::asked_in_vain(const Stream& s) const {
  for (const AheadSpec& a : schedule_.ahead) {
    if (&p_.c.in[static_cast<std::size_t>(a.operand)] != &s.access()) continue;
    // A loop over the label goes on where its last piece ended, at once if that is the next loop
    // inside, or soon if little lies between.
    const std::size_t all = nest_.loops.size();
    std::size_t depth = all;
    for (std::size_t d = all; d-- > 0;) {
      if (nest_.loops[d].label != a.label) continue;
      const double between = s.boxes[d + 1].lines * static_cast<double>(target_.line_bytes);
      const bool goes_on_at_once = depth < all && depth == d + 1;
      if (!goes_on_at_once && between * 2 > bytes_of(Level::l2)) break;
      depth = d;
    }
    const double length = nest_.lengths(depth)[a.label];
    if (target_.page_streams > 0 && p_.reduced.empty() &&
        length == static_cast<double>(p_.c.extents[a.label]) && is_row_continued(s, depth))
      return 0;
    return std::min(1.0, static_cast<double>(a.distance) / length);
  }
  return 0;
}

bool Fetching::is_row_continued(const Stream& s, std::size_t depth) const {
  while (depth > 0 && !moves_along(s, depth)) --depth;
  return depth > 0 && goes_on(s, depth);
}

bool Fetching::is_followed(const Stream& s) const {
  const std::int64_t pages = target_.page_streams > 0 ? target_.page_streams : kFollowedPages;
  if (p_.reduced.empty() && (target_.page_streams > 0 || p_.large_inputs > 1)) {
    const std::size_t along = body_along(s);
    const auto inputs = static_cast<double>(std::max(p_.large_inputs, 1));
    return along > 0 && goes_on(s, along) && rows(s, along) * inputs <= static_cast<double>(pages);
  }
  for (const TileVar& var : schedule_.tile) {
    const auto stride = static_cast<double>(std::abs(s.access().strides[var.label]));
    if (stride <= 1) continue;
    if (var.role == Role::unroll) return false;
    if (var.role == Role::vec && stride < kLongPiece * line_items()) return false;
  }
  const std::size_t body = body_along(s);
  return body > 0 && goes_on(s, body) && rows(s, body) <= kFollowedRows;
}

bool Fetching::is_read_once(const Stream& s) const {
  return !s.is_output && !s.is_dense && s.operand->elements * 4 > p_.points;
}

bool Fetching::is_read_in_turn(const Stream& s) const {
  for (const TileVar& var : schedule_.tile)
    if (var.role == Role::unroll && s.access().strides[var.label] != 0) return false;
  const bool is_short = target_.page_streams > 0 && is_read_once(s);
  return lines_along(s) >= (is_short ? kPieceOnMesh : kLongPiece);
}

bool Fetching::is_asked_by_blocks(const Stream& s) const {
  return std::ranges::any_of(schedule_.ahead, [&](const AheadSpec& a) {
    return &p_.c.in[static_cast<std::size_t>(a.operand)] == &s.access() &&
           p_.c.is_reduced(a.label) && s.access().strides[a.label] != 1;
  });
}

bool Fetching::is_asked_row_by_row(const Stream& s) const {
  return std::ranges::any_of(schedule_.outer, [&](const auto& item) {
    const auto* next = std::get_if<NextSpec>(&item);
    return next && &p_.c.in[static_cast<std::size_t>(next->operand)] == &s.access();
  });
}

bool Fetching::is_asked_by_drains(const Stream& s) const {
  return is_drained() && is_asked_row_by_row(s) &&
         drained_box(s).run * item() >= static_cast<double>(kAskedByDrains);
}

bool Fetching::goes_on(const Stream& s, std::size_t depth) const {
  if (depth == 0 || !moves_along(s, depth)) return false;
  const LoopSpec& loop = nest_.loops[depth - 1];
  const std::int64_t step = std::abs(s.access().strides[loop.label]) * loop.step * p_.item;
  const bool is_near = step * kNearInPage <= kPage && step % kFewChannels != 0;
  return run_with_loop(s, depth) > s.boxes[depth].run || (is_streamed(s) && is_near);
}

}  // namespace einjit
