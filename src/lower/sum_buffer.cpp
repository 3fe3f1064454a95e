#include "lower/sum_buffer.hpp"

#include <algorithm>
#include <cstdlib>
#include <ranges>

#include "lower/pack.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kVectors = 4;  // added in one tile

// The output's labels as they lie in it, but the tile's vec label contiguous.
std::vector<Label> vec_innermost(const Contraction& c, const std::vector<TileVar>& tile) {
  std::vector<Label> labels = labels_outermost_first(c);
  const auto vec = std::ranges::find(tile, Role::vec, &TileVar::role);
  if (vec == tile.end()) return labels;
  if (const auto at = std::ranges::find(labels, vec->label); at != labels.end())
    std::rotate(at, at + 1, labels.end());
  return labels;
}

// Loops in the order of the labels; where the output is contiguous in another label than the
// buffer, tiles of both, which the emitter transposes in registers.
Block addition(const Contraction& c, const std::vector<Label>& labels, const Ref& out,
               const Ref& sums, Update update, std::int64_t lanes) {
  std::vector<TileVar> vars;
  if (!labels.empty()) {
    const auto row = std::ranges::find_if(
        labels, [&](Label l) { return out.strides[l].inner == 1 && c.extents[l] > 1; });
    const Label inner = labels.back(), vec = row == labels.end() ? inner : *row;
    vars.push_back({vec, Role::vec, vec == inner ? kVectors * lanes : lanes});
    if (vec != inner) vars.push_back({inner, Role::unroll, lanes});
  }
  Block body = block_of(Node{Tile{out, {sums}, vars, update}});
  for (Label l : labels | std::views::reverse) {
    const auto var = std::ranges::find(vars, l, &TileVar::label);
    body =
        block_of(Node{For{l, var == vars.end() ? 1 : var->factor, Order::serial, std::move(body)}});
  }
  return body;
}

}  // namespace

std::vector<Label> labels_outermost_first(const Contraction& c) {
  std::vector<Label> labels;
  for (Label l = 0; l < c.label_count(); ++l)
    if (!c.is_reduced(l)) labels.push_back(l);
  std::ranges::stable_sort(labels, std::greater{},
                           [&](Label l) { return std::abs(c.out.strides[l]); });
  return labels;
}

SumBuffer make_sum_buffer(const Contraction& c, const std::vector<TileVar>& tile,
                          const std::vector<std::int64_t>& length, const Ref& out, Update update,
                          int buffer, const Target& target) {
  const std::vector<Label> labels = vec_innermost(c, tile);
  SumBuffer made{{buffer, std::vector<Stride>(length.size())}, 0, {}};
  std::int64_t stride = 1;
  for (Label l : labels | std::views::reverse) {
    made.sums.strides[l] = {stride, stride};
    stride *= length[l];
  }
  made.elements = stride + kSlack;
  made.addition = addition(c, labels, out, made.sums, update, target.lanes(c.dtype));
  return made;
}

}  // namespace einjit
