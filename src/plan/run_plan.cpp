#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <thread>

#include "plan/arena.hpp"
#include "plan/plan.hpp"
#include "plan/unit_of_tile.hpp"

namespace einjit {
namespace {

constexpr std::size_t kMaxOperands = 32;  // of one tile, with what it asks for ahead

// What the pieces of a parallel loop share.
struct Run {
  const Plan& plan;
  const double* scale;
  const Executor& executor;
  Arena& arena;  // of the calling thread
  std::thread::id caller = std::this_thread::get_id();
  bool without_old;  // beta is 0
  std::atomic<bool> failed = false;
};

// A loop being walked: whole is what its label's range was outside.
struct Frame {
  Label label;
  std::int64_t step;
  LabelRange whole;
  const Frame* outside;
};

// What tiles ask for: the entry to go on with, and where the next source's box begins.
struct Ahead {
  const std::int32_t* at = nullptr;
  const std::int32_t* end = nullptr;
  char* base = nullptr;
};

// One worker's state; its arrays lie in the worker's arena.
struct State {
  LabelRange* ranges;
  char** bases;                  // per buffer: the element at lo = 0 of all labels
  Ahead ahead;                   // of the ask around
  std::int64_t* slots;           // room for those that are measured
  std::int64_t* begins;          // per scratch buffer of sums and label: lo where it was made
  const Frame* loops = nullptr;  // innermost first
  std::uint64_t mask = 0;
  std::int64_t edges = kBeginsRows | kEndsRows;  // of the carried loops' piece
  bool in_parallel = false;
  Arena* arena = nullptr;  // for this worker's scratch
};

std::size_t begin_count(const Plan& plan) {
  return plan.has_sums ? plan.scratch_bytes.size() * plan.extents.size() : 0;
}

std::size_t state_bytes(const Plan& plan) {
  return plan.extents.size() * sizeof(LabelRange) +
         (plan.operand_count + plan.scratch_bytes.size()) * sizeof(char*) +
         (plan.measured_slots + begin_count(plan)) * sizeof(std::int64_t);
}

// The bytes of a piece's buffer in a parallel loop over a sum.
std::int64_t sum_bytes(const Plan& plan, int at) {
  const PlanNode& scratch = plan.nodes[static_cast<std::size_t>(at) + 1];
  const auto bytes = static_cast<std::size_t>(plan.scratch_bytes[scratch.index]);
  return static_cast<std::int64_t>(Arena::rounded(bytes));
}

State state_in(const Plan& plan, char* memory) {
  State state{reinterpret_cast<LabelRange*>(memory), nullptr};
  state.bases = reinterpret_cast<char**>(memory + plan.extents.size() * sizeof(LabelRange));
  state.slots =
      reinterpret_cast<std::int64_t*>(state.bases + plan.operand_count + plan.scratch_bytes.size());
  state.begins = state.slots + plan.measured_slots;
  return state;
}

void walk(Run& run, int begin, int end, State& state);

// Per label, where the sums of a scratch buffer begin; null for no buffer.
std::int64_t* begins_of(const Plan& plan, int scratch, const State& state) {
  return scratch < 0 ? nullptr
                     : state.begins + static_cast<std::size_t>(scratch) * plan.extents.size();
}

// The variant's slots, with those that depend on an aligned or carried loop's piece.
const std::int64_t* measured_slots(const Plan& plan, const PlanCall::Variant& variant,
                                   State& state) {
  std::ranges::copy(variant.slots, state.slots);
  if (variant.edge_slot >= 0) state.slots[variant.edge_slot] |= state.edges;
  if (variant.aligned < 0) return state.slots;
  const std::int64_t length = state.ranges[variant.aligned].len;
  if (variant.trips_slot >= 0) state.slots[variant.trips_slot] = length / variant.step;
  if (variant.active_slot >= 0)
    state.slots[variant.active_slot] = (std::min(length, variant.step) - 1) % plan.lanes + 1;
  return state.slots;
}

// The pointers of a unit that asks for so many of the next lines.
void ask(Ahead& ahead, std::int64_t lines, char** pointers) {
  const std::int32_t* at = std::min(ahead.at, ahead.end - lines);
  pointers[0] = reinterpret_cast<char*>(const_cast<std::int32_t*>(at));
  pointers[1] = ahead.base;
  ahead.at = at + lines;
}

void call(const Run& run, const PlanCall& call, State& state) {
  bool is_first = true;
  const std::int64_t* begins = begins_of(run.plan, call.sums, state);
  for (Label l : call.reduced) is_first &= state.ranges[l].lo == (begins ? begins[l] : 0);
  const PlanCall::Variant* variant = call.variants.data();
  while (variant->mask != state.mask || variant->is_first != is_first) ++variant;
  char* pointers[kMaxOperands];
  for (std::size_t o = 0; o < call.operands.size(); ++o) {
    char* pointer = state.bases[call.operands[o].buffer];
    for (const PlanCall::Move& move : call.operands[o].moves)
      pointer += state.ranges[move.label].lo * move.bytes +
                 state.ranges[move.label].shift * move.shift_bytes;
    pointers[o] = pointer;
  }
  if (call.asks) ask(state.ahead, variant->lines_ahead, pointers + call.operands.size());
  const std::int64_t* slots =
      variant->is_measured() ? measured_slots(run.plan, *variant, state) : variant->slots.data();
  variant->code[run.without_old]->run(pointers, slots, run.scale);
}

// Writes what a buffer holds, in runs of the labels along which it lies as the output does; those
// outside of a run are gone through, the outermost first.
class DrainRuns {
 public:
  DrainRuns(const Run& run, const PlanDrain& drain, State& state)
      : run_(run), drain_(drain), state_(state) {}

  void run() {
    char *to = state_.bases[0], *from = state_.bases[drain_.buffer];
    bytes_ = run_.plan.item_bytes;
    for (const PlanDrain::Move& move : drain_.moves) {
      to += lo(move) * move.to;
      from += lo(move) * move.from;
    }
    for (const PlanDrain::Move& move : drain_.moves) {
      if (length(move) > 1 && (move.to != bytes_ || move.from != bytes_)) break;
      bytes_ *= length(move);
      ++merged_;
    }
    go_through(drain_.moves.size(), to, from);
  }

 private:
  std::int64_t lo(const PlanDrain::Move& move) const { return state_.ranges[move.label].lo; }
  std::int64_t length(const PlanDrain::Move& move) const { return state_.ranges[move.label].len; }

  void go_through(std::size_t left, char* to, char* from) {
    if (left <= merged_ + 1) return put_runs(to, from);
    const PlanDrain::Move& move = drain_.moves[left - 1];
    for (std::int64_t p = 0; p < length(move); ++p)
      go_through(left - 1, to + p * move.to, from + p * move.from);
  }

  // All along the innermost label outside of a run.
  void put_runs(char* to, char* from) {
    const bool is_one = merged_ == drain_.moves.size();
    const auto [label, to_step, from_step] = is_one ? PlanDrain::Move{} : drain_.moves[merged_];
    const std::int64_t item = run_.plan.item_bytes, runs = is_one ? 1 : state_.ranges[label].len;
    if (reinterpret_cast<std::uintptr_t>(to) % static_cast<std::size_t>(item) != 0) {
      for (std::int64_t p = 0; p < runs; ++p)
        copy_elements(to + p * to_step, from + p * from_step, bytes_ / item);
      return;
    }
    char* pointers[4] = {to, from};
    if (drain_.unit.ahead.lines > 0) ask(state_.ahead, runs * (bytes_ / kLineBytes), pointers + 2);
    std::int64_t slots[kRunSlots];
    auto slot = [&](RunSlot s) -> std::int64_t& { return slots[static_cast<std::size_t>(s)]; };
    slot(RunSlot::elements) = bytes_ / item;
    slot(RunSlot::runs) = runs;
    slot(RunSlot::out_stride) = to_step / item;
    slot(RunSlot::in_stride) = from_step / item;
    drain_.code->run(pointers, slots, run_.scale);
  }

  // To a place that is no whole number of elements, of which no line begins with one.
  void copy_elements(char* to, const char* from, std::int64_t count) const {
    drain_.unit.dtype == DType::f32 ? copy_as<float>(to, from, count)
                                    : copy_as<double>(to, from, count);
  }
  template <class T>
  void copy_as(char* to, const char* from, std::int64_t count) const {
    const T alpha = drain_.unit.alpha == Alpha::runtime ? static_cast<T>(run_.scale[0]) : T(1);
    for (std::int64_t n = 0; n < count; ++n) {
      T value;
      std::memcpy(&value, from + n * std::int64_t{sizeof(T)}, sizeof(T));
      value *= alpha;
      std::memcpy(to + n * std::int64_t{sizeof(T)}, &value, sizeof(T));
    }
  }

  const Run& run_;
  const PlanDrain& drain_;
  State& state_;
  std::size_t merged_ = 0;  // labels of a run
  std::int64_t bytes_ = 0;  // of it
};

// Streamed stores are ordered before whatever tells another thread that they are done.
void finish_streaming() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

// Runs a loop's body on the piece [lo, lo + len) of its label.
void walk_piece(Run& run, int at, State& state, LabelRange piece) {
  const PlanNode& node = run.plan.nodes[at];
  const std::uint64_t mask = state.mask;
  auto walk_part = [&](LabelRange part) {
    if (part.len < node.step) state.mask |= partial_bit(node, part.len);
    state.ranges[node.label] = part;
    walk(run, at + 1, node.end, state);
    state.mask = mask;
  };
  if (piece.len >= node.step) return walk_part(piece);
  if (node.is_aligned) {
    for (; piece.len > 0; piece.lo += run.plan.lanes, piece.len -= run.plan.lanes)
      walk_part({piece.lo, std::min(piece.len, run.plan.lanes), piece.shift});
    return;
  }
  if (!node.has_powers) return walk_part(piece);
  while (piece.len > 0) {
    const auto len =
        static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(piece.len)));
    walk_part({piece.lo, len, piece.shift});
    piece = {piece.lo, piece.len - len, piece.shift + len};
  }
}

// The length of the node's first piece, if it is one of its own: up to a line of the output, or
// what later ones add to.
std::int64_t first_piece(const Run& run, const PlanNode& node, const State& state) {
  if (node.stores_first) return std::min(node.step, state.ranges[node.label].len);
  if (!node.is_aligned) return 0;
  const char* out = state.bases[0];
  for (std::size_t l = 0; l < run.plan.out_moves.size(); ++l)
    out += state.ranges[l].lo * run.plan.out_moves[l];
  return std::min(items_to_line(out, run.plan.item_bytes), state.ranges[node.label].len);
}

void walk_loop(Run& run, int at, State& state) {
  const PlanNode& node = run.plan.nodes[at];
  const LabelRange whole = state.ranges[node.label];
  const Frame frame{node.label, node.step, whole, state.loops};
  state.loops = &frame;
  const std::int64_t first = first_piece(run, node, state), edges = state.edges;
  if (first > 0) walk_piece(run, at, state, {whole.lo, first, whole.shift});
  for (std::int64_t p = first; p < whole.len; p += node.step) {
    if (node.is_carried) {
      state.edges = edges;
      if (p > 0) state.edges &= ~kBeginsRows;
      if (p + node.step < whole.len) state.edges &= ~kEndsRows;
    }
    walk_piece(run, at, state, {whole.lo + p, std::min(node.step, whole.len - p), whole.shift});
  }
  state.loops = frame.outside;
  state.ranges[node.label] = whole;
  state.edges = edges;
}

void walk_split(Run& run, int at, State& state) {
  const PlanNode& node = run.plan.nodes[at];
  const LabelRange whole = state.ranges[node.label];
  const auto [first, main, tail] = split_lengths(node, whole.len, first_piece(run, node, state));
  const std::uint64_t mask = state.mask;
  state.mask |= first_bit(node);
  if (first > 0) walk_piece(run, at, state, {whole.lo, first, whole.shift});
  state.mask = mask;
  if (main > 0) walk_piece(run, at, state, {whole.lo + first, main, whole.shift});
  if (tail > 0) walk_piece(run, at, state, {whole.lo + first + main, tail, whole.shift});
  state.ranges[node.label] = whole;
}

std::int64_t piece_count(const PlanNode& node, std::int64_t length) {
  return (length + node.step - 1) / node.step;
}

// The piece of a parallel loop with this number.
LabelRange piece_at(const PlanNode& node, LabelRange whole, std::int64_t piece) {
  const std::int64_t p = piece * node.step;
  return {whole.lo + p, std::min(node.step, whole.len - p), whole.shift};
}

// Makes memory the scratch buffer of a node, from the current ranges on.
void set_scratch(const Run& run, const PlanNode& node, State& state, char* base) {
  const std::vector<std::int64_t>& moves = run.plan.scratch_moves[node.index];
  for (std::size_t l = 0; l < moves.size(); ++l) base -= moves[l] * state.ranges[l].lo;
  state.bases[run.plan.operand_count + node.index] = base;
  if (!node.holds_sums) return;
  for (std::size_t l = 0; l < run.plan.extents.size(); ++l)
    begins_of(run.plan, node.index, state)[l] = state.ranges[l].lo;
}

// Runs a part of the nodes of a buffer of sums on a piece of the loop around it.
enum class SumPart : std::uint8_t { filling, addition };
void walk_sums(Run& run, int at, State& state, LabelRange piece, char* buffer, SumPart part) {
  const PlanNode& loop = run.plan.nodes[at];
  const PlanNode& scratch = run.plan.nodes[at + 1];
  const std::uint64_t mask = state.mask;
  if (piece.len < loop.step) state.mask |= partial_bit(loop, piece.len);
  state.ranges[loop.label] = piece;
  set_scratch(run, scratch, state, buffer);
  if (part == SumPart::filling)
    walk(run, at + 2, scratch.addition, state);
  else
    walk(run, scratch.addition, scratch.end, state);
  state.mask = mask;
}

// `sums`: buffers of the pieces one after the other, if they fill such.
void walk_parallel(Run& run, int at, State& state, char* sums) {
  struct Argument {
    Run& run;
    int at;
    const State& state;
    char* sums;
  } argument{run, at, state, sums};
  const PlanNode& node = run.plan.nodes[at];
  auto body = [](void* data, std::int64_t number) {
    auto& [run, at, outer, sums] = *static_cast<Argument*>(data);
    const PlanNode& node = run.plan.nodes[at];
    const std::size_t bytes = state_bytes(run.plan);
    const bool is_caller = std::this_thread::get_id() == run.caller;
    Arena& arena = is_caller ? run.arena : Arena::of_this_thread();
    Arena::Lease memory(arena, bytes);
    if (!memory.data()) {
      run.failed = true;
      return;
    }
    State state = state_in(run.plan, memory.data());
    std::memcpy(memory.data(), outer.ranges, bytes);
    state.mask = outer.mask;
    state.ahead = outer.ahead;
    state.in_parallel = true;
    state.arena = &arena;
    const LabelRange whole = outer.ranges[node.label];
    const Frame frame{node.label, node.step, whole, outer.loops};
    state.loops = &frame;
    const LabelRange piece = piece_at(node, whole, number);
    if (sums)
      walk_sums(run, at, state, piece, sums + number * sum_bytes(run.plan, at), SumPart::filling);
    else
      walk_piece(run, at, state, piece);
    if (run.plan.is_streamed) finish_streaming();
  };
  run.executor.run(run.executor.context, piece_count(node, state.ranges[node.label].len), body,
                   &argument);
}

// Whoever filled a piece's buffer, they are added in turn: to the same bits on every number of
// threads.
void walk_parallel_sum(Run& run, int at, State& state) {
  const PlanNode& node = run.plan.nodes[at];
  const LabelRange whole = state.ranges[node.label];
  const std::int64_t bytes = sum_bytes(run.plan, at), count = piece_count(node, whole.len);
  Arena::Lease memory(*state.arena, static_cast<std::size_t>(count * bytes));
  if (!memory.data()) {
    run.failed = true;
    return;
  }
  walk_parallel(run, at, state, memory.data());
  for (std::int64_t p = 0; p < count && !run.failed; ++p)
    walk_sums(run, at, state, piece_at(node, whole, p), memory.data() + p * bytes,
              SumPart::addition);
  state.ranges[node.label] = whole;
}

// Points to the box that is read next: one step on in the innermost loop that has one and moves the
// operand. After the last there is nothing to ask for but what is here.
void look_ahead(const PlanAhead& ahead, State& state) {
  char* base = state.bases[ahead.operand];
  for (std::size_t l = 0; l < ahead.moves.size(); ++l) base += ahead.moves[l] * state.ranges[l].lo;
  char* next = base;
  for (const Frame* loop = state.loops; loop; loop = loop->outside) {
    const std::int64_t move = ahead.moves[loop->label];
    const std::int64_t lo = state.ranges[loop->label].lo;
    if (lo + loop->step < loop->whole.lo + loop->whole.len && move != 0) {
      base = next + move * loop->step;
      break;
    }
    next += move * (loop->whole.lo - lo);  // it begins again
  }
  state.ahead = {ahead.offsets.data(), ahead.offsets.data() + ahead.offsets.size(), base};
}

void walk_scratch(Run& run, int at, State& state) {
  const PlanNode& node = run.plan.nodes[at];
  Arena::Lease memory(*state.arena, run.plan.scratch_bytes[node.index]);
  if (!memory.data()) {
    run.failed = true;
    return;
  }
  set_scratch(run, node, state, memory.data());
  walk(run, at + 1, node.end, state);
}

void walk(Run& run, int begin, int end, State& state) {
  for (int at = begin; at < end; at = run.plan.nodes[at].end) {
    const PlanNode& node = run.plan.nodes[at];
    switch (node.kind) {
      case PlanNode::Kind::call:
        call(run, run.plan.calls[node.index], state);
        break;
      case PlanNode::Kind::drain:
        DrainRuns(run, run.plan.drains[node.index], state).run();
        break;
      case PlanNode::Kind::loop:
        walk_loop(run, at, state);
        break;
      case PlanNode::Kind::split:
        walk_split(run, at, state);
        break;
      case PlanNode::Kind::scratch:
        walk_scratch(run, at, state);
        break;
      case PlanNode::Kind::ask:
        look_ahead(run.plan.ahead[node.index], state);
        walk(run, at + 1, node.end, state);
        break;
      case PlanNode::Kind::parallel_loop:
        // Nested parallel loops do not oversubscribe: the inner ones run in their worker.
        if (state.in_parallel)
          walk_loop(run, at, state);
        else if (node.fills_buffers)
          walk_parallel_sum(run, at, state);
        else
          walk_parallel(run, at, state, nullptr);
        break;
    }
  }
}

}  // namespace

std::size_t arena_bytes(const Plan& plan) {
  // The state, a parallel piece's, and all scratch at once.
  std::size_t bytes = 2 * Arena::rounded(state_bytes(plan));
  for (std::int64_t scratch : plan.scratch_bytes)
    bytes += Arena::rounded(static_cast<std::size_t>(scratch));
  for (std::size_t at = 0; at < plan.nodes.size(); ++at)
    if (const PlanNode& node = plan.nodes[at]; node.fills_buffers)
      bytes += static_cast<std::size_t>(piece_count(node, plan.extents[node.label]) *
                                        sum_bytes(plan, static_cast<int>(at)));
  return bytes;
}

bool run(const Plan& plan, char* const* operands, const double* scale, const Executor& executor,
         Arena& arena) {
  Run run{plan, scale, executor, arena, std::this_thread::get_id(), scale[1] == 0};
  Arena::Lease memory(arena, state_bytes(plan));
  if (!memory.data()) return false;
  State state = state_in(plan, memory.data());
  state.arena = &arena;
  for (std::size_t l = 0; l < plan.extents.size(); ++l) state.ranges[l] = {0, plan.extents[l]};
  std::copy(operands, operands + plan.operand_count, state.bases);
  std::fill_n(state.bases + plan.operand_count, plan.scratch_bytes.size(), nullptr);
  walk(run, 0, static_cast<int>(plan.nodes.size()), state);
  if (plan.is_streamed) finish_streaming();
  return !run.failed;
}

}  // namespace einjit
