#include "schedule/streams.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "cost/tile_cost.hpp"

namespace einjit {

Streams::Streams(const Contraction& c, const Schedule& schedule, const Target& target)
    : c_(c), target_(target), schedule_(schedule), all_bytes_(byte_count(c)) {
  streams_.reserve(2 * c_.in.size() + 1);
  add_nest();
  const std::size_t all = nest_.loops.size();
  for (int k = 0; k < static_cast<int>(c_.in.size()); ++k) add_input(k);
  streams_.push_back({&c_.out, 0, all, false, true});
  for (Stream& s : streams_) measure_all(s);
  for (Level level : {Level::l1, Level::l2}) {
    std::size_t& fitting = fitting_[static_cast<int>(level)];
    for (fitting = 0; fitting < all; ++fitting)
      if (footprint_at(fitting, level) <= bytes_of(level)) break;
  }
}

void Streams::add_nest() {
  const std::size_t most = schedule_.outer.size();
  nest_.loops.reserve(most);
  nest_.trips.reserve(most);
  nest_.labels = c_.extents.size();
  nest_.all.reserve((most + 1) * nest_.labels);
  nest_.all = c_.extents;
  for (const auto& item : schedule_.outer) {
    if (const auto* pack = std::get_if<PackSpec>(&item)) {
      packs_.push_back({*pack, nest_.loops.size()});
      continue;
    }
    const LoopSpec& loop = std::get<LoopSpec>(item);
    const std::size_t before = nest_.all.size() - nest_.labels;
    for (std::size_t l = 0; l < nest_.labels; ++l) nest_.all.push_back(nest_.all[before + l]);
    std::int64_t& length = nest_.all[before + nest_.labels + static_cast<std::size_t>(loop.label)];
    const auto whole = static_cast<double>(length);
    length = std::min(length, loop.step);
    nest_.trips.push_back(std::max(1.0, whole / static_cast<double>(length)));
    nest_.loops.push_back(loop);
  }
}

void Streams::measure_all(Stream& s) const {
  for (Label l = 0; l < c_.label_count(); ++l) {
    const std::int64_t stride = std::abs(s.access->strides[l]);
    if (stride == 0) continue;
    const auto place = std::ranges::upper_bound(
        s.moving, stride, {}, [&](Label m) { return std::abs(s.access->strides[m]); });
    s.moving.insert(place, l);
  }
  s.boxes.reserve(s.to + 1);
  for (std::size_t depth = 0; depth <= s.to; ++depth) s.boxes.push_back(measure(s, depth));
}

// An input is read by the tiles, or by a copy whose panels they read.
void Streams::add_input(int operand) {
  const Access& access = c_.in[static_cast<std::size_t>(operand)];
  const std::size_t all = nest_.loops.size();
  const auto pack = std::ranges::find_if(
      packs_, [&](const Pack& p) { return p.spec.operand == operand || p.spec.factor == operand; });
  if (pack == packs_.end()) {
    streams_.push_back({&access, 0, all});
    return;
  }
  const PackSpec& spec = pack->spec;
  streams_.push_back({&access, 0, pack->depth, false, false, true, spec.is_ahead});
  if (spec.factor == operand) return;
  const Access* panel = &access;
  if (spec.factor >= 0) {
    Access product = access;
    const Access& factor = c_.in[static_cast<std::size_t>(spec.factor)];
    for (Label l = 0; l < c_.label_count(); ++l)
      if (product.strides[l] == 0) product.strides[l] = factor.strides[l];
    panel = &products_.emplace_back(std::move(product));
  }
  streams_.push_back({panel, pack->depth, all, true});
}

StreamBox Streams::measure(const Stream& s, std::size_t depth) const {
  StreamBox box{};
  measure_lines(s, depth, box);
  box.pages = pages(s, depth);
  if (s.is_output && schedule_.store == Store::streaming) return box;
  const double bytes = box.lines * static_cast<double>(target_.line_bytes);
  box.footprint[0] = s.is_dense ? bytes : bytes * l1_conflict(s, depth);
  box.footprint[1] = s.is_dense ? bytes : bytes * l2_conflict(s, depth);
  return box;
}

void Streams::measure_lines(const Stream& s, std::size_t depth, StreamBox& box) const {
  const Lengths lengths = nest_.lengths(depth);
  double elements = 1, reach = 1;
  for (Label l : s.moving) {
    elements *= static_cast<double>(lengths[l]);
    reach += std::abs(static_cast<double>(s.access->strides[l])) *
             static_cast<double>(std::max<std::int64_t>(lengths[l] - 1, 0));
  }
  box.run_lines = kRunLines;
  box.lines = std::ceil(elements / line_items());
  if (s.is_dense) return;
  // The loop outside may go on where the box ends.
  const double run = depth > 0 ? run_length(s, lengths, nest_.loops[depth - 1].label, depth)
                               : run_length(s, lengths, -1, depth);
  const double partial = run >= elements || run <= 1 || is_aligned(*s.access, run) ? 0 : 0.5;
  box.run_lines = std::max(run / line_items() + partial, 1.0);
  // Windows overlap: there are no more lines than from the first element to the last.
  const double lines = std::max(elements / run * box.run_lines, elements / line_items());
  box.lines = std::min(lines, std::ceil(reach / line_items()) + 1);
}

bool Streams::is_aligned(const Access& a, double run) const {
  const auto items = static_cast<std::int64_t>(line_items());
  return static_cast<std::int64_t>(run) % items == 0 &&
         std::ranges::all_of(a.strides, [&](std::int64_t stride) {
           return std::abs(stride) <= 1 || stride % items == 0;
         });
}

double Streams::run_length(const Stream& s, Lengths lengths, Label outside,
                           std::size_t depth) const {
  double run = 1;
  for (Label l : s.moving) {
    const auto length =
        static_cast<double>(l == outside ? nest_.lengths(depth - 1)[l] : lengths[l]);
    const auto stride = std::abs(static_cast<double>(s.access->strides[l]));
    if (length <= 1 || stride < run) continue;
    if (stride > run) break;
    run *= length;
  }
  return run;
}

double Streams::l1_conflict(const Stream& s, std::size_t depth) const {
  double conflict = 1;
  for (Label l : s.moving) {
    const std::int64_t stride = std::abs(s.access->strides[l]) * size_of(c_.dtype);
    if (stride % (kPage / 2) == 0 && nest_.lengths(depth)[l] > l1_ways(target_))
      conflict *= kConflict;
  }
  return conflict;
}

double Streams::l2_conflict(const Stream& s, std::size_t depth) const {
  const Lengths lengths = nest_.lengths(depth);
  const double row =
      std::max(run_length(s, lengths, -1, depth) * item(), static_cast<double>(target_.line_bytes));
  std::int64_t apart = kPage;
  for (Label l : s.moving) {
    const std::int64_t stride = std::abs(s.access->strides[l]) * size_of(c_.dtype);
    if (lengths[l] > 1 && static_cast<double>(stride) >= row) apart = std::gcd(apart, stride);
  }
  return std::clamp(static_cast<double>(apart) / row, 1.0, kConflict);
}

double Streams::footprint_at(std::size_t depth, Level level) const {
  double bytes = 0;
  for (const Stream& s : streams_)
    if (depth >= s.from) bytes += s.boxes[std::min(depth, s.to)].footprint[static_cast<int>(level)];
  return bytes;
}

double Streams::bytes_of(Level level) const {
  return static_cast<double>(level == Level::l1 ? target_.l1_bytes : target_.l2_bytes) * kFill;
}

bool Streams::goes_along(const Stream& s) const {
  return nest_.loops.empty() || s.access->strides[nest_.loops.back().label] == 1;
}

double Streams::lines_along(const Stream& s) const {
  const Lengths all = nest_.lengths(s.to);
  std::vector<std::int64_t> walked(all.begin(), all.end());
  for (const TileVar& var : schedule_.tile)
    if (var.role == Role::unroll) walked[var.label] = 1;
  return std::max(run_length(s, walked, -1, s.to) / line_items(), 1.0);
}

double Streams::rows_at_once(const Stream& s) const {
  const Lengths all = nest_.lengths(s.to);
  std::vector<std::int64_t> walked(all.begin(), all.end());
  double elements = 1;
  for (Label l : s.moving) elements *= static_cast<double>(walked[l]);
  for (const TileVar& var : schedule_.tile)
    if (var.role == Role::unroll) walked[var.label] = 1;
  return elements / run_length(s, walked, -1, s.to);
}

double Streams::rows_in_one_set(const Stream& s) const {
  if (s.is_dense || s.to < nest_.loops.size()) return 0;
  const Lengths tile = nest_.lengths(nest_.loops.size());
  double rows = 1;
  for (const TileVar& var : schedule_.tile) {
    const std::int64_t stride = s.access->strides[var.label] * size_of(c_.dtype);
    if (stride != 0 && stride % kPage == 0 && var.role != Role::reduce)
      rows *= static_cast<double>(tile[var.label]);
  }
  return rows;
}

double Streams::pages(const Stream& s, std::size_t depth) const {
  if (s.is_dense) return 0;  // scratch lies on large pages
  const Lengths box = nest_.lengths(depth);
  double pages = 1;
  for (Label l : s.moving) {
    const double stride = std::abs(static_cast<double>(s.access->strides[l])) * item();
    if (box[l] > 1)
      pages *= std::max(
          1.0, std::min(static_cast<double>(box[l]), static_cast<double>(box[l]) * stride / kPage));
  }
  return pages;
}

}  // namespace einjit
