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
  Contraction result{c.dtype, c.alpha, c.beta, {}, {}, {}, {}};
  result.in.resize(c.in.size());
  for (Label l : labels) {
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

bool fuse_any(Contraction& c, std::vector<Label>& labels) {
  for (std::size_t a = 0; a < labels.size(); ++a)
    for (std::size_t b = 0; b < labels.size(); ++b) {
      if (a == b || !can_fuse(c, labels[a], labels[b])) continue;
      fuse(c, labels[a], labels[b]);
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

Contraction canonical(const Contraction& contraction) {
  Contraction c = contraction;
  if (c.sum_is_empty()) keep_empty_sum(c);
  std::vector<Label> labels;
  for (Label l = 0; l < c.label_count(); ++l)
    if (c.extents[l] != 1) labels.push_back(l);
  auto before = [&](Label a, Label b) { return comes_before(c, a, b); };
  std::ranges::stable_sort(labels, before);
  while (fuse_any(c, labels)) {
  }
  std::ranges::stable_sort(labels, before);
  return select(c, labels);
}

}  // namespace einjit
