#include "lower/lower.hpp"

#include <algorithm>

#include "lower/pack.hpp"

namespace einjit {
namespace {

Ref plain_ref(int buffer, const Access& access) {
  Ref ref{buffer, {}};
  for (std::int64_t stride : access.strides) ref.strides.push_back({stride, stride});
  return ref;
}

class Lowering {
 public:
  Lowering(const Contraction& c, const Schedule& schedule, const Target& target)
      : schedule_(schedule), target_(target), nest_{c, {}, {}}, length_(c.extents) {
    for (std::size_t k = 0; k < c.in.size(); ++k)
      inputs_.push_back(plain_ref(1 + static_cast<int>(k), c.in[k]));
  }

  LoopNest run() {
    nest_.body = lower_from(0);
    return std::move(nest_);
  }

 private:
  Block lower_from(std::size_t position) {
    if (position == schedule_.outer.size()) return {make_tile()};
    const auto& item = schedule_.outer[position];
    if (const auto* pack = std::get_if<PackSpec>(&item)) return lower_pack(*pack, position);
    const LoopSpec& loop = std::get<LoopSpec>(item);
    const std::int64_t before = length_[loop.label];
    length_[loop.label] = std::min(before, loop.step);
    Block body = lower_from(position + 1);
    length_[loop.label] = before;
    // A loop of one piece is none, unless it marks parallel work.
    if (loop.step >= before && loop.order == Order::serial) return body;
    return {Node{For{loop.label, loop.step, loop.order, std::move(body)}}};
  }

  Block lower_pack(const PackSpec& pack, std::size_t position) {
    bool shared = false;
    for (std::size_t p = position; p < schedule_.outer.size(); ++p)
      if (const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[p]))
        shared |= loop->order == Order::parallel;
    const int buffer = nest_.first_scratch() + static_cast<int>(nest_.scratch.size());
    Ref& source = inputs_[pack.operand];
    const Ref unpacked = source;
    Packing packing = make_packing(nest_.contraction, schedule_.tile, length_, unpacked, buffer,
                                   target_, shared ? Order::parallel : Order::serial);
    nest_.scratch.push_back({packing.elements, shared ? Scope::shared : Scope::worker});
    source = packing.packed;
    Block body = std::move(packing.copy);
    for (Node& node : lower_from(position + 1)) body.push_back(std::move(node));
    source = unpacked;
    return {Node{Alloc{buffer, std::move(body)}}};
  }

  Node make_tile() const {
    return Node{Tile{plain_ref(0, nest_.contraction.out), inputs_, schedule_.tile, Update::output,
                     schedule_.store, schedule_.prefetch}};
  }

  const Schedule& schedule_;
  const Target& target_;
  LoopNest nest_;
  std::vector<std::int64_t> length_;  // the most of each label's range at this depth
  std::vector<Ref> inputs_;           // what a tile at this depth reads
};

}  // namespace

LoopNest lower(const Contraction& contraction, const Schedule& schedule, const Target& target) {
  return Lowering(contraction, schedule, target).run();
}

}  // namespace einjit
