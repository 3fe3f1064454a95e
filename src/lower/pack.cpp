#include "lower/pack.hpp"

#include <algorithm>
#include <cstdlib>

namespace einjit {
namespace {

constexpr std::int64_t kCopyUnroll = 4;  // steps of a contiguous copy in one tile

const TileVar* find_var(const std::vector<TileVar>& tile, Label label) {
  const auto it = std::ranges::find(tile, label, &TileVar::label);
  return it == tile.end() ? nullptr : &*it;
}

struct Packer {
  const Contraction& contraction;
  const std::vector<TileVar>& tile;
  const std::vector<std::int64_t>& length;
  const std::vector<Ref>& sources;
  int buffer;
  const Target& target;

  Label panel = -1;
  std::int64_t width = 1;
  std::vector<Label> others, reduced;  // outermost first

  bool is_read(Label l) const { return largest_stride(l) != 0 && length[l] > 1; }
  std::int64_t largest_stride(Label l) const {
    std::int64_t largest = 0;
    for (const Ref& source : sources)
      largest = std::max(largest, std::abs(source.strides[l].outer));
    return largest;
  }

  void choose_labels() {
    for (Role role : {Role::vec, Role::unroll})
      for (const TileVar& var : tile)
        if (panel < 0 && var.role == role && is_read(var.label)) {
          panel = var.label;
          width = var.factor;
        }
    for (Label l = 0; l < contraction.label_count(); ++l) {
      if (!is_read(l) || l == panel) continue;
      const TileVar* var = find_var(tile, l);
      (var && var->role == Role::reduce ? reduced : others).push_back(l);
    }
    // Reduced labels in the tile's order, so that the micro-kernel walks the panel straight.
    auto rank = [&](Label l) { return find_var(tile, l) - tile.data(); };
    std::ranges::sort(reduced, {}, rank);
  }

  Packing layout() const {
    Packing packing{{buffer, std::vector<Stride>(length.size())}, 0, {}};
    std::int64_t stride = width;
    for (auto l = reduced.rbegin(); l != reduced.rend(); ++l) {
      packing.packed.strides[*l] = {stride, stride};
      stride *= length[*l];
    }
    if (panel >= 0) {
      packing.packed.strides[panel] = {stride / width, 1};
      stride *= (length[panel] + width - 1) / width;
    }
    for (auto l = others.rbegin(); l != others.rend(); ++l) {
      packing.packed.strides[*l] = {stride, stride};
      stride *= length[*l];
    }
    packing.elements = stride + kSlack;
    return packing;
  }

  // The label along which the source is contiguous, or -1; of several, that of the first that is
  // not contiguous along the panel.
  Label contiguous_label() const {
    Label found = -1;
    for (const Ref& source : sources)
      for (Label l = 0; l < contraction.label_count(); ++l)
        if (is_read(l) && source.strides[l].outer == 1 && (found < 0 || found == panel)) found = l;
    return found;
  }

  // Loops in the order of the source's strides, so that its pages and lines are visited once.
  Block copy(const Ref& packed, Order order) const {
    std::vector<Label> labels = others;
    if (panel >= 0) labels.push_back(panel);
    labels.insert(labels.end(), reduced.begin(), reduced.end());
    std::ranges::stable_sort(labels, std::greater{}, [&](Label l) { return largest_stride(l); });
    const Label contiguous = contiguous_label();
    std::vector<TileVar> vars;
    if (panel >= 0) vars.push_back({panel, Role::vec, width});
    // The label of the tile beside the panel: the contiguous one, else the innermost.
    const auto last =
        std::ranges::find_if(labels.rbegin(), labels.rend(), [&](Label l) { return l != panel; });
    const std::int64_t lanes = target.lanes(contraction.dtype);
    if (contiguous >= 0 && contiguous != panel)
      vars.push_back({contiguous, panel < 0 ? Role::vec : Role::unroll, lanes});
    else if (last != labels.rend())
      vars.push_back(
          {*last, panel < 0 ? Role::vec : Role::unroll, panel < 0 ? lanes : kCopyUnroll});
    Block body = block_of(Node{Tile{packed, sources, vars, Update::assign}});
    for (auto l = labels.rbegin(); l != labels.rend(); ++l) {
      const TileVar* var = find_var(vars, *l);
      const Order how = *l == labels.front() ? order : Order::serial;
      body = block_of(Node{For{*l, var ? var->factor : 1, how, std::move(body)}});
    }
    return body;
  }
};

}  // namespace

Packing make_packing(const Contraction& contraction, const std::vector<TileVar>& tile,
                     const std::vector<std::int64_t>& length, const std::vector<Ref>& sources,
                     int buffer, const Target& target, Order order) {
  Packer packer{contraction, tile, length, sources, buffer, target, -1, 1, {}, {}};
  packer.choose_labels();
  Packing packing = packer.layout();
  packing.copy = packer.copy(packing.packed, order);
  return packing;
}

}  // namespace einjit
