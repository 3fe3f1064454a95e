#include "schedule/streams.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>

namespace einjit {
namespace {

// Of a positive number below 2^62, without a call where the processor has no instruction for it.
double ceil(double value) {
  const auto whole = static_cast<double>(static_cast<std::int64_t>(value));
  return whole < value ? whole + 1 : whole;
}

}  // namespace

Streams::Streams(const Problem& problem, const Schedule& schedule)
    : p_(problem),
      target_(p_.target),
      schedule_(schedule),
      line_items_(static_cast<double>(target_.line_bytes) / static_cast<double>(p_.item)),
      cache_bytes_{static_cast<double>(target_.l1_bytes) * kFill,
                   static_cast<double>(target_.l2_bytes) * kFill} {
  add_nest();
  const std::size_t all = nest_.loops.size();
  streams_.reserve(2 * p_.in.size() + 1);
  for (int k = 0; k < static_cast<int>(p_.in.size()); ++k) add_input(k);
  streams_.push_back({&p_.out, 0, buffer_depth_.value_or(all), false, true});
  if (buffer_depth_) streams_.push_back({&p_.out, *buffer_depth_, all, true});
  for (Stream& s : streams_) {
    s.boxes = array_of<StreamBox>(s.to + 1);
    measure(s);
  }
  for (Level level : {Level::l1, Level::l2}) {
    std::size_t& fitting = fitting_[static_cast<int>(level)];
    for (fitting = 0; fitting < all; ++fitting)
      if (footprint_at(fitting, level) <= bytes_of(level)) break;
  }
}

template <class T>
std::span<T> Streams::array_of(std::size_t count) {
  T* first = std::pmr::polymorphic_allocator<T>(&memory_).allocate(count);
  std::uninitialized_default_construct_n(first, count);
  return {first, count};
}

void Streams::add_nest() {
  std::size_t loops = 0;
  for (const auto& item : schedule_.outer) loops += std::holds_alternative<LoopSpec>(item);
  nest_.labels = p_.c.extents.size();
  nest_.loops = array_of<LoopSpec>(loops);
  nest_.trips = array_of<double>(loops);
  nest_.all = array_of<double>((loops + 1) * nest_.labels);
  packs_.reserve(schedule_.outer.size() - loops);
  std::ranges::transform(p_.c.extents, nest_.all.begin(),
                         [](std::int64_t extent) { return static_cast<double>(extent); });
  std::size_t depth = 0;
  for (const auto& item : schedule_.outer) {
    if (const auto* pack = std::get_if<PackSpec>(&item)) {
      packs_.push_back({*pack, depth});
      continue;
    }
    if (std::holds_alternative<BufferSpec>(item) && !buffer_depth_ &&
        (p_.reduced.empty() || is_turned()))
      buffer_depth_ = depth;
    if (!std::holds_alternative<LoopSpec>(item)) continue;
    const LoopSpec& loop = nest_.loops[depth] = std::get<LoopSpec>(item);
    const auto outside = nest_.all.subspan(depth * nest_.labels, nest_.labels);
    const auto inside = nest_.all.subspan((depth + 1) * nest_.labels, nest_.labels);
    std::ranges::copy(outside, inside.begin());
    const auto label = static_cast<std::size_t>(loop.label);
    inside[label] = std::min(outside[label], static_cast<double>(loop.step));
    nest_.trips[depth++] = std::max(1.0, outside[label] / inside[label]);
  }
}

// Whether sums lie otherwise in a buffer than in the output. (Constants of others were measured
// without.)
bool Streams::is_turned() const {
  return std::ranges::any_of(schedule_.tile, [&](const TileVar& var) {
    return var.role == Role::vec && std::abs(p_.c.out.strides[var.label]) > 1;
  });
}

// An input is read by the tiles, or by a copy whose panels they read.
void Streams::add_input(int operand) {
  const auto number = static_cast<std::size_t>(operand);
  const std::size_t all = nest_.loops.size();
  const auto pack = std::ranges::find_if(
      packs_, [&](const Pack& p) { return p.spec.operand == operand || p.spec.factor == operand; });
  if (pack == packs_.end()) {
    streams_.push_back({&p_.in[number], 0, all});
    return;
  }
  const PackSpec& spec = pack->spec;
  streams_.push_back({&p_.in[number], 0, pack->depth, false, false, true, spec.is_ahead});
  if (spec.factor == operand) return;
  const Operand* panel = &p_.in[number];
  if (spec.factor >= 0) {
    Access product = p_.c.in[number];
    const Access& factor = p_.c.in[static_cast<std::size_t>(spec.factor)];
    for (Label l = 0; l < p_.c.label_count(); ++l)
      if (product.strides[l] == 0) product.strides[l] = factor.strides[l];
    panel = &products_.emplace_back(p_.c, std::move(product)).operand;
  }
  streams_.push_back({panel, pack->depth, all, true});
}

// Loops the stream does not move along leave its box as it is.
void Streams::measure(const Stream& s) const {
  for (std::size_t depth = 0; depth <= s.to; ++depth) {
    if (depth > 0 && !moves_along(s, depth))
      s.boxes[depth] = s.boxes[depth - 1];
    else
      measure_box(s, depth);
    measure_lines(s, depth);
  }
}

void Streams::measure_box(const Stream& s, std::size_t depth) const {
  StreamBox& box = s.boxes[depth];
  const Lengths lengths = nest_.lengths(depth);
  box.elements = box.reach = box.run = box.pages = 1;
  bool is_run = true;
  for (const Move& m : s.operand->moves) {
    const double length = lengths[static_cast<std::size_t>(m.label)];
    box.elements *= length;
    box.reach += m.stride * std::max(length - 1, 0.0);
    if (length <= 1) continue;
    is_run &= m.stride <= box.run;
    if (is_run && m.stride == box.run) box.run *= length;
    box.pages *= std::max(1.0, std::min(length, length * m.stride_bytes / kPage));
  }
  if (s.is_dense) box.pages = 0;  // scratch lies on large pages
  box.conflict[0] = s.is_dense ? 1 : l1_conflict(s, depth);
  box.conflict[1] = s.is_dense ? 1 : l2_conflict(s, depth, box.run);
}

void Streams::measure_lines(const Stream& s, std::size_t depth) const {
  StreamBox& box = s.boxes[depth];
  const double per_item = 1 / line_items();  // a power of two
  box.run_lines = kRunLines;
  if (s.is_dense) {
    box.lines = ceil(box.elements * per_item);
  } else {
    // The loop outside may go on where the box ends.
    const double run = depth > 0 && moves_along(s, depth) ? run_with_loop(s, depth) : box.run;
    // Runs may begin anywhere on a line, at multiples of what their rows share.
    auto partial_line = [&] {
      const auto items = static_cast<std::int64_t>(line_items());
      const std::int64_t apart =
          std::gcd(items, std::gcd(s.operand->row_alignment, static_cast<std::int64_t>(run)));
      return 1 - static_cast<double>(apart) * per_item;
    };
    const double partial = run >= box.elements || run <= 1 ? 0 : partial_line();
    box.run_lines = std::max(run * per_item + partial, 1.0);
    // Windows overlap: there are no more lines than from the first element to the last.
    const double lines = std::max(box.elements / run * box.run_lines, box.elements * per_item);
    box.lines = std::min(lines, ceil(box.reach * per_item) + 1);
  }
  const bool is_cached = !s.is_output || schedule_.store == Store::cached;
  box.held_lines = held_lines(s, box);
  const double bytes = is_cached ? box.held_lines * static_cast<double>(target_.line_bytes) : 0;
  for (int level : {0, 1}) box.footprint[level] = bytes * box.conflict[level];
}

// While a box is in a cache it takes all of the lines that it shares with the next one. (Constants
// of copies were measured without.)
double Streams::held_lines(const Stream& s, const StreamBox& box) const {
  if (p_.reduced.empty() || s.is_dense || s.is_output) return box.lines;
  const double all = box.elements / box.run * std::max(box.run / line_items(), 1.0);
  return std::max(box.lines, std::min(all, ceil(box.reach / line_items()) + 1));
}

double Streams::run_with_loop(const Stream& s, std::size_t depth) const {
  const Lengths inside = nest_.lengths(depth), outside = nest_.lengths(depth - 1);
  const Label along = nest_.loops[depth - 1].label;
  return run_length(
      s, [&](Label l) { return (l == along ? outside : inside)[static_cast<std::size_t>(l)]; });
}

double Streams::l1_conflict(const Stream& s, std::size_t depth) const {
  const Lengths lengths = nest_.lengths(depth);
  const auto ways = static_cast<double>(l1_ways(target_));
  double conflict = 1;
  for (const Move& m : s.operand->moves)
    if (m.page_part * 2 >= kPage && lengths[static_cast<std::size_t>(m.label)] > ways)
      conflict *= kConflict;
  return conflict;
}

double Streams::l2_conflict(const Stream& s, std::size_t depth, double run) const {
  const Lengths lengths = nest_.lengths(depth);
  const double row = std::max(run * item(), static_cast<double>(target_.line_bytes));
  double apart = kPage;
  for (const Move& m : s.operand->moves)
    if (lengths[static_cast<std::size_t>(m.label)] > 1 && m.stride_bytes >= row)
      apart = std::min(apart, m.page_part);
  return std::clamp(apart / row, 1.0, kConflict);
}

// What copies read is counted in the loops inside them too: it is in the caches for a while, and
// the model's constants were measured so. Copies made once, outside, are not.
double Streams::footprint_at(std::size_t depth, Level level) const {
  double bytes = 0;
  for (const Stream& s : streams_)
    if (depth >= s.from && !(schedule_.factored_out != 0 && s.is_copied && depth > s.to))
      bytes += s.boxes[std::min(depth, s.to)].footprint[static_cast<int>(level)];
  return bytes;
}

bool Streams::goes_along(const Stream& s) const {
  return nest_.loops.empty() ||
         s.access().strides[static_cast<std::size_t>(nest_.loops.back().label)] == 1;
}

// The run of what a tile goes along.
double Streams::walked_run(const Stream& s) const {
  const Lengths all = nest_.lengths(s.to);
  return run_length(s, [&](Label l) {
    for (const TileVar& var : schedule_.tile)
      if (var.role == Role::unroll && var.label == l) return 1.0;
    return all[static_cast<std::size_t>(l)];
  });
}

double Streams::lines_along(const Stream& s) const {
  return std::max(walked_run(s) / line_items(), 1.0);
}

double Streams::rows_at_once(const Stream& s) const {
  return s.boxes[s.to].elements / walked_run(s);
}

double Streams::rows_in_one_set(const Stream& s) const {
  if (s.is_dense || s.to < nest_.loops.size()) return 0;
  const Lengths tile = nest_.lengths(nest_.loops.size());
  double rows = 1;
  for (const TileVar& var : schedule_.tile) {
    const std::int64_t stride = s.access().strides[static_cast<std::size_t>(var.label)] * p_.item;
    if (stride != 0 && stride % kPage == 0 && var.role != Role::reduce)
      rows *= tile[static_cast<std::size_t>(var.label)];
  }
  return rows;
}

}  // namespace einjit
