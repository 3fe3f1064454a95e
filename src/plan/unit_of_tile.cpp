#include "plan/unit_of_tile.hpp"

#include <algorithm>
#include <numeric>

namespace einjit {
namespace {

// A tile variable on its way into the unit: reduced labels that move together are merged first.
struct Variable {
  TileVar var;
  bool is_reduced;  // tiles run along it
  std::int64_t length;
  bool is_dynamic;  // its length is
};

class Builder {
 public:
  Builder(const LoopNest& nest, const TileChain& chain, const std::vector<LabelRange>& ranges,
          UnitShape shape)
      : nest_(nest),
        chain_(chain),
        ranges_(ranges),
        shape_(shape),
        order_(input_order(*chain.tile, shape)) {
    constexpr std::size_t kUsualSlots = 32;
    made_.slots.reserve(kUsualSlots);
    made_.unit.in.reserve(order_.size());
    made_.unit.vars.reserve(chain.tile->vars.size());
    variables_.reserve(chain.tile->vars.size());
    loops_.reserve(chain.loops.size() + kUnitLoops);
    made_.unit.loops.reserve(chain.loops.size() + kUnitLoops);
    refs_.reserve(order_.size() + 1);
    refs_.push_back(&chain.tile->out);
    for (std::size_t k : order_) refs_.push_back(&chain.tile->in[k]);
  }

  UnitOfTile run(SumPiece piece) {
    Unit& unit = made_.unit;
    unit.dtype = nest_.contraction.dtype;
    if (chain_.tile->update != Update::assign) set_output(piece);
    set_ahead();
    collect_variables();
    merge_reduced();
    for (const Variable& variable : variables_) unit.vars.push_back(unit_var(variable));
    add_loops();
    for (const Ref* ref : refs_) {
      UnitRef made = unit_ref(*ref);
      if (ref == refs_[0]) {
        unit.out = std::move(made);
      } else {
        const std::size_t k = order_[unit.in.size()];
        made.is_factored_out = chain_.tile->factored_out >> k & 1;
        const auto& ahead = chain_.tile->ahead;
        if (k < ahead.size() && ahead[k] != 0) made.ahead = sized(ahead[k], true);
        unit.in.push_back(std::move(made));
      }
    }
    if (carries(*chain_.tile, shape_)) unit.carry = unit_ref(*chain_.tile->carry);
    made_.lines_ahead = lines_ahead();
    unit.slot_count = static_cast<int>(made_.slots.size());
    return std::move(made_);
  }

 private:
  void set_output(SumPiece piece) {
    Unit& unit = made_.unit;
    const Tile& tile = *chain_.tile;
    const bool is_output = tile.update == Update::output;
    if (is_output) unit.alpha = nest_.contraction.alpha;
    const bool has_run_time_sizes = shape_ == UnitShape::argument;
    if (is_output && piece != SumPiece::later && nest_.contraction.beta == Beta::runtime)
      unit.old = Old::scale_by_beta;
    else if (piece != SumPiece::whole || (has_run_time_sizes && nest_.contraction.has_sum()))
      unit.old = Old::add_if_told;
    if (!has_run_time_sizes && unit.old != Old::add_if_told) {
      unit.store = tile.carry ? Store::cached : tile.store;
      unit.prefetch = tile.prefetch;
      return;
    }
    std::int64_t mode = 0;
    if (piece == SumPiece::later) mode |= kAddsOld;
    if (tile.store == Store::streaming && (!tile.carry || has_whole_lines())) mode |= kStreams;
    if (tile.prefetch == Prefetch::output) mode |= kPrefetchesOutput;
    unit.mode_slot = argument(mode).slot;
  }

  // Whether all rows of the output begin at lines if its first one does.
  bool has_whole_lines() const {
    return std::ranges::all_of(nest_.contraction.out.strides, [&](std::int64_t stride) {
      return stride == 1 || stride * size_of(nest_.contraction.dtype) % kLineBytes == 0;
    });
  }

  // Tiles that read panels may be told to ask for lines; others ask or are units without.
  void set_ahead() {
    const Pace& pace = chain_.tile->pace;
    UnitAhead& ahead = made_.unit.ahead;
    const bool reads_panels = std::ranges::any_of(
        chain_.tile->in, [&](const Ref& in) { return in.buffer >= nest_.first_scratch(); });
    if (pace.lines > 0 && (pace.per_step || !reads_panels || shape_ == UnitShape::constant))
      ahead = {pace.lines, pace.per_step};
    else if (shape_ == UnitShape::argument && reads_panels)
      ahead.lines_slot = argument(pace.lines).slot;
  }

  Size argument(std::int64_t value) {
    made_.slots.push_back(value);
    return {0, static_cast<int>(made_.slots.size()) - 1};
  }
  // `varies` with the extents of dynamic labels.
  Size sized(std::int64_t value, bool varies) {
    return is_slot(varies) ? argument(value) : Size{value};
  }
  bool is_slot(bool varies) const {
    return shape_ == UnitShape::argument || (shape_ == UnitShape::dynamic && varies);
  }

  bool is_dynamic(Label label) const { return nest_.contraction.is_dynamic(label); }
  // The operand behind a reference; null for a scratch buffer.
  const Access* access_of(const Ref& ref) const {
    const Contraction& c = nest_.contraction;
    if (ref.buffer >= nest_.first_scratch()) return nullptr;
    return ref.buffer == 0 ? &c.out : &c.in[static_cast<std::size_t>(ref.buffer - 1)];
  }
  // Whether a label's stride in an array can be another for other extents of dynamic labels: one of
  // them lies within it.
  bool has_dynamic_stride(const Ref& ref, Label label) const {
    const Access* access = access_of(ref);
    if (!access) return true;
    for (Label l = 0; l < nest_.contraction.label_count(); ++l)
      if (is_dynamic(l) && access->strides[l] != 0 &&
          std::abs(access->strides[l]) < std::abs(access->strides[label]))
        return true;
    return false;
  }
  const For* loop_over(Label label) const {
    for (const For* loop : chain_.loops)
      if (loop->label == label) return loop;
    return nullptr;
  }

  void collect_variables() {
    for (const TileVar& var : chain_.tile->vars) {
      const bool is_reduced = is_summed(*chain_.tile, var.label) && !var.is_kept;
      std::int64_t length = ranges_[var.label].len;
      const For* loop = loop_over(var.label);
      if (loop) length = std::min(length, loop->step);
      // Carried rows want vectors, be it for one element.
      const bool stays =
          loop || is_dynamic(var.label) || (chain_.tile->carry && var.role == Role::vec);
      if (length == 1 && !stays) continue;
      variables_.push_back({var, is_reduced, length, is_dynamic(var.label)});
    }
  }

  // In every operand a step of `outer` is a whole run of `inner`.
  bool move_together(const Variable& outer, const Variable& inner) const {
    return std::ranges::all_of(refs_, [&](const Ref* ref) {
      return ref->strides[outer.var.label].inner ==
             ref->strides[inner.var.label].inner * inner.length;
    });
  }

  void merge_reduced() {
    for (std::size_t v = 0; v + 1 < variables_.size();) {
      Variable& outer = variables_[v];
      Variable& inner = variables_[v + 1];
      const bool plain =
          outer.var.role == Role::reduce && inner.var.role == Role::reduce && outer.var.factor == 1;
      if (plain && move_together(outer, inner)) {
        inner.length *= outer.length;
        inner.is_dynamic |= outer.is_dynamic;
        variables_.erase(variables_.begin() + static_cast<long>(v));
        v = v > 0 ? v - 1 : 0;
      } else {
        ++v;
      }
    }
  }

  // Whether runs of the vec variable are written as one along the other: if they are not whole
  // vectors, how they are joined depends on their length.
  bool is_joined(const Variable& other) const {
    const auto vec = std::ranges::find(variables_, Role::vec, [](const Variable& variable) {
      return variable.is_reduced ? Role::reduce : variable.var.role;
    });
    if (vec == variables_.end() || refs_[0]->buffer != 0 || chain_.tile->carry ||
        vec->length % nest_.lanes == 0)
      return false;
    const Contraction& c = nest_.contraction;
    return other.var.role == Role::unroll && vec->length == c.extents[vec->var.label] &&
           is_written_joined(c, vec->var.label, other.var.label);
  }

  // Whether vectors along the variable and the positions of another lie interleaved in the array.
  bool is_spread(const Ref& ref, std::size_t variable) const {
    const Variable& along = variables_[variable];
    const Contraction& c = nest_.contraction;
    const Access* access = access_of(ref);
    if (!access || along.var.role != Role::vec || along.is_reduced) return false;
    return std::ranges::any_of(variables_, [&](const Variable& among) {
      const std::int64_t held = among.var.role == Role::unroll   ? among.length
                                : among.var.role == Role::reduce ? among.var.factor
                                                                 : 0;
      return held == c.extents[among.var.label] && held == among.length &&
             is_interleaved(c, *access, along.var.label, among.var.label);
    });
  }

  // Whether the steps that an unrolled loop over a sum leaves can be made one by one, to the same
  // bits: they are not in chains, and no block is transposed along them.
  bool has_single_steps(const Variable& variable) const {
    if (variable.var.role != Role::reduce || variable.var.factor == 1 || variable.var.chains > 1)
      return false;
    const auto vec = std::ranges::find(chain_.tile->vars, Role::vec, &TileVar::role);
    return vec != chain_.tile->vars.end() && &variable == &variables_.back() &&
           std::ranges::all_of(chain_.tile->in, [&](const Ref& in) {
             return in.strides[vec->label].inner == 0 || in.strides[vec->label].inner == 1;
           });
  }

  UnitVar unit_var(const Variable& variable) {
    UnitVar made;
    made.role = variable.var.role;
    made.is_halved = variable.var.is_halved;
    made.is_reduced = variable.is_reduced;
    made.length = variable.length;
    // One unit for every length of a last vector; tiles narrower than a vector are of few lengths.
    // Only whole vectors go past the caches.
    const std::int64_t lanes = nest_.lanes;
    const bool is_streamed =
        chain_.tile->store == Store::streaming && !is_dynamic(variable.var.label);
    const bool is_cut =
        made.length % lanes != 0 || (made.length < variable.var.factor && !is_streamed);
    if (is_slot(variable.is_dynamic) && made.role == Role::vec && !made.is_reduced &&
        variable.var.factor >= lanes && is_cut &&
        std::ranges::none_of(variables_, [&](const Variable& v) { return is_joined(v); })) {
      made.active_slot = argument((made.length - 1) % lanes + 1).slot;
      made.length = (made.length + lanes - 1) / lanes * lanes;
    }
    if (variable.is_reduced) set_sum(made, variable);
    return made;
  }

  void set_sum(UnitVar& made, const Variable& variable) {
    const std::int64_t trips = variable.length / variable.var.factor;
    const std::int64_t merge = variable.var.merge, blocks = merge > 0 ? trips / merge : 0;
    // Rows summed along their vectors, sums in blocks and single steps are of any length: one unit
    // for all.
    const bool has_run_time_sizes = is_slot(variable.is_dynamic);
    const bool any_tail =
        has_run_time_sizes && (made.role == Role::vec || has_single_steps(variable));
    const bool any_length = any_tail || (has_run_time_sizes && merge > 0);
    auto sized_or_none = [&](std::int64_t size) {
      return size == 0 && !any_length ? Size{0} : sized(size, variable.is_dynamic);
    };
    made.length = 0;
    made.factor = variable.var.factor;
    made.chains = variable.var.chains;
    if (blocks > 0 || (any_length && merge > 0)) {
      made.merge = variable.var.merge;
      made.is_gray = variable.var.is_gray;
      made.superblocks = sized_or_none(merge > 1 ? blocks / merge : 0);
      made.blocks = sized_or_none(merge > 1 ? blocks % merge : blocks);
    }
    // A loop's whole pieces that are one trip are a straight line.
    const bool is_one_trip = merge == 0 && !variable.is_dynamic && loop_over(variable.var.label) &&
                             variable.length == made.factor;
    made.trips = is_one_trip ? Size{1} : sized_or_none(trips - blocks * merge);
    const std::int64_t tail = variable.length % variable.var.factor;
    if (any_tail && !is_one_trip)
      made.tail_slot = argument(tail).slot;
    else
      made.tail = tail;
  }

  void add_loops() {
    for (const For* loop : chain_.loops) {
      const std::int64_t length = ranges_[loop->label].len;
      if (length > loop->step || (length == loop->step && is_dynamic(loop->label)))
        loops_.push_back(loop);
    }
    if (shape_ == UnitShape::argument)
      loops_.insert(loops_.begin(), kUnitLoops - std::min(kUnitLoops, loops_.size()), nullptr);
    for (const For* loop : loops_) add_loop(loop);
    made_.unit.is_diagonal = is_diagonal();
  }

  bool is_diagonal() const {
    const auto& loops = made_.unit.loops;
    const std::size_t all = chain_.loops.size(), left = loops_.size();
    if (all < 2 || left < 2 || !chain_.loops[all - 1]->is_diagonal ||
        loops_[left - 1] != chain_.loops[all - 1] || loops_[left - 2] != chain_.loops[all - 2])
      return false;
    return std::ranges::all_of(std::span(loops).last(2),
                               [](const UnitLoop& loop) { return loop.tail == 0; });
  }

  // With run-time sizes a loop is a number of trips and what each operand moves by, whatever it
  // cuts; none is a loop of one trip.
  void add_loop(const For* loop) {
    UnitLoop made;
    const std::int64_t length = loop ? ranges_[loop->label].len : 1, step = loop ? loop->step : 1;
    made.trips = sized(length / step, loop && is_dynamic(loop->label));
    if (loop && loop->is_aligned) made_.aligned_trips_slot = made.trips.slot;
    if (shape_ == UnitShape::constant) {
      made.step = step;
      made.tail = length % step;
      for (std::size_t v = 0; v < variables_.size(); ++v)
        if (variables_[v].var.label == loop->label) made.var = static_cast<int>(v);
    }
    made_.unit.loops.push_back(made);
  }

  std::int64_t value_of(const Size& size) const {
    return size.is_constant() ? size.value : made_.slots[static_cast<std::size_t>(size.slot)];
  }

  // Entries of the list of lines that a call goes through.
  std::int64_t lines_ahead() const {
    const Unit& unit = made_.unit;
    std::int64_t lines = unit.ahead.lines_slot < 0
                             ? unit.ahead.lines
                             : made_.slots[static_cast<std::size_t>(unit.ahead.lines_slot)];
    for (const UnitLoop& loop : unit.loops) lines *= value_of(loop.trips) + (loop.tail > 0);
    if (unit.ahead.per_step)
      for (const UnitVar& var : unit.vars)
        if (var.is_reduced)
          lines *= ((value_of(var.superblocks) * var.merge + value_of(var.blocks)) * var.merge +
                    value_of(var.trips)) *
                       var.factor +
                   var.tail;
    return lines;
  }

  UnitRef unit_ref(const Ref& ref) {
    UnitRef made;
    made.loop_strides.reserve(loops_.size());
    made.var_strides.reserve(variables_.size());
    made.padded = ref.buffer >= nest_.first_scratch();
    for (const For* loop : loops_) {
      const std::int64_t stride = loop ? ref.strides[loop->label].outer : 0;
      if (shape_ == UnitShape::constant)
        made.loop_strides.emplace_back(stride);
      else
        made.loop_strides.push_back(
            sized(loop ? stride * loop->step : 0, loop && has_dynamic_stride(ref, loop->label)));
    }
    for (std::size_t v = 0; v < variables_.size(); ++v) {
      const std::int64_t stride = stride_of(ref, v);
      const bool varies = has_dynamic_stride(ref, variables_[v].var.label);
      const bool fixed = stride == 0 || stride == 1 ||
                         (&ref == refs_[0] && is_joined(variables_[v])) || is_spread(ref, v);
      // A sliding window's step and its positions are one size.
      const auto same = std::ranges::find_if(made.var_strides, [&](const Size& size) {
        const auto w = static_cast<std::size_t>(&size - made.var_strides.data());
        return stride_of(ref, w) == stride && variables_[w].is_reduced != variables_[v].is_reduced;
      });
      made.var_strides.push_back(fixed                            ? Size{stride}
                                 : same != made.var_strides.end() ? *same
                                                                  : sized(stride, varies));
    }
    return made;
  }
  std::int64_t stride_of(const Ref& ref, std::size_t variable) const {
    return ref.strides[variables_[variable].var.label].inner;
  }

  const LoopNest& nest_;
  const TileChain& chain_;
  const std::vector<LabelRange>& ranges_;
  UnitShape shape_;
  std::vector<std::size_t> order_;  // of the tile's inputs
  std::vector<const Ref*> refs_;
  std::vector<Variable> variables_;
  std::vector<const For*> loops_;  // that stay loops, outermost first; null: of one trip
  UnitOfTile made_;
};

}  // namespace

std::vector<std::size_t> input_order(const Tile& tile, UnitShape shape) {
  std::vector<std::size_t> order(tile.in.size());
  std::iota(order.begin(), order.end(), 0);
  const auto vec = std::ranges::find(tile.vars, Role::vec, &TileVar::role);
  if (shape == UnitShape::argument && order.size() == 2 && vec != tile.vars.end())
    std::ranges::stable_sort(
        order, {}, [&](std::size_t k) { return tile.in[k].strides[vec->label] == Stride{}; });
  return order;
}

UnitOfTile unit_of_tile(const LoopNest& nest, const TileChain& chain,
                        const std::vector<LabelRange>& ranges, SumPiece piece, UnitShape shape) {
  return Builder(nest, chain, ranges, shape).run(piece);
}

Unit unit_of_runs(const Contraction& c, bool asks) {
  Unit unit;
  unit.ahead.lines = asks ? 1 : 0;
  unit.dtype = c.dtype;
  unit.alpha = c.alpha;
  unit.store = Store::streaming;
  auto slot = [](RunSlot s) { return Size{0, static_cast<int>(s)}; };
  unit.loops.push_back({1, slot(RunSlot::runs)});
  unit.out.loop_strides = {slot(RunSlot::out_stride)};
  unit.in.push_back({.loop_strides = {slot(RunSlot::in_stride)}});
  unit.run_slot = static_cast<int>(RunSlot::elements);
  unit.slot_count = kRunSlots;
  return unit;
}

}  // namespace einjit
