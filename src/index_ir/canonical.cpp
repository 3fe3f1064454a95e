#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "index_ir/contraction.hpp"

namespace einjit {
namespace {

// `outer` and `inner` can become one label: in every operand a step of outer is a whole run of
// inner (both absent included: 0 == 0 * extent).
bool can_fuse(const Contraction& c, Label outer, Label inner) {
  if (c.extents[outer] == 0 || c.extents[inner] == 0) return false;
  if (c.is_dynamic(outer) || c.is_dynamic(inner)) return false;
  auto moves_together = [&](const Access& access) {
    return access.strides[outer] == access.strides[inner] * c.extents[inner];
  };
  return moves_together(c.out) && std::ranges::all_of(c.in, moves_together);
}

// Fuses `inner` into `outer`, which takes its strides.
void fuse(Contraction& c, Label outer, Label inner) {
  c.extents[outer] *= c.extents[inner];
  c.names[outer] += c.names[inner];
  c.out.strides[outer] = c.out.strides[inner];
  for (Access& access : c.in) access.strides[outer] = access.strides[inner];
}

// Keeps the given labels, in the given order.
Contraction select(const Contraction& c, const std::vector<Label>& labels) {
  Contraction result{c.dtype, c.alpha, c.beta, {}, {}, {}, {}, {}};
  result.in.resize(c.in.size());
  result.extents.reserve(labels.size());
  result.names.reserve(labels.size());
  result.out.strides.reserve(labels.size());
  for (Access& access : result.in) access.strides.reserve(labels.size());
  for (Label l : labels) {
    if (!c.dynamic.empty()) result.dynamic.push_back(c.dynamic[l]);
    result.extents.push_back(c.extents[l]);
    result.names.push_back(c.names[l]);
    result.out.strides.push_back(c.out.strides[l]);
    for (std::size_t k = 0; k < c.in.size(); ++k)
      result.in[k].strides.push_back(c.in[k].strides[l]);
  }
  return result;
}

std::int64_t largest_stride(const Contraction& c, Label l) {
  std::int64_t largest = 0;
  for (const Access& access : c.in) largest = std::max(largest, std::abs(access.strides[l]));
  return largest;
}

// Output labels first, by falling output stride, then reduced ones by falling input stride; ties
// are settled by the strides in the operands and the extent, never by a name.
bool comes_before(const Contraction& c, Label a, Label b) {
  if (c.is_reduced(a) != c.is_reduced(b)) return c.is_reduced(b);
  const auto out_a = std::abs(c.out.strides[a]), out_b = std::abs(c.out.strides[b]);
  if (out_a != out_b) return out_a > out_b;
  const auto big_a = largest_stride(c, a), big_b = largest_stride(c, b);
  if (big_a != big_b) return big_a > big_b;
  for (const Access& access : c.in)
    if (access.strides[a] != access.strides[b]) return access.strides[a] > access.strides[b];
  return c.extents[a] > c.extents[b];
}

// Stable, and without the memory that a sort of many asks for.
template <class Before>
void sort(std::vector<Label>& labels, const Before& before) {
  for (auto at = labels.begin(); at != labels.end(); ++at)
    std::rotate(std::upper_bound(labels.begin(), at, *at, before), at, at + 1);
}

bool fuse_any(Contraction& c, std::vector<Label>& labels, LabelGroups* groups) {
  for (std::size_t a = 0; a < labels.size(); ++a)
    for (std::size_t b = 0; b < labels.size(); ++b) {
      if (a == b || !can_fuse(c, labels[a], labels[b])) continue;
      fuse(c, labels[a], labels[b]);
      if (groups) {
        auto& group = (*groups)[labels[a]];
        const auto& fused = (*groups)[labels[b]];
        group.insert(group.end(), fused.begin(), fused.end());
      }
      labels.erase(labels.begin() + static_cast<long>(b));
      return true;
    }
  return false;
}

// An empty sum reads no operand: only the output's labels and one reduced label of extent 0 stay.
void keep_empty_sum(Contraction& c) {
  c.in.clear();
  bool kept = false;
  for (Label l = 0; l < c.label_count(); ++l) {
    if (!c.is_reduced(l)) continue;
    if (c.extents[l] != 0 || kept) c.extents[l] = 1;
    kept |= c.extents[l] == 0;
  }
}

}  // namespace

Contraction canonical(const Contraction& contraction, LabelGroups* groups) {
  Contraction c = contraction;
  LabelGroups made;
  if (groups)
    for (Label l = 0; l < c.label_count(); ++l) made.push_back({l});
  if (c.sum_is_empty()) keep_empty_sum(c);
  std::vector<Label> labels;
  labels.reserve(c.extents.size());
  for (Label l = 0; l < c.label_count(); ++l)
    if (c.extents[l] != 1 || c.is_dynamic(l)) labels.push_back(l);
  auto before = [&](Label a, Label b) { return comes_before(c, a, b); };
  sort(labels, before);
  while (fuse_any(c, labels, groups ? &made : nullptr)) {
  }
  sort(labels, before);
  if (groups)
    for (Label l : labels) groups->push_back(made[l]);
  return select(c, labels);
}

std::optional<Contraction> regrouped(const Contraction& contraction, const LabelGroups& groups,
                                     const Contraction& like) {
  Contraction c = contraction;
  std::vector<bool> is_kept(c.extents.size());
  std::vector<Label> labels;
  for (const std::vector<Label>& group : groups) {
    for (Label l : group) is_kept[l] = true;
    for (std::size_t g = 1; g < group.size(); ++g) {
      if (!can_fuse(c, group[0], group[g])) return std::nullopt;
      fuse(c, group[0], group[g]);
    }
    labels.push_back(group[0]);
  }
  for (Label l = 0; l < c.label_count(); ++l)
    if (!is_kept[l] && contraction.extents[l] != 1) return std::nullopt;
  Contraction made = select(c, labels);
  auto take_over = [&](Access& access, const Access& model) {
    for (Label l = 0; l < made.label_count(); ++l) {
      // Nobody ever steps along an extent of 1, but which operands have the label matters.
      if (made.is_dynamic(l) && made.extents[l] == 1) access.strides[l] = model.strides[l];
      if ((access.strides[l] == 0) != (model.strides[l] == 0)) return false;
    }
    return true;
  };
  bool is_alike = take_over(made.out, like.out);
  for (std::size_t k = 0; k < made.in.size(); ++k) is_alike &= take_over(made.in[k], like.in[k]);
  return is_alike ? std::optional(made) : std::nullopt;
}

}  // namespace einjit
