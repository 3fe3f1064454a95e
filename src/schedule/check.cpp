#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <ranges>

#include "schedule/alignment.hpp"
#include "schedule/check_carried.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLargestTile = 16384;  // what is emitted grows with it
constexpr int kMostCuttingLoops =
    32;  // a plan's mask has a bit for each, and for those of copies and buffers
constexpr int kMostBuffers = 6;  // of sums
constexpr std::int64_t kMostSumPieces = 1024;

class Checker {
 public:
  Checker(const Schedule& schedule, const Contraction& c)
      : schedule_(schedule), c_(c), length_(c.extents) {}

  Result<void> run() {
    if (auto done = check_tile(); !done) return done;
    for (const auto& item : schedule_.outer) {
      auto done = std::visit([&](const auto& i) { return check_item(i); }, item);
      if (!done) return done;
    }
    if (auto done = check_buffers(); !done) return done;
    if (auto done = check_diagonal(); !done) return done;
    if (auto done = check_covered(); !done) return done;
    if (auto done = check_carried(schedule_, c_); !done) return done;
    if (auto done = check_factored_out(); !done) return done;
    if (auto done = check_ahead(); !done) return done;
    return check_stream();
  }

 private:
  std::unexpected<Diagnostic> fail(std::string message) const {
    return std::unexpected(Diagnostic{"schedule: " + std::move(message)});
  }
  const std::string& name(Label l) const { return c_.names[l]; }
  const TileVar* tile_var(Label l) const {
    const auto it = std::ranges::find(schedule_.tile, l, &TileVar::label);
    return it == schedule_.tile.end() ? nullptr : &*it;
  }

  // The vec variable if tiles run along it, else the last.
  const TileVar& innermost_sum() const {
    for (const TileVar& var : schedule_.tile)
      if (var.role == Role::vec && c_.is_reduced(var.label) && !var.is_kept) return var;
    return schedule_.tile.back();
  }

  Result<void> check_tile() const {
    int vectors = 0;
    std::int64_t elements = 1;
    for (const TileVar& var : schedule_.tile) {
      if (tile_var(var.label) != &var)
        return fail(fmt::format("label '{}' stands twice in the tile", name(var.label)));
      vectors += var.role == Role::vec;
      if (var.role == Role::reduce && !c_.is_reduced(var.label))
        return fail(fmt::format("'{}' is an output label: it cannot be reduced", name(var.label)));
      if (var.role == Role::unroll && c_.is_reduced(var.label))
        return fail(fmt::format("'{}' is summed: its role is 'reduce' or 'vec'", name(var.label)));
      if (var.factor > kLargestTile || (elements *= var.factor) > kLargestTile)
        return fail(fmt::format("the tile has more than {} elements", kLargestTile));
      if (var.chains > 1 && (var.role != Role::reduce || &var != &schedule_.tile.back()))
        return fail("'chains' is for the last variable of the tile, if it is 'reduce'");
      if (auto done = check_summed_vec(var); !done) return done;
      if (var.merge > 0 && (&var != &innermost_sum() || !c_.is_reduced(var.label) || var.is_kept))
        return fail("'merge' is for the innermost summed variable of the tile");
      if (var.is_gray &&
          (var.role != Role::reduce || !std::has_single_bit(static_cast<unsigned>(var.merge))))
        return fail("'gray' is for 'reduce', and 'merge' a power of two");
    }
    if (vectors > 1) return fail("at most one tile variable may be 'vec'");
    return {};
  }

  Result<void> check_summed_vec(const TileVar& var) const {
    const bool is_summed_vec = var.role == Role::vec && c_.is_reduced(var.label);
    if (var.is_halved && (!is_summed_vec || var.is_kept))
      return fail("'halved' is for a 'vec' label that is summed, and not 'kept'");
    if (var.is_kept && !is_summed_vec) return fail("'kept' is for a 'vec' label that is summed");
    if (var.is_kept && c_.is_dynamic(var.label))
      return fail(
          fmt::format("'{}' is kept, but its extent is known at run time only", name(var.label)));
    return {};
  }

  Result<void> check_item(const LoopSpec& loop) {
    if (loop.is_aligned)
      if (auto done = check_aligned(loop); !done) return done;
    if (aligned_ && aligned_->label == loop.label && aligned_ != &loop)
      return fail(fmt::format("a loop cuts the aligned pieces of '{}'", name(loop.label)));
    if (c_.extents[loop.label] == 0) return fail("a loop over an empty label");
    if (loop.order == Order::parallel && c_.is_reduced(loop.label) &&
        (length_[loop.label] - 1) / loop.step >= kMostSumPieces)
      return fail(fmt::format("more than {} parallel pieces of '{}', which have a buffer each",
                              kMostSumPieces, name(loop.label)));
    if (loop.step > length_[loop.label] && length_[loop.label] < c_.extents[loop.label])
      return fail(fmt::format("a step of {} where pieces of '{}' are {}", loop.step,
                              name(loop.label), length_[loop.label]));
    if (loop.step > 1 && ++cutting_loops_ > kMostCuttingLoops)
      return fail(fmt::format("more than {} loops", kMostCuttingLoops));
    const TileVar* var = tile_var(loop.label);
    const bool panel =
        var && var->role != Role::reduce && is_packed_along(schedule_, c_, loop.label);
    if (panel && loop.step % var->factor != 0)
      return fail(fmt::format("the step of '{}' must be a multiple of its panel's width {}",
                              name(loop.label), var->factor));
    length_[loop.label] = std::min(length_[loop.label], loop.step);
    return {};
  }

  Result<void> check_item(const BufferSpec&) const { return {}; }
  Result<void> check_item(const NextSpec& next) const {
    if (next.operand >= static_cast<int>(c_.in.size()))
      return fail(fmt::format("there is no operand in{}", next.operand));
    return {};
  }

  Result<void> check_buffers() const {
    bool sums = false, is_inside = false;
    int buffers = 0;
    for (const auto& item : schedule_.outer | std::views::reverse) {
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        if (loop->order == Order::parallel && c_.is_reduced(loop->label) && !is_inside)
          return fail(fmt::format(
              "'{}' is summed: its loop can be parallel only right outside of 'buffer out'",
              name(loop->label)));
        sums |= c_.is_reduced(loop->label);
      }
      is_inside = std::holds_alternative<BufferSpec>(item);
      if (!is_inside) continue;
      if (!sums && (c_.has_sum() || schedule_.store == Store::cached))
        return fail(
            "'buffer out' is for loops inside it over a summed label, or, where nothing is summed, "
            "for 'stream out'");
      if (++buffers > kMostBuffers)
        return fail(fmt::format("the output has more than {} buffers", kMostBuffers));
    }
    if (buffers > 1 && !c_.has_sum()) return fail("one 'buffer out' is enough for a copy");
    if (buffers > 0 && c_.has_sum() && schedule_.store == Store::streaming)
      return fail("'stream out' writes sums from registers, not from 'buffer out'");
    if (buffers > 0 && aligned_)
      return fail(
          fmt::format("'{}' is aligned, but the output is buffered", name(aligned_->label)));
    return {};
  }

  Result<void> check_diagonal() const {
    for (std::size_t p = 0; p < schedule_.outer.size(); ++p) {
      const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[p]);
      if (!loop || !loop->is_diagonal) continue;
      const auto* outside = p > 0 ? std::get_if<LoopSpec>(&schedule_.outer[p - 1]) : nullptr;
      if (p + 1 < schedule_.outer.size() || !outside || outside->label == loop->label ||
          outside->order == Order::parallel || loop->order == Order::parallel)
        return fail(
            fmt::format("'{}' is diagonal: it must be the innermost of two serial loops over two "
                        "labels",
                        name(loop->label)));
      if (c_.is_reduced(loop->label) || c_.is_reduced(outside->label))
        return fail(fmt::format("'{}' is diagonal, but a label is summed", name(loop->label)));
    }
    return {};
  }

  // Panels begin at whole pieces; those of an aligned loop begin anywhere.
  Result<void> check_aligned(const LoopSpec& loop) {
    if (aligned_) return fail("at most one loop may be aligned");
    aligned_ = &loop;
    if (c_.out.strides[loop.label] != 1)
      return fail(fmt::format("'{}' is aligned, but the output is not contiguous along it",
                              name(loop.label)));
    if (loop.order == Order::parallel) return fail("a parallel loop cannot be aligned");
    if (loop.step * size_of(c_.dtype) % kLineBytes != 0)
      return fail(
          fmt::format("'{}' is aligned: its step must be whole cache lines", name(loop.label)));
    const TileVar* var = tile_var(loop.label);
    if (!var || var->role != Role::vec)
      return fail(fmt::format("'{}' is aligned, but not vec in the tile", name(loop.label)));
    if (is_packed_along(schedule_, c_, loop.label))
      return fail(fmt::format("'{}' is aligned, but a packed operand has it", name(loop.label)));
    return {};
  }

  Result<void> check_item(const PackSpec& pack) {
    if (pack.factor >= 0 && pack.is_ahead)
      return fail("a product cannot be packed ahead: the lines of one operand are asked for");
    for (int operand : {pack.operand, pack.factor})
      if (pack.factor >= 0 && operand < kMostFactors && schedule_.factored_out >> operand & 1)
        return fail(fmt::format("in{} is factored out and packed in a product", operand));
    if (auto done = check_packed(pack.operand); !done) return done;
    return pack.factor < 0 ? Result<void>{} : check_packed(pack.factor);
  }

  Result<void> check_packed(int operand) {
    if (operand >= static_cast<int>(c_.in.size()))
      return fail(fmt::format("there is no operand in{}", operand));
    if (packed_ & 1u << operand) return fail(fmt::format("in{} is packed twice", operand));
    packed_ |= 1u << operand;
    // Panels are as wide as a tile; a vec label that is summed runs over its whole range.
    for (const TileVar& var : schedule_.tile)
      if (var.role == Role::vec && c_.is_reduced(var.label) &&
          c_.in[operand].strides[var.label] != 0)
        return fail(
            fmt::format("in{} cannot be packed: '{}' is vec and summed", operand, name(var.label)));
    return {};
  }

  Result<void> check_factored_out() const {
    if (schedule_.factored_out == 0) return {};
    if (std::popcount(schedule_.factored_out) >= static_cast<int>(c_.in.size()))
      return fail("'factor out' leaves no operand to sum");
    const TileVar* innermost = nullptr;
    for (const TileVar& var : schedule_.tile)
      if (c_.is_reduced(var.label) && !var.is_kept && !(innermost && innermost->role == Role::vec))
        innermost = &var;
    if (!innermost) return fail("'factor out', but the tile sums nothing");
    for (std::size_t k = 0; k < c_.in.size(); ++k) {
      if (!(schedule_.factored_out >> k & 1)) continue;
      if (c_.in[k].strides[innermost->label] != 0)
        return fail(fmt::format("in{} cannot be factored out: it has '{}', which is summed first",
                                k, name(innermost->label)));
    }
    return {};
  }

  Result<void> check_ahead() const {
    int lists = 0;  // of lines that tiles go through
    unsigned seen = 0;
    for (const auto& item : schedule_.outer)
      if (const auto* pack = std::get_if<PackSpec>(&item)) {
        lists += pack->is_ahead;
      } else if (const auto* next = std::get_if<NextSpec>(&item)) {
        ++lists;
        seen |= 1u << next->operand;
        if (packed_ & 1u << next->operand)
          return fail(
              fmt::format("in{0} is packed: 'pack in{0} ahead' asks for its lines", next->operand));
      }
    if (lists > 1) return fail("at most one operand can be packed ahead, or prefetched by 'next'");
    for (const AheadSpec& a : schedule_.ahead) {
      if (seen & 1u << a.operand) return fail(fmt::format("in{} is prefetched twice", a.operand));
      seen |= 1u << a.operand;
      if (packed_ & 1u << a.operand)
        return fail(fmt::format("in{} is packed: 'pack in{} ahead' asks for its lines", a.operand,
                                a.operand));
    }
    return {};
  }

  Result<void> check_covered() const {
    for (Label l = 0; l < c_.label_count(); ++l) {
      const TileVar* var = tile_var(l);
      if (!var && length_[l] > 1)
        return fail(fmt::format("label '{}' is neither in the tile nor cut to 1", name(l)));
      if (var && var->role != Role::reduce && (!c_.is_reduced(l) || var->is_kept) &&
          length_[l] > var->factor)
        return fail(fmt::format("label '{}' has pieces of {}, more than the tile's {}", name(l),
                                length_[l], var->factor));
    }
    return {};
  }

  Result<void> check_stream() const {
    if (schedule_.store == Store::cached) return {};
    const auto fault = stream_fault(schedule_, c_, length_);
    if (!fault) return {};
    switch (fault->kind) {
      case StreamFault::Kind::output_is_read:
        return fail("'stream out' is for outputs that are not read");
      case StreamFault::Kind::sum_is_cut:
        return fail(fmt::format("'stream out' needs the whole sum over '{}' in one tile",
                                name(fault->label)));
      case StreamFault::Kind::stride:
        return fail(fmt::format("'stream out' needs strides of whole cache lines, '{}' has {}",
                                name(fault->label), c_.out.strides[fault->label]));
      case StreamFault::Kind::step:
        break;
    }
    return fail(fmt::format("'stream out' needs steps of whole cache lines along '{}'",
                            name(fault->label)));
  }

  const Schedule& schedule_;
  const Contraction& c_;
  std::vector<std::int64_t> length_;
  unsigned packed_ = 0;
  int cutting_loops_ = 0;
  const LoopSpec* aligned_ = nullptr;
};

// Whether an output may be written past the caches by a tile: what lies next to each other in it.
class StreamCheck {
 public:
  StreamCheck(const Schedule& schedule, const Contraction& c, std::span<const std::int64_t> length)
      : schedule_(schedule), c_(c), length_(length) {}

  std::optional<StreamFault> run() const {
    using Kind = StreamFault::Kind;
    if (c_.beta != Beta::zero) return StreamFault{Kind::output_is_read};
    for (Label l = 0; l < c_.label_count(); ++l)
      if (c_.is_reduced(l) && length_[l] < c_.extents[l]) return StreamFault{Kind::sum_is_cut, l};
    if (has_drained_buffer(schedule_, c_)) return std::nullopt;
    if (const LoopSpec* aligned = aligned_loop(schedule_)) return aligned_fault(*aligned);
    if (const LoopSpec* carried = carried_loop(schedule_)) {
      if (carried->step * size_of(c_.dtype) % kLineBytes == 0) return std::nullopt;
      return StreamFault{Kind::step, carried->label};
    }
    // Every vector stored must lie as the output does: whole lines between positions.
    for (Label l = 0; l < c_.label_count(); ++l)
      if (c_.out.strides[l] != 1 && c_.out.strides[l] * size_of(c_.dtype) % kLineBytes != 0 &&
          !is_joined(l) && !is_spread(l))
        return StreamFault{Kind::stride, l};
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item))
        if (loop->step * c_.out.strides[loop->label] * size_of(c_.dtype) % kLineBytes != 0 &&
            (c_.out.strides[loop->label] == 1 || is_joined(loop->label) || is_spread(loop->label)))
          return StreamFault{Kind::step, loop->label};
    return std::nullopt;
  }

 private:
  // Vectors lie as their piece begins if there are whole lines between those of a piece.
  std::optional<StreamFault> aligned_fault(const LoopSpec& aligned) const {
    if (aligned.step * size_of(c_.dtype) % kLineBytes != 0)
      return StreamFault{StreamFault::Kind::step, aligned.label};
    std::vector<std::int64_t> length = c_.extents;
    for (const auto& item : schedule_.outer)
      if (const auto* loop = std::get_if<LoopSpec>(&item)) {
        if (loop->is_aligned) break;
        length[loop->label] = std::min(length[loop->label], loop->step);
      }
    for (Label l = 0; l < c_.label_count(); ++l)
      if (l != aligned.label && length[l] > 1 &&
          c_.out.strides[l] * size_of(c_.dtype) % kLineBytes != 0)
        return StreamFault{StreamFault::Kind::stride, l};
    return std::nullopt;
  }

  // The tile's variable of the role over an output label.
  const TileVar* output_var(Label l, Role role) const {
    const auto it = std::ranges::find(schedule_.tile, l, &TileVar::label);
    return it == schedule_.tile.end() || it->role != role || c_.is_reduced(l) ? nullptr : &*it;
  }
  bool is_whole(const TileVar& var) const { return length_[var.label] == c_.extents[var.label]; }

  // Whether the tile holds whole runs of the vec label that are written as one along the label.
  bool is_joined(Label l) const {
    return output_var(l, Role::unroll) &&
           std::ranges::any_of(schedule_.tile, [&](const TileVar& vec) {
             return vec.role == Role::vec && is_whole(vec) && is_written_joined(c_, vec.label, l);
           });
  }

  // Whether the tile holds vectors along the label that are written in turn with all of another.
  bool is_spread(Label l) const {
    return output_var(l, Role::vec) &&
           std::ranges::any_of(schedule_.tile, [&](const TileVar& among) {
             return among.role == Role::unroll && is_whole(among) &&
                    is_interleaved(c_, c_.out, l, among.label);
           });
  }

  const Schedule& schedule_;
  const Contraction& c_;
  std::span<const std::int64_t> length_;
};

}  // namespace

bool is_packed_along(const Schedule& schedule, const Contraction& c, Label label) {
  return std::ranges::any_of(schedule.outer, [&](const auto& item) {
    const auto* pack = std::get_if<PackSpec>(&item);
    return pack && (c.in[pack->operand].strides[label] != 0 ||
                    (pack->factor >= 0 && c.in[pack->factor].strides[label] != 0));
  });
}

std::optional<StreamFault> stream_fault(const Schedule& schedule, const Contraction& contraction,
                                        std::span<const std::int64_t> lengths) {
  return StreamCheck(schedule, contraction, lengths).run();
}

Result<void> check(const Schedule& schedule, const Contraction& contraction) {
  return Checker(schedule, contraction).run();
}

}  // namespace einjit
