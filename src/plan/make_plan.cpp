#include <algorithm>
#include <bit>
#include <optional>
#include <ranges>
#include <stdexcept>

#include "plan/plan.hpp"
#include "plan/unit_of_tile.hpp"

namespace einjit {
namespace {

// The loops that go into a tile's unit: a chain of serial loops, each the only node of its parent,
// over different labels. One that the tile sums over is among them only if its first piece, which
// does not add to the others, can be cut off before the call. With an aligned loop all of it must
// lie alike: there are whole lines between the steps of the others.
std::optional<TileChain> absorb(const Node& node, std::int64_t item_bytes, UnitShape shape) {
  TileChain chain;
  std::vector<Label> labels;
  const Node* at = &node;
  while (const auto* loop = std::get_if<For>(&at->value)) {
    if (loop->order == Order::parallel || loop->is_carried || loop->body.size() != 1)
      return std::nullopt;
    if (std::ranges::find(labels, loop->label) != labels.end()) return std::nullopt;
    labels.push_back(loop->label);
    chain.loops.push_back(loop);
    at = &loop->body.front();
  }
  chain.tile = std::get_if<Tile>(&at->value);
  if (!chain.tile) return std::nullopt;
  if (chain.tile->update == Update::assign) return chain;
  const std::vector<Stride>& out = chain.tile->out.strides;
  for (Label l : labels)
    if (out[l] == Stride{} && shape != UnitShape::argument) return std::nullopt;
  if (std::ranges::any_of(chain.loops, &For::is_aligned))
    for (const For* loop : chain.loops)
      if (!loop->is_aligned && out[loop->label].outer * loop->step * item_bytes % kLineBytes != 0)
        return std::nullopt;
  return chain;
}

class Planner {
 public:
  Planner(const LoopNest& nest, UnitShape shape, Cover cover = Cover::nothing)
      : nest_(nest), shape_(shape), cover_(cover) {
    plan_.extents = nest.contraction.extents;
    plan_.item_bytes = item_bytes();
    plan_.lanes = nest.lanes;
    plan_.operand_count = nest.first_scratch();
    plan_.scratch_moves.assign(nest.scratch.size(), {});
    cut_outside_.resize(nest.scratch.size());
    begins_.resize(nest.scratch.size());
    for (const Buffer& buffer : nest.scratch)
      plan_.scratch_bytes.push_back(buffer.elements * item_bytes());
  }

  Plan run() {
    add(nest_.body);
    std::vector<LabelRange> ranges;
    ranges.reserve(plan_.extents.size());
    for (std::int64_t extent : plan_.extents) ranges.push_back({0, extent});
    if (std::ranges::any_of(plan_.nodes, &PlanNode::is_aligned))
      for (std::int64_t stride : nest_.contraction.out.strides)
        plan_.out_moves.push_back(stride * item_bytes());
    find_variants(0, static_cast<int>(plan_.nodes.size()), ranges, 0);
    for (const TileChain& chain : chains_)
      plan_.is_streamed |= chain.tile->store == Store::streaming;
    plan_.is_direct = is_direct();
    return std::move(plan_);
  }

 private:
  // One call, of the operands as they come.
  bool is_direct() const {
    if (plan_.nodes.size() != 1 || plan_.nodes[0].kind != PlanNode::Kind::call) return false;
    int expected = 0;
    return std::ranges::all_of(plan_.calls[0].operands, [&](const PlanCall::Operand& operand) {
      return operand.buffer == expected++;
    });
  }

  std::int64_t item_bytes() const { return size_of(nest_.contraction.dtype); }

  // Adds a node whose children `body` adds.
  template <class Body>
  void add_node(PlanNode node, const Body& body) {
    const std::size_t at = plan_.nodes.size();
    plan_.nodes.push_back(node);
    body();
    plan_.nodes[at].end = static_cast<int>(plan_.nodes.size());
  }

  void add(const Block& block) {
    for (const Node& node : block) add(node);
  }

  void add(const Node& node) {
    if (std::optional<TileChain> chain = absorb(node, item_bytes(), shape_);
        chain && (shape_ == UnitShape::constant || chain->loops.size() <= kUnitLoops))
      add_splits(*chain, 0);
    else if (const auto* loop = std::get_if<For>(&node.value))
      add_loop(*loop);
    else if (const auto* ask = std::get_if<Ask>(&node.value))
      add_ask(*ask);
    else if (const auto* drain = std::get_if<Drain>(&node.value))
      add_drain(*drain);
    else
      add_scratch(std::get<Alloc>(node.value));
  }

  void add_loop(const For& loop) {
    const bool is_sum = fills_buffers(loop);
    // The pieces of a sum have a buffer each, so that they must be whole.
    const bool is_parallel =
        loop.order == Order::parallel && !(is_sum && nest_.contraction.is_dynamic(loop.label));
    PlanNode node{is_parallel ? PlanNode::Kind::parallel_loop : PlanNode::Kind::loop};
    node.label = loop.label;
    node.step = loop.step;
    node.fills_buffers = is_parallel && is_sum;
    node.is_carried = loop.is_carried;
    take_bits(node, loop);
    cut_.push_back(loop.label);
    add_node(node, [&] { add(loop.body); });
    cut_.pop_back();
  }

  // A loop over a sum with nothing but a buffer of sums in it.
  bool fills_buffers(const For& loop) const {
    if (!nest_.contraction.is_reduced(loop.label) || loop.body.size() != 1) return false;
    const auto* alloc = std::get_if<Alloc>(&loop.body.front().value);
    return alloc && holds_sums(*alloc);
  }
  static bool holds_sums(const Alloc& alloc) {
    return std::ranges::any_of(alloc.body,
                               [&](const Node& inside) { return sums_in(inside, alloc.buffer); });
  }

  // Bits for the pieces that are shorter than a step.
  void take_bits(PlanNode& node, const For& loop) {
    check_bits();
    if (loop.step == 1) return;
    // (What is summed along vectors is in units of any length.)
    const bool is_summed = nest_.contraction.is_reduced(loop.label);
    if (const TileVar* var = is_summed ? nullptr : held_in(loop.body, loop.label)) {
      node.is_innermost = true;
      node.is_masked = is_masked(*var);
      node.is_aligned = loop.is_aligned && node.is_masked && shape_ == UnitShape::argument;
      node.has_powers = !node.is_masked && nest_.contraction.is_dynamic(loop.label);
    }
    node.bit = next_bit_;
    next_bit_ += node.has_powers ? std::bit_width(static_cast<std::uint64_t>(loop.step - 1)) : 1;
    check_bits();
  }

  void check_bits() const {
    if (next_bit_ > 64) throw std::length_error("too many kinds of pieces for one plan");
  }

  // The variable of a tile in the block that holds the label in registers, if no loop there cuts
  // it.
  static const TileVar* held_in(const Block& block, Label label) {
    for (const Node& node : block) {
      const TileVar* found = nullptr;
      if (const auto* loop = std::get_if<For>(&node.value)) {
        if (loop->label != label) found = held_in(loop->body, label);
      } else if (const auto* alloc = std::get_if<Alloc>(&node.value)) {
        found = held_in(alloc->body, label);
      } else if (const auto* ask = std::get_if<Ask>(&node.value)) {
        found = held_in(ask->body, label);
      } else if (const auto* tile = std::get_if<Tile>(&node.value)) {
        for (const TileVar& var : tile->vars)
          if (var.label == label && var.role != Role::reduce) found = &var;
      }
      if (found) return found;
    }
    return nullptr;
  }

  // Shorter pieces along the variable are whole vectors and a masked one.
  bool is_masked(const TileVar& var) const {
    return var.role == Role::vec && var.factor >= nest_.lanes;
  }

  void add_ask(const Ask& ask) {
    PlanNode node{PlanNode::Kind::ask};
    node.index = static_cast<int>(plan_.ahead.size());
    PlanAhead ahead{1 + ask.input, {}, ahead_offsets(nest_.contraction, ask.input, ask.lengths)};
    for (std::int64_t stride : nest_.contraction.in[static_cast<std::size_t>(ask.input)].strides)
      ahead.moves.push_back(stride * item_bytes());
    plan_.ahead.push_back(std::move(ahead));
    add_node(node, [&] { add(ask.body); });
  }

  void add_drain(const Drain& drain) {
    const Contraction& c = nest_.contraction;
    PlanDrain made{drain.buffer, {}, {}, {}};
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.out.strides[l] != 0)
        made.moves.push_back({l, c.out.strides[l] * item_bytes(), drain.strides[l] * item_bytes()});
    std::ranges::sort(made.moves, {}, &PlanDrain::Move::to);
    made.unit = unit_of_runs(c, drain.asks);
    PlanNode node{PlanNode::Kind::drain};
    node.index = static_cast<int>(plan_.drains.size());
    plan_.drains.push_back(std::move(made));
    plan_.is_streamed = true;
    add_node(node, [] {});
  }

  void add_scratch(const Alloc& alloc) {
    PlanNode node{PlanNode::Kind::scratch};
    node.index = alloc.buffer - nest_.first_scratch();
    node.holds_sums = holds_sums(alloc);
    plan_.has_sums |= node.holds_sums;
    cut_outside_[static_cast<std::size_t>(node.index)] = cut_.size();
    const std::size_t at = plan_.nodes.size();
    add_node(node, [&] {
      for (const Node& inside : alloc.body) {
        const bool is_addition = node.holds_sums && !sums_in(inside, alloc.buffer);
        if (is_addition && plan_.nodes[at].addition == 0)
          plan_.nodes[at].addition = static_cast<int>(plan_.nodes.size());
        add(inside);
      }
    });
  }

  static bool sums_in(const Node& node, int buffer) {
    auto among = [&](const Block& block) {
      return std::ranges::any_of(block,
                                 [&](const Node& inside) { return sums_in(inside, buffer); });
    };
    if (const auto* loop = std::get_if<For>(&node.value)) return among(loop->body);
    if (const auto* alloc = std::get_if<Alloc>(&node.value)) return among(alloc->body);
    if (const auto* ask = std::get_if<Ask>(&node.value)) return among(ask->body);
    const auto* tile = std::get_if<Tile>(&node.value);
    return tile && tile->update == Update::partial && tile->out.buffer == buffer;
  }

  // With run-time shapes, each absorbed loop that can have a tail is cut in two before the call.
  void add_splits(const TileChain& chain, std::size_t depth) {
    if (depth == chain.loops.size()) return add_call(chain);
    const For& loop = *chain.loops[depth];
    const bool is_sum = chain.tile->update != Update::assign && is_summed(*chain.tile, loop.label);
    if (shape_ == UnitShape::constant || (loop.step == 1 && !is_sum))
      return add_splits(chain, depth + 1);
    PlanNode node{PlanNode::Kind::split};
    node.label = loop.label;
    node.step = loop.step;
    node.stores_first = is_sum;
    if (is_sum) node.first_bit = next_bit_++;
    take_bits(node, loop);
    if (is_sum) cut_.push_back(loop.label);
    add_node(node, [&] { add_splits(chain, depth + 1); });
    if (is_sum) cut_.pop_back();
  }

  void add_call(const TileChain& chain) {
    PlanCall call;
    auto add_operand = [&](const Ref& ref) {
      PlanCall::Operand operand{ref.buffer, {}};
      for (std::size_t l = 0; l < ref.strides.size(); ++l)
        if (ref.strides[l].outer != 0)
          operand.moves.push_back({static_cast<Label>(l), ref.strides[l].outer * item_bytes(),
                                   ref.strides[l].inner * item_bytes()});
      call.operands.push_back(std::move(operand));
    };
    add_operand(chain.tile->out);
    for (std::size_t k : input_order(*chain.tile, shape_)) add_operand(chain.tile->in[k]);
    set_scratch_moves(chain.tile->out);
    if (carries(*chain.tile, shape_)) {
      add_operand(*chain.tile->carry);
      set_scratch_moves(*chain.tile->carry);
    }
    call.asks = chain.tile->pace.lines > 0;
    std::size_t from = 0;
    if (chain.tile->update == Update::partial) {
      call.sums = chain.tile->out.buffer - nest_.first_scratch();
      from = cut_outside_[static_cast<std::size_t>(call.sums)];
    }
    if (chain.tile->update != Update::assign)
      for (Label l : cut_ | std::views::drop(from))
        if (nest_.contraction.is_reduced(l)) call.reduced.push_back(l);
    PlanNode node{PlanNode::Kind::call};
    node.index = static_cast<int>(plan_.calls.size());
    plan_.calls.push_back(std::move(call));
    chains_.push_back(chain);
    add_node(node, [] {});
  }

  void set_scratch_moves(const Ref& ref) {
    if (ref.buffer < nest_.first_scratch()) return;
    auto& moves = plan_.scratch_moves[ref.buffer - nest_.first_scratch()];
    moves.clear();
    for (const Stride& stride : ref.strides) moves.push_back(stride.outer * item_bytes());
  }

  // Runs through the plan with the distinct pieces of each loop: whole or shorter, first or later.
  void find_variants(int begin, int end, std::vector<LabelRange>& ranges, std::uint64_t mask) {
    for (int at = begin; at < end; at = plan_.nodes[at].end) {
      const PlanNode& node = plan_.nodes[at];
      if (node.kind == PlanNode::Kind::call)
        add_variant(node.index, ranges, mask);
      else if (node.kind == PlanNode::Kind::scratch) {
        begins_[static_cast<std::size_t>(node.index)] = ranges;
        find_variants(at + 1, node.end, ranges, mask);
      } else if (node.kind == PlanNode::Kind::ask) {
        list_ = static_cast<std::size_t>(node.index);
        find_variants(at + 1, node.end, ranges, mask);
      } else if (node.kind == PlanNode::Kind::drain)
        lengthen_list(plan_.drains[static_cast<std::size_t>(node.index)], ranges);
      else
        find_pieces(at, ranges, mask);
    }
  }

  // Whoever asks for more lines than there are asks for the first again.
  void lengthen_list(std::size_t entries) {
    std::vector<std::int32_t>& offsets = plan_.ahead[list_].offsets;
    offsets.resize(std::max(offsets.size(), entries));
  }
  void lengthen_list(const PlanDrain& drain, const std::vector<LabelRange>& ranges) {
    if (drain.unit.ahead.lines == 0) return;
    std::int64_t bytes = plan_.item_bytes;
    for (const PlanDrain::Move& move : drain.moves) bytes *= ranges[move.label].len;
    lengthen_list(static_cast<std::size_t>(bytes / kLineBytes));
  }

  void find_pieces(int at, std::vector<LabelRange>& ranges, std::uint64_t mask) {
    const PlanNode node = plan_.nodes[at];
    const LabelRange whole = ranges[node.label];
    const std::int64_t full = whole.len / node.step;
    // One call for all lengths of what an aligned loop leaves, be it whole vectors or not.
    const std::int64_t tail = node.is_aligned ? std::min<std::int64_t>(nest_.lanes, node.step) - 1
                                              : whole.len % node.step;
    auto visit = [&](std::int64_t lo, std::int64_t len, std::uint64_t bits) {
      ranges[node.label] = {whole.lo + lo, len};
      find_variants(at + 1, node.end, ranges, mask | bits);
    };
    const bool covers = cover_ == Cover::all_labels || (cover_ == Cover::dynamic_labels &&
                                                        nest_.contraction.is_dynamic(node.label));
    if (node.stores_first) {
      if (full > 0 || covers) visit(0, node.step, first_bit(node));
      if (full > 1 || covers) visit(node.step, std::max<std::int64_t>(full - 1, 1) * node.step, 0);
      if (cover_ == Cover::all_labels && full != 2) visit(node.step, node.step, 0);
    } else if (node.kind == PlanNode::Kind::split) {
      if (full > 0 || covers) visit(0, std::max<std::int64_t>(full, 1) * node.step, 0);
      // One piece alone needs no loop.
      if (cover_ == Cover::all_labels && full != 1) visit(0, node.step, 0);
    } else {
      if (full > 0 || covers) visit(0, node.step, 0);
      if ((full > 1 || covers) && nest_.contraction.is_reduced(node.label))
        visit(node.step, node.step, 0);
    }
    if (covers && node.is_innermost && !node.has_powers) {
      // Any number of vectors, the last masked or not; or any number of positions.
      const std::int64_t unit = node.is_masked ? nest_.lanes : 1;
      for (std::int64_t part = unit; part - 1 < node.step; part += unit)
        for (std::int64_t length : {part - 1, part})
          if (length > 0 && length < node.step) visit(0, length, partial_bit(node, length));
    } else if (!node.has_powers) {
      const std::uint64_t first = full == 0 ? first_bit(node) : 0;
      if (tail > 0) visit(full * node.step, tail, first | partial_bit(node, tail));
    } else {
      std::int64_t done = full * node.step;
      for (std::int64_t part = std::bit_floor(static_cast<std::uint64_t>(node.step - 1)); part > 0;
           part /= 2)
        if (covers || (tail & part)) {
          visit(done, part, partial_bit(node, part));
          done += part;
        }
    }
    ranges[node.label] = whole;
  }

  void add_variant(int index, const std::vector<LabelRange>& ranges, std::uint64_t mask) {
    PlanCall& call = plan_.calls[index];
    const bool is_first = std::ranges::all_of(call.reduced, [&](Label l) {
      return ranges[l].lo ==
             (call.sums < 0 ? 0 : begins_[static_cast<std::size_t>(call.sums)][l].lo);
    });
    for (const PlanCall::Variant& variant : call.variants)
      if (variant.mask == mask && variant.is_first == is_first && cover_ == Cover::nothing) return;
    const SumPiece piece = call.reduced.empty() ? SumPiece::whole
                           : is_first           ? SumPiece::first
                                                : SumPiece::later;
    UnitOfTile made = unit_of_tile(nest_, chains_[index], ranges, piece, shape_);
    if (call.asks) lengthen_list(static_cast<std::size_t>(made.lines_ahead));
    PlanCall::Variant variant{mask, is_first, std::move(made.unit), std::move(made.slots),
                              made.lines_ahead};
    if (!plan_.out_moves.empty() && call.operands.front().buffer == 0)
      measure(variant, made.aligned_trips_slot);
    if (variant.unit.carry) {
      variant.edge_slot = variant.unit.mode_slot;
      plan_.measured_slots = std::max(plan_.measured_slots, variant.slots.size());
    }
    call.variants.push_back(std::move(variant));
  }

  // Of an output's call in a plan with an aligned loop.
  void measure(PlanCall::Variant& variant, int trips_slot) {
    const auto& node = *std::ranges::find(plan_.nodes, true, &PlanNode::is_aligned);
    variant.aligned = node.label;
    variant.step = node.step;
    variant.trips_slot = trips_slot;
    for (const UnitVar& var : variant.unit.vars)
      if (var.role == Role::vec) variant.active_slot = var.active_slot;
    plan_.measured_slots = std::max(plan_.measured_slots, variant.slots.size());
  }

  const LoopNest& nest_;
  UnitShape shape_;
  Cover cover_;
  Plan plan_;
  std::vector<TileChain> chains_;                // per call
  std::vector<Label> cut_;                       // labels of the walked loops around
  std::vector<std::size_t> cut_outside_;         // per buffer: of those, outside its Alloc
  std::vector<std::vector<LabelRange>> begins_;  // per buffer: the ranges at its Alloc
  std::size_t list_ = 0;                         // of the ask around
  int next_bit_ = 0;
};

}  // namespace

Plan make_plan(const LoopNest& nest, UnitShape shape) { return Planner(nest, shape).run(); }
Plan make_covering_plan(const LoopNest& nest, Cover cover, UnitShape shape) {
  return Planner(nest, shape, cover).run();
}

}  // namespace einjit
