#include "schedule/choose.hpp"

#include <algorithm>
#include <cstdlib>

#include "schedule/register_tile.hpp"

namespace einjit {
namespace {

constexpr double kParallelCycles = 400e3;  // below this a kernel stays on one thread
constexpr double kChunkCycles = 60e3;      // the least work of a parallel piece
constexpr std::int64_t kMostChunks = 32;
constexpr double kStreamCaches = 4;        // an output of so many L2s is written past the caches
constexpr std::int64_t kSumBlock = 8;      // rows summed at once when each lies on pages of its own

class Scheduler {
 public:
  Scheduler(const Contraction& c, const Target& target, const RatedTile& rated)
      : c_(c), target_(target), tile_(rated.tile), cycles_(rated.cycles), length_(c.extents) {}

  Schedule run() {
    tile_.packed ? add_blocked_loops() : add_plain_loops();
    add_tile();
    add_hints();
    return std::move(schedule_);
  }

 private:
  bool is_in_tile(Label l) const {
    return l == tile_.vec || l == tile_.unroll || l == tile_.unroll2;
  }

  std::int64_t tile_step(Label l) const {
    if (l == tile_.vec) return tile_.vec_length;
    if (l == tile_.unroll) return tile_.unroll_length;
    if (l == tile_.unroll2) return tile_.unroll2_length;
    return 1;
  }

  // A loop of one piece is left out.
  void loop(Label l, std::int64_t step, Order order = Order::serial) {
    if (step >= length_[l]) return;
    schedule_.outer.emplace_back(LoopSpec{l, step, order});
    length_[l] = step;
  }

  // Cuts the label's range into chunks that can run at the same time, if there is work enough.
  bool chunk(Label l, std::int64_t step) {
    if (cycles_ < kParallelCycles || c_.extents[l] <= step) return false;
    const std::int64_t most =
        std::min<std::int64_t>(kMostChunks, static_cast<std::int64_t>(cycles_ / kChunkCycles));
    std::int64_t length = (c_.extents[l] + most - 1) / most;
    length = (length + step - 1) / step * step;
    if (length >= c_.extents[l]) return false;
    loop(l, length, Order::parallel);
    return true;
  }

  // Without packing: output labels by falling stride; the tile's own labels last where values are
  // reused across them or transposed (the vec label outside, so that a transpose reads whole rows),
  // in stride order where everything is touched once.
  void add_plain_loops() {
    std::vector<Label> order;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (!c_.is_reduced(l) && !is_in_tile(l)) order.push_back(l);
    std::vector<Label> inner;
    for (Label l : {tile_.vec, tile_.unroll, tile_.unroll2})
      if (l >= 0 && !c_.is_reduced(l)) inner.push_back(l);
    const bool is_reused = std::ranges::any_of(
        c_.in, [&](const Access& a) { return tile_.unroll >= 0 && a.strides[tile_.unroll] == 0; });
    order.insert(order.end(), inner.begin(), inner.end());
    // Canonical: labels fall in output stride.
    if (!is_reused && !is_transposed()) std::ranges::sort(order);
    bool chunked = false;
    for (Label l : order)
      if (!chunked) chunked = chunk(l, tile_step(l));
    add_sum_blocks();
    for (Label l : order) loop(l, tile_step(l));
  }

  // A sum over rows far apart touches a page a row: a few rows at a time, all along the vec label.
  void add_sum_blocks() {
    if (tile_.vec < 0 || c_.is_reduced(tile_.vec)) return;
    constexpr std::int64_t kPage = 4096;
    for (const Access& a : c_.in) {
      const bool is_read_once = element_count(c_, a) * 4 > c_.point_count();
      if (!is_read_once || a.strides[tile_.vec] != 1) continue;
      for (Label l = 0; l < c_.label_count(); ++l)
        if (c_.is_reduced(l) && std::abs(a.strides[l]) * size_of(c_.dtype) >= kPage)
          loop(l, kSumBlock);
    }
  }

  // Some input is contiguous in the unroll label instead of the vec one.
  bool is_transposed() const {
    return tile_.unroll >= 0 && tile_.vec >= 0 && std::ranges::any_of(c_.in, [&](const Access& a) {
             return a.strides[tile_.unroll] == 1 && a.strides[tile_.vec] != 1;
           });
  }

  enum class Side { both, vec, unroll };
  // Which packed operand an output label moves: the vec side, the unroll side, or both (batch).
  Side side_of(Label l) const {
    const bool first_is_vec = c_.in[0].strides[tile_.vec] != 0;
    const bool in_vec = c_.in[first_is_vec ? 0 : 1].strides[l] != 0;
    const bool in_unroll = c_.in[first_is_vec ? 1 : 0].strides[l] != 0;
    return in_vec && in_unroll ? Side::both : in_vec ? Side::vec : Side::unroll;
  }

  // Labels of a side, the tile's label first, then by rising output stride; with the steps of a
  // block of at most `most` elements, in whole tiles.
  std::vector<LoopSpec> block(Side side, Label first, std::int64_t most) const {
    std::vector<Label> labels;
    if (first >= 0) labels.push_back(first);
    for (Label l = c_.label_count() - 1; l >= 0; --l)
      if (!c_.is_reduced(l) && side_of(l) == side && l != first) labels.push_back(l);
    return cut(labels, most);
  }

  std::vector<LoopSpec> cut(const std::vector<Label>& labels, std::int64_t most) const {
    std::vector<LoopSpec> loops;
    for (Label l : labels) {
      const std::int64_t extent = c_.extents[l], unit = tile_step(l);
      const std::int64_t pieces =
          (extent + std::max<std::int64_t>(most, 1) - 1) / std::max<std::int64_t>(most, 1);
      std::int64_t step = (extent + pieces - 1) / pieces;
      step = std::min((step + unit - 1) / unit * unit, (extent + unit - 1) / unit * unit);
      loops.push_back({l, step});
      most /= step;
    }
    return loops;
  }

  void add_loops(const std::vector<LoopSpec>& loops) {
    for (auto l = loops.rbegin(); l != loops.rend(); ++l) loop(l->label, l->step);
  }

  // Goto's five loops over sets of labels: a block of the vec side in the last-level cache, of the
  // sum so that a vec panel stays in L1, of the unroll side in half of L2.
  void add_blocked_loops() {
    const std::int64_t item = size_of(c_.dtype);
    const bool first_is_vec = c_.in[0].strides[tile_.vec] != 0;
    const int vec_operand = first_is_vec ? 0 : 1, unroll_operand = 1 - vec_operand;
    std::vector<Label> reduced;
    std::int64_t depth = 1;
    for (Label l = c_.label_count() - 1; l >= 0; --l)
      if (c_.is_reduced(l)) {
        reduced.push_back(l);
        depth *= c_.extents[l];
      }
    const std::int64_t kc =
        std::max<std::int64_t>(target_.l1_bytes / (tile_.vec_length * item), 64);
    const std::vector<LoopSpec> sum = cut(reduced, kc);
    std::int64_t kc_used = 1;
    for (const LoopSpec& l : sum) kc_used *= std::min(l.step, c_.extents[l.label]);
    const std::int64_t mc =
        std::max<std::int64_t>(target_.l2_bytes / 2 / (kc_used * item), tile_.unroll_length);
    const std::int64_t nc =
        std::max<std::int64_t>(target_.l3_bytes / 4 / (kc_used * item), tile_.vec_length);
    const std::vector<LoopSpec> vec_block = block(Side::vec, tile_.vec, nc);
    const std::vector<LoopSpec> unroll_block = block(Side::unroll, tile_.unroll, mc);
    for (Label l = 0; l < c_.label_count(); ++l)
      if (!c_.is_reduced(l) && side_of(l) == Side::both) loop(l, 1);
    add_loops(vec_block);
    add_loops(sum);
    if (tile_.packed >> vec_operand & 1) schedule_.outer.emplace_back(PackSpec{vec_operand});
    for (std::size_t l = unroll_block.size(); l-- > 0;)
      loop(unroll_block[l].label, unroll_block[l].step,
           l + 1 == unroll_block.size() && cycles_ > kParallelCycles ? Order::parallel
                                                                     : Order::serial);
    if (tile_.packed >> unroll_operand & 1) schedule_.outer.emplace_back(PackSpec{unroll_operand});
    for (const auto* side : {&vec_block, &unroll_block})
      for (auto l = side->rbegin(); l != side->rend(); ++l) loop(l->label, tile_step(l->label));
  }

  // Outputs written once and larger than the caches go past them; those that tiles come back to are
  // asked for ahead.
  void add_hints() {
    const double out_bytes = element_count(c_, c_.out) * static_cast<double>(size_of(c_.dtype));
    if (out_bytes > static_cast<double>(target_.l2_bytes) * kStreamCaches) {
      schedule_.store = Store::streaming;
      if (check(schedule_, c_)) return;
      schedule_.store = Store::cached;
    }
    if (tile_.packed && out_bytes > static_cast<double>(target_.l1_bytes))
      schedule_.prefetch = Prefetch::output;
  }

  void add_tile() {
    auto add = [&](Label l, std::int64_t length) {
      if (l >= 0) schedule_.tile.push_back({l, l == tile_.vec ? Role::vec : Role::unroll, length});
    };
    add(tile_.vec, tile_.vec_length);
    add(tile_.unroll, tile_.unroll_length);
    add(tile_.unroll2, tile_.unroll2_length);
    for (Label l = 0; l < c_.label_count(); ++l)
      if (c_.is_reduced(l) && l != tile_.vec) schedule_.tile.push_back({l, Role::reduce});
    if (!schedule_.tile.empty() && schedule_.tile.back().role == Role::reduce) {
      schedule_.tile.back().factor = tile_.steps;
      schedule_.tile.back().chains = tile_.chains;
    }
  }

  const Contraction& c_;
  const Target& target_;
  RegisterTile tile_;
  double cycles_;
  std::vector<std::int64_t> length_;  // of each label's pieces so far
  Schedule schedule_;
};

}  // namespace

Choice choose_schedule(const Contraction& contraction, const Target& target) {
  const RatedTile rated = best_register_tile(contraction, target);
  return {Scheduler(contraction, target, rated).run(), rated.tile,
          predicted_seconds(contraction, target, rated.cycles)};
}

}  // namespace einjit
