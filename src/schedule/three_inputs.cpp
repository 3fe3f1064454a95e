#include "schedule/three_inputs.hpp"

#include <algorithm>
#include <optional>

#include "cost/problem.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 48;  // of a product of two inputs
constexpr double kScaleSum = 3;  // cycles: a vector of sums is multiplied and added to others

// Nothing if no machine has room for it.
std::optional<TwoInputs> product_of(const Contraction& c, int a, int b) {
  const int rest = 3 - a - b;
  TwoInputs two{c, {rest, a}, b, true};
  std::vector<Label> labels;
  for (Label l = 0; l < c.label_count(); ++l)
    if (c.in[a].strides[l] != 0 || c.in[b].strides[l] != 0) labels.push_back(l);
  // In the order of the third input: nothing else asks for one.
  const Access& other = c.in[rest];
  std::ranges::stable_sort(labels, std::less{}, [&](Label l) {
    return std::pair(other.strides[l] == 0, std::abs(other.strides[l]));
  });
  Access access{std::vector<std::int64_t>(c.extents.size(), 0)};
  std::int64_t elements = 1;
  for (Label l : labels) {
    access.strides[l] = elements;
    if (__builtin_mul_overflow(elements, c.extents[l], &elements) || elements > kMostElements)
      return std::nullopt;
  }
  two.contraction.in = {c.in[rest], std::move(access)};
  return two;
}

// Nothing if the input has a label of its own, or every label of the sum.
std::optional<TwoInputs> without(const Contraction& c, int factor) {
  const int a = factor == 0 ? 1 : 0, b = 3 - factor - a;
  auto has = [&](int input, Label l) { return c.in[input].strides[l] != 0; };
  bool is_summed = false;
  for (Label l = 0; l < c.label_count(); ++l) {
    if (has(factor, l) && !has(a, l) && !has(b, l)) return std::nullopt;
    is_summed |= c.is_reduced(l) && !has(factor, l);
  }
  if (!is_summed) return std::nullopt;
  TwoInputs two{c, {a, b}, factor, false};
  two.contraction.in = {c.in[a], c.in[b]};
  return two;
}

// False if the product is not packed.
bool put_product(Schedule& schedule, const TwoInputs& two) {
  bool is_packed = false;
  for (auto& item : schedule.outer)
    if (auto* pack = std::get_if<PackSpec>(&item)) {
      if (pack->operand == 0) {
        pack->operand = two.of[0];
      } else {
        if (pack->is_ahead) return false;
        *pack = {two.of[1], false, two.other};
        is_packed = true;
      }
    }
  for (AheadSpec& ahead : schedule.ahead) ahead.operand = two.of[0];
  return is_packed;
}

// Copies that are the same in every piece of the loops around them are made once, outside.
void hoist_packs(Schedule& schedule, const Contraction& c) {
  for (std::size_t p = 1; p < schedule.outer.size(); ++p) {
    const auto* pack = std::get_if<PackSpec>(&schedule.outer[p]);
    if (!pack || pack->is_ahead) continue;
    const Access& access = c.in[pack->operand];
    for (std::size_t at = p; at > 0; --at) {
      const auto* loop = std::get_if<LoopSpec>(&schedule.outer[at - 1]);
      if (loop && (access.strides[loop->label] != 0 || loop->order == Order::parallel)) break;
      std::swap(schedule.outer[at - 1], schedule.outer[at]);
    }
  }
}

// Puts what is factored out and its summed labels before the others; false if one of these is the
// label whose steps are unrolled, or if it had to be packed and is too large for that.
bool put_factor(Schedule& schedule, const TwoInputs& two, const Contraction& c,
                const Target& target) {
  const Access& factor = c.in[two.other];
  Label vec = -1;
  for (const TileVar& var : schedule.tile) {
    const bool is_outer = c.is_reduced(var.label) && factor.strides[var.label] != 0;
    if (is_outer && (var.role == Role::vec || var.factor > 1 || var.merge > 0)) return false;
    if (var.role == Role::vec) vec = var.label;
  }
  auto reduced = std::ranges::stable_partition(
      schedule.tile, [](const TileVar& var) { return var.role != Role::reduce; });
  std::ranges::stable_partition(reduced,
                                [&](const TileVar& var) { return factor.strides[var.label] != 0; });
  for (auto& item : schedule.outer)
    if (auto* pack = std::get_if<PackSpec>(&item)) pack->operand = two.of[pack->operand];
  for (AheadSpec& ahead : schedule.ahead) ahead.operand = two.of[ahead.operand];
  hoist_packs(schedule, c);
  // Its vectors would be gathered for every tile anew.
  if (vec >= 0 && !c.is_reduced(vec) && std::abs(factor.strides[vec]) > 1) {
    const auto most = static_cast<double>(target.l3_bytes / 4 / size_of(c.dtype));
    if (element_count(c, factor) > most) return false;
    schedule.outer.insert(schedule.outer.begin(), PackSpec{two.other});
  }
  schedule.factored_out = 1u << two.other;
  return true;
}

}  // namespace

std::vector<TwoInputs> as_two_inputs(const Contraction& c) {
  std::vector<TwoInputs> all;
  for (auto [a, b] : {std::pair{0, 1}, {0, 2}, {1, 2}})
    if (auto two = product_of(c, a, b)) all.push_back(std::move(*two));
  for (int factor : {0, 1, 2})
    if (auto two = without(c, factor)) all.push_back(std::move(*two));
  return all;
}

bool put_in_terms_of_three(Schedule& schedule, const TwoInputs& two, const Contraction& c,
                           const Target& target) {
  return two.is_product ? put_product(schedule, two) : put_factor(schedule, two, c, target);
}

double scaling_cycles(const Schedule& schedule, const Contraction& c, const Target& target) {
  if (schedule.factored_out == 0) return 0;
  std::vector<std::int64_t> length = c.extents;
  for (const auto& item : schedule.outer)
    if (const auto* loop = std::get_if<LoopSpec>(&item))
      length[loop->label] = std::min(length[loop->label], loop->step);
  double terms = 1;  // of a sum that is multiplied
  for (Label l = 0; l < c.label_count(); ++l) {
    bool is_multiplied = !c.is_reduced(l);
    for (std::size_t k = 0; k < c.in.size(); ++k)
      is_multiplied |= (schedule.factored_out >> k & 1) && c.in[k].strides[l] != 0;
    if (!is_multiplied) terms *= static_cast<double>(length[l]);
  }
  return c.point_count() / terms / target.lanes(c.dtype) * kScaleSum;
}

}  // namespace einjit
