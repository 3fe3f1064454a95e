#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <vector>

#include "loop_ir/loop_nest.hpp"

namespace einjit {
namespace {

// Walks the nest with the largest range of each label. Coverage follows from the semantics: a For
// cuts a range into disjoint pieces that make it up, so the one output tile, or the one of partial
// sums that are then read once, under every For and outside none, meets each point of the index
// space once. What remains to prove is said in fail().
class Verifier {
 public:
  explicit Verifier(const LoopNest& nest)
      : nest_(nest),
        c_(nest.contraction),
        length_(c_.extents),
        steps_(c_.extents.size()),
        at_alloc_(nest.scratch.size()),
        steps_at_alloc_(nest.scratch.size()),
        parallel_at_alloc_(nest.scratch.size()),
        is_only_child_(nest.scratch.size()),
        copied_(nest.scratch.size()),
        sums_written_(nest.scratch.size()),
        sums_read_(nest.scratch.size()) {}

  Result<void> run() {
    if (auto done = visit(nest_.body); !done) return done;
    if (output_tiles_ != 1) return fail("the nest must hold exactly one output tile");
    return {};
  }

 private:
  std::unexpected<Diagnostic> fail(std::string message) const {
    return std::unexpected(
        Diagnostic{"loop nest: " + std::move(message), {}, {}, {nest_.to_string()}});
  }
  const std::string& name(Label l) const { return c_.names[l]; }

  Result<void> visit(const Block& block) {
    for (const Node& node : block) {
      auto done = std::visit([&](const auto& n) { return visit(n); }, node.value);
      if (!done) return done;
    }
    return {};
  }

  Result<void> visit(const For& loop) {
    if (loop.step < 1) return fail("a loop's step is not positive");
    const auto length = length_[loop.label];
    length_[loop.label] = std::min(length, loop.step);
    steps_[loop.label].push_back(loop.step);
    if (loop.order == Order::parallel) parallel_.push_back(loop.label);
    if (loop.is_carried) carried_.push_back(&loop);
    only_child_ = loop.body.size() == 1 ? &loop.body.front() : nullptr;
    auto done = visit(loop.body);
    if (loop.order == Order::parallel) parallel_.pop_back();
    if (loop.is_carried) carried_.pop_back();
    length_[loop.label] = length;
    steps_[loop.label].pop_back();
    return done;
  }

  Result<void> visit(const Alloc& alloc) {
    const int s = alloc.buffer - nest_.first_scratch();
    if (s < 0 || s >= static_cast<int>(nest_.scratch.size())) return fail("an unknown buffer");
    at_alloc_[s] = length_;
    parallel_at_alloc_[s] = parallel_.size();
    steps_at_alloc_[s].clear();
    for (const auto& steps : steps_) steps_at_alloc_[s].push_back(steps.size());
    is_only_child_[s] = only_child_ && std::get_if<Alloc>(&only_child_->value) == &alloc;
    sums_written_[s] = sums_read_[s] = 0;
    auto done = visit(alloc.body);
    at_alloc_[s].clear();
    if (done && sums_written_[s] != sums_read_[s])
      return fail("partial sums must be read once, after all of them");
    return done;
  }

  Result<void> visit(const Ask& ask) {
    if (asks_) return fail("an ask within an ask");
    if (ask.input < 0 || ask.input >= static_cast<int>(c_.in.size()) ||
        ask.lengths.size() != c_.extents.size())
      return fail("an ask for an unknown box");
    asks_ = true;
    auto done = visit(ask.body);
    asks_ = false;
    return done;
  }

  // The one tile that writes the buffer writes all of it before.
  Result<void> visit(const Drain& drain) {
    const int s = drain.buffer - nest_.first_scratch();
    ++output_tiles_;
    if (s < 0 || s >= static_cast<int>(nest_.scratch.size()) || at_alloc_[s].empty())
      return fail("a buffer is drained outside its Alloc");
    if (length_ != at_alloc_[s] || c_.has_sum() || copied_[s] != 1)
      return fail("what is drained is not the box that one tile has made");
    if (drain.asks && !asks_) return fail("a drain asks for lines that nobody names");
    std::int64_t last = 0;
    for (Label l = 0; l < c_.label_count(); ++l) last += drain.strides[l] * (length_[l] - 1);
    if (last >= nest_.scratch[s].elements) return fail("what is drained leaves its buffer");
    for (Label l : parallel_)
      if (c_.out.strides[l] == 0) return fail("parallel pieces drain to the same elements");
    return {};
  }

  Result<void> visit(const Tile& tile) {
    if (tile.pace.lines > 0 && !asks_) return fail("a tile asks for lines that nobody names");
    if (tile.update == Update::output) {
      ++output_tiles_;
      if (tile.out.buffer != 0) return fail("an output tile does not write the output");
    } else if (tile.out.buffer < nest_.first_scratch()) {
      return fail(tile.update == Update::assign ? "a copy writes an operand"
                                                : "partial sums are written to an operand");
    }
    if (tile.update == Update::assign) ++copied_[tile.out.buffer - nest_.first_scratch()];
    if (tile.update == Update::partial) {
      const int s = tile.out.buffer - nest_.first_scratch();
      if (++sums_written_[s] > 1 || sums_read_[s] > 0)
        return fail("partial sums must be written by one tile, before they are read");
    }
    for (const TileVar& var : tile.vars) {
      const bool in_registers =
          var.role != Role::reduce && (!is_summed(tile, var.label) || var.is_kept);
      if (in_registers && length_[var.label] > var.factor)
        return fail(fmt::format("the tile's range of '{}' exceeds its factor", name(var.label)));
      if (var.role == Role::reduce && !is_summed(tile, var.label))
        return fail(
            fmt::format("'{}' is reduced but stands in the tile's output", name(var.label)));
    }
    if (auto done = check_carry(tile); !done) return done;
    if (auto done = check_parallel(tile); !done) return done;
    if (auto done = check_ref(tile, tile.out); !done) return done;
    for (const Ref& in : tile.in) {
      if (auto done = check_ref(tile, in); !done) return done;
      if (auto done = check_sums(in); !done) return done;
    }
    return {};
  }

  // Rows have a place each, from the carried loops' first piece to their last.
  Result<void> check_carry(const Tile& tile) const {
    if (!tile.carry) return {};
    const Ref& carry = *tile.carry;
    if (carried_.empty() || tile.update != Update::output || carry.buffer < nest_.first_scratch())
      return fail("a tile carries lines where no loop does");
    const Label along = carried_.back()->label;
    const int s = carry.buffer - nest_.first_scratch();
    if (c_.out.strides[along] != 1 || steps_[along].back() != carried_.back()->step ||
        std::ranges::none_of(tile.vars, [&](const TileVar& var) {
          return var.label == along && var.role == Role::vec;
        }))
      return fail(
          fmt::format("lines are carried along '{}', which tiles do not go along", name(along)));
    if (at_alloc_[s].empty() || parallel_at_alloc_[s] != parallel_.size() ||
        std::ranges::any_of(carried_, [&](const For* loop) {
          return steps_at_alloc_[s][loop->label] + 1 != steps_[loop->label].size();
        }))
      return fail("carried lines are not of their loop");
    if (!rows_go_on(tile, at_alloc_[s]))
      return fail("lines are carried from row to row, which are no whole lines side by side");
    std::vector<std::pair<std::int64_t, std::int64_t>> places;  // stride, length
    for (Label l = 0; l < c_.label_count(); ++l)
      if (!c_.is_reduced(l) && !is_carried(l) && at_alloc_[s][l] > 1)
        places.emplace_back(carry.strides[l].outer, at_alloc_[s][l]);
    std::ranges::sort(places);
    std::int64_t room = kLineBytes / size_of(c_.dtype);
    for (auto [stride, length] : places) {
      if (stride < room) return fail("rows share a place of carried lines");
      room = stride * length;
    }
    if (room > nest_.scratch[s].elements) return fail("carried lines leave their buffer");
    return check_ref(tile, carry);
  }

  bool is_carried(Label l) const { return std::ranges::count(carried_, l, &For::label) > 0; }

  // Whether each carried loop goes on where those inside it end, at the same place of a line.
  bool rows_go_on(const Tile& tile, const std::vector<std::int64_t>& lengths) const {
    std::int64_t run = lengths[carried_.back()->label];
    for (const For* loop : carried_ | std::views::reverse | std::views::drop(1)) {
      const bool is_in_tile = std::ranges::count(tile.vars, loop->label, &TileVar::label) > 0;
      if (is_in_tile || loop->step != 1 || c_.out.strides[loop->label] != run ||
          run * size_of(c_.dtype) % kLineBytes != 0)
        return false;
      run *= lengths[loop->label];
    }
    return true;
  }

  // Partial sums are read when they are complete, and once.
  Result<void> check_sums(const Ref& in) {
    const int s = in.buffer - nest_.first_scratch();
    if (s < 0 || sums_written_[s] == 0) return {};
    ++sums_read_[s];
    for (Label l = 0; l < c_.label_count(); ++l)
      if (c_.is_reduced(l) && steps_[l].size() != steps_at_alloc_[s][l])
        return fail(fmt::format("partial sums are read before all of '{}' is summed", name(l)));
    return {};
  }

  // Every parallel loop around the tile, and outside the written buffer's own Alloc, must move it.
  // Only what adds partial sums of a piece, made inside the loop, is done in turn.
  Result<void> check_parallel(const Tile& tile) const {
    std::size_t from = 0;
    if (tile.out.buffer >= nest_.first_scratch())
      from = parallel_at_alloc_[tile.out.buffer - nest_.first_scratch()];
    for (std::size_t p = from; p < parallel_.size(); ++p)
      if (tile.out.strides[parallel_[p]].outer == 0 && !adds_sums_of(tile, p))
        return fail(
            fmt::format("parallel pieces of '{}' write the same elements", name(parallel_[p])));
    return {};
  }

  bool adds_sums_of(const Tile& tile, std::size_t parallel) const {
    if (tile.in.size() != 1) return false;
    const int s = tile.in[0].buffer - nest_.first_scratch();
    return s >= 0 && sums_written_[s] > 0 && is_only_child_[s] &&
           parallel_at_alloc_[s] == parallel + 1;
  }

  Result<void> check_ref(const Tile& tile, const Ref& ref) const {
    for (Label l = 0; l < c_.label_count(); ++l) {
      const bool in_tile = std::ranges::find(tile.vars, l, &TileVar::label) != tile.vars.end();
      if (ref.strides[l] != Stride{} && !in_tile && length_[l] > 1)
        return fail(fmt::format("the tile leaves a range of '{}'", name(l)));
    }
    if (ref.buffer < nest_.first_scratch()) return check_operand(ref);
    return check_scratch(ref);
  }

  // Operands are in bounds because the contraction's strides are.
  Result<void> check_operand(const Ref& ref) const {
    const Access& access = ref.buffer == 0 ? c_.out : c_.in[ref.buffer - 1];
    for (Label l = 0; l < c_.label_count(); ++l)
      if (ref.strides[l] != Stride{access.strides[l], access.strides[l]})
        return fail("a reference to an operand has strides of its own");
    return {};
  }

  Result<void> check_scratch(const Ref& ref) const {
    const int s = ref.buffer - nest_.first_scratch();
    if (at_alloc_[s].empty()) return fail("a buffer is used outside its Alloc");
    std::int64_t last = 0;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const auto [outer, inner] = ref.strides[l];
      const std::int64_t whole = at_alloc_[s][l], piece = length_[l];
      if (outer < 0 || inner < 0) return fail("a scratch buffer has a negative stride");
      if (outer != inner)
        for (std::size_t d = steps_at_alloc_[s][l]; d < steps_[l].size(); ++d)
          if (steps_[l][d] % steps_[l].back() != 0)
            return fail(fmt::format("pieces of '{}' do not start at panels", name(l)));
      if (whole == 0) continue;
      // Panels start at whole pieces.
      const std::int64_t start = (whole - 1) / piece * piece;
      last += outer == inner ? outer * (whole - 1)
                             : outer * start + inner * (std::min(piece, whole) - 1);
    }
    if (last >= nest_.scratch[s].elements) return fail("a reference leaves its scratch buffer");
    return {};
  }

  const LoopNest& nest_;
  const Contraction& c_;
  std::vector<std::int64_t> length_;              // the most of each label's range
  std::vector<std::vector<std::int64_t>> steps_;  // of the loops around, per label
  std::vector<std::vector<std::int64_t>> at_alloc_;
  std::vector<std::vector<std::size_t>> steps_at_alloc_;
  std::vector<std::size_t> parallel_at_alloc_;
  const Node* only_child_ = nullptr;           // of the loop around
  std::vector<const For*> carried_;            // carried loops around, outermost first
  bool asks_ = false;                          // inside an Ask
  std::vector<bool> is_only_child_;            // per scratch buffer: its Alloc is
  std::vector<int> copied_;                    // per scratch buffer: by tiles that assign
  std::vector<int> sums_written_, sums_read_;  // per scratch buffer: by tiles
  std::vector<Label> parallel_;
  int output_tiles_ = 0;
};

}  // namespace

Result<void> verify(const LoopNest& nest) { return Verifier(nest).run(); }

}  // namespace einjit
