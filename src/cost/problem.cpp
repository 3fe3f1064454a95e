#include "cost/problem.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace einjit {
namespace {

constexpr double kBeyondL2 = 3;          // times its size: what comes next finds little of it there
constexpr double kBeyondL2OnMesh = 1.5;  // or it does not lie there itself
constexpr double kSmallPart = 4;         // of L2: what is smaller stays there beside others

constexpr double kFewSets = 512;  // bytes between rows, which use an eighth of the sets

}  // namespace

double position_count(const Contraction& c, const Access& access) {
  double count = 1;
  for (Label l = 0; l < c.label_count(); ++l)
    if (access.strides[l] != 0) count *= static_cast<double>(c.extents[l]);
  return count;
}

double element_count(const Contraction& c, const Access& access) {
  double reach = 1;
  for (Label l = 0; l < c.label_count(); ++l) {
    reach += std::abs(static_cast<double>(access.strides[l])) *
             static_cast<double>(std::max<std::int64_t>(c.extents[l] - 1, 0));
  }
  return std::min(position_count(c, access), reach);
}

double byte_count(const Contraction& c) {
  double elements = element_count(c, c.out) * (c.beta == Beta::zero ? 1 : 2);
  for (const Access& access : c.in) elements += element_count(c, access);
  return elements * static_cast<double>(size_of(c.dtype));
}

double predicted_seconds(const Contraction& c, const Target& target, double cycles) {
  const double bytes = byte_count(c);
  const double per_cycle = bytes <= static_cast<double>(target.l1_bytes)   ? 64
                           : bytes <= static_cast<double>(target.l2_bytes) ? 32
                           : bytes <= static_cast<double>(target.fast_cache_bytes())
                               ? 12
                               : target.dram_bytes_per_cycle;
  return std::max(cycles, bytes / per_cycle) / (target.cycles_per_ns * 1e9);
}

Operand::Operand(const Contraction& c, const Access& a)
    : access(&a), positions(position_count(c, a)), elements(element_count(c, a)), is_summed(false) {
  std::uint64_t bits = 0;  // of all strides beyond 1
  for (Label l = 0; l < c.label_count(); ++l) {
    const std::int64_t stride = std::abs(a.strides[l]);
    if (stride == 0) continue;
    is_summed |= c.is_reduced(l);
    if (stride > 1) bits |= static_cast<std::uint64_t>(stride);
    const std::int64_t bytes = stride * size_of(c.dtype);
    const Move move{l, static_cast<double>(stride), static_cast<double>(bytes),
                    static_cast<double>(std::min(kPage, bytes & -bytes))};
    moves.insert(std::ranges::upper_bound(moves, move.stride, {}, &Move::stride), move);
  }
  constexpr int kMost = 30;
  row_alignment = std::int64_t{1} << std::min(kMost, bits == 0 ? kMost : std::countr_zero(bits));
}

Problem::Problem(const Contraction& contraction, const Target& t, Placement place)
    : c(contraction),
      target(t),
      item(size_of(c.dtype)),
      lanes(t.lanes(c.dtype)),
      lane_bits(std::countr_zero(static_cast<std::uint64_t>(lanes))),
      points(c.point_count()),
      bytes(byte_count(c)),
      out(c, c.out),
      placement(place) {
  if (placement == Placement::anywhere) out.row_alignment = 1;
  for (Label l = 0; l < c.label_count(); ++l) {
    (c.is_reduced(l) ? reduced : kept).push_back(l);
    extents.push_back(std::max(1.0, static_cast<double>(c.extents[l])));
  }
  in.reserve(c.in.size());
  for (const Access& access : c.in) in.emplace_back(c, access);
  auto shares_sets = [](const Operand& a) {
    return std::ranges::any_of(a.moves, [](const Move& m) { return m.page_part >= kFewSets; });
  };
  is_held_by_l3 = in.size() == 1 && reduced.empty() &&
                  bytes <= kShareOfL3 * static_cast<double>(target.fast_cache_bytes()) &&
                  !shares_sets(in[0]) && !shares_sets(out);
  large_inputs = static_cast<int>(
      std::ranges::count_if(in, [&](const Operand& a) { return outgrows_caches(a); }));
}

bool Problem::outgrows_l2(const Operand& a) const {
  const double all = a.elements * static_cast<double>(item), others = bytes - all;
  const auto l2_bytes = static_cast<double>(target.l2_bytes);
  if (all > (target.has_near_l3 ? kBeyondL2 : kBeyondL2OnMesh) * l2_bytes) return true;
  // Where nothing is summed, others go through L2 as fast.
  return !target.has_near_l3 && reduced.empty() && all * kSmallPart > l2_bytes &&
         others * 2 >= all && bytes > l2_bytes;
}

}  // namespace einjit
