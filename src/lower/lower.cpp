#include "lower/lower.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <ranges>
#include <utility>

#include "lower/pack.hpp"
#include "lower/sum_buffer.hpp"
#include "schedule/alignment.hpp"

namespace einjit {
namespace {

constexpr int kMostLinesATile = 12;   // at once; more are spread over the steps of the sum
constexpr int kFewLines = 4;          // the most a step asks for
constexpr int kMostLinesOfCopy = 32;  // a tile of it asks for
constexpr int kInAProduct = -1;       // the buffer of an input that is part of a packed product

Ref plain_ref(int buffer, const Access& access) {
  Ref ref{buffer, {}};
  for (std::int64_t stride : access.strides) ref.strides.push_back({stride, stride});
  return ref;
}

class Lowering {
 public:
  Lowering(const Contraction& c, const Schedule& schedule, const Target& target)
      : schedule_(schedule),
        target_(target),
        nest_{c, {}, {}},
        length_(c.extents),
        out_(plain_ref(0, c.out)) {
    for (std::size_t k = 0; k < c.in.size(); ++k)
      inputs_.push_back(plain_ref(1 + static_cast<int>(k), c.in[k]));
  }

  LoopNest run() {
    nest_.body = lower_from(0);
    nest_.lanes = target_.lanes(nest_.contraction.dtype);
    return std::move(nest_);
  }

 private:
  Block lower_from(std::size_t position) {
    if (position == schedule_.outer.size()) return block_of(make_tile());
    const auto& item = schedule_.outer[position];
    if (const auto* pack = std::get_if<PackSpec>(&item)) return lower_pack(*pack, position);
    if (std::holds_alternative<BufferSpec>(item))
      return nest_.contraction.has_sum() ? lower_buffer(position) : lower_drained(position);
    if (const auto* next = std::get_if<NextSpec>(&item))
      return lower_asking(next->operand, position);
    const LoopSpec& loop = std::get<LoopSpec>(item);
    const std::int64_t before = length_[loop.label];
    const bool begins_carry = loop.is_carried && !carry_;
    const int carry = begins_carry ? add_carry() : 0;
    length_[loop.label] = std::min(before, loop.step);
    Block body = lower_from(position + 1);
    length_[loop.label] = before;
    // A loop of one piece is none, unless it marks parallel work, looks for a line or other extents
    // have more.
    if (loop.step >= before && loop.order == Order::serial && !loop.is_aligned &&
        !loop.is_carried && !nest_.contraction.is_dynamic(loop.label))
      return body;
    Block made = block_of(Node{For{loop.label, loop.step, loop.order, std::move(body),
                                   loop.is_aligned, loop.is_diagonal, loop.is_carried}});
    if (!begins_carry) return made;
    carry_.reset();
    return block_of(Node{Alloc{carry, std::move(made)}});
  }

  // A buffer of a line for each row of the output that carried pieces go through.
  int add_carry() {
    const Contraction& c = nest_.contraction;
    const int buffer = next_buffer();
    std::int64_t stride = kLineBytes / size_of(c.dtype);
    carry_ = Ref{buffer, std::vector<Stride>(length_.size())};
    for (Label l : labels_outermost_first(c) | std::views::reverse) {
      if (carries_along(schedule_, l)) continue;
      carry_->strides[l] = {stride, stride};
      stride *= length_[l];
    }
    nest_.scratch.push_back({stride, Scope::worker});
    return buffer;
  }

  // Workers share a buffer that is made outside their loop.
  Scope scope_at(std::size_t position) const {
    const auto inside = schedule_.outer | std::views::drop(position);
    const bool is_shared = std::ranges::any_of(inside, [](const auto& item) {
      const auto* loop = std::get_if<LoopSpec>(&item);
      return loop && loop->order == Order::parallel;
    });
    return is_shared ? Scope::shared : Scope::worker;
  }

  int next_buffer() const { return nest_.first_scratch() + static_cast<int>(nest_.scratch.size()); }

  // Tiles inside write to the buffer, which is then written to the output.
  Block lower_drained(std::size_t position) {
    const Contraction& c = nest_.contraction;
    const int buffer = next_buffer();
    Drain drain{buffer, std::vector<std::int64_t>(length_.size())};
    Ref made{buffer, std::vector<Stride>(length_.size())};
    std::int64_t stride = 1;
    for (Label l : labels_outermost_first(c) | std::views::reverse) {
      made.strides[l] = {stride, stride};
      drain.strides[l] = stride;
      stride *= length_[l];
    }
    nest_.scratch.push_back({stride + kSlack, scope_at(position)});
    const Ref outside = std::exchange(out_, made);
    const Update update = std::exchange(update_, Update::assign);
    // Memory is read while it is written.
    const Pace pace = pace_;
    drain.asks = pace.lines > 0 && ahead_row_bytes(c, asked_, length_) >= kAskedByDrains;
    if (drain.asks) pace_ = {};
    Block body = lower_from(position + 1);
    pace_ = pace;
    out_ = outside;
    update_ = update;
    body.push_back(Node{std::move(drain)});
    return block_of(Node{Alloc{buffer, std::move(body)}});
  }

  // Tiles inside sum in the buffer, which is then added to what they would have summed in.
  Block lower_buffer(std::size_t position) {
    const int buffer = next_buffer();
    SumBuffer made =
        make_sum_buffer(nest_.contraction, schedule_.tile, length_, out_, update_, buffer, target_);
    nest_.scratch.push_back({made.elements, scope_at(position)});
    const Ref outside = std::exchange(out_, made.sums);
    const Update update = std::exchange(update_, Update::partial);
    Block body = lower_from(position + 1);
    out_ = outside;
    update_ = update;
    for (Node& node : made.addition) body.push_back(std::move(node));
    return block_of(Node{Alloc{buffer, std::move(body)}});
  }

  Block lower_pack(const PackSpec& pack, std::size_t position) {
    const Scope scope = scope_at(position);
    const int buffer = next_buffer();
    const std::vector<Ref> unpacked = inputs_;
    std::vector<Ref> sources{inputs_[pack.operand]};
    if (pack.factor >= 0) sources.push_back(inputs_[pack.factor]);
    Packing packing =
        make_packing(nest_.contraction, schedule_.tile, length_, sources, buffer, target_,
                     scope == Scope::shared ? Order::parallel : Order::serial);
    nest_.scratch.push_back({packing.elements, scope});
    inputs_[pack.operand] = packing.packed;
    if (pack.factor >= 0) inputs_[pack.factor].buffer = kInAProduct;
    Block body = std::move(packing.copy);
    Block inside = pack.is_ahead ? lower_asking(pack.operand, position) : lower_from(position + 1);
    for (Node& node : inside) body.push_back(std::move(node));
    inputs_ = unpacked;
    return block_of(Node{Alloc{buffer, std::move(body)}});
  }

  // What lies inside, whose tiles ask for the operand's next box.
  Block lower_asking(int operand, std::size_t position) {
    pace_ = pace(operand, position);
    asked_ = operand;
    Block body = lower_from(position + 1);
    const bool asks = std::exchange(pace_, {}).lines > 0;
    return asks ? block_of(Node{Ask{operand, length_, std::move(body)}}) : std::move(body);
  }

  // How many lines of the operand's next box each tile must ask for so that all have been when the
  // next one begins; none if a tile had to ask for more than memory can deliver meanwhile.
  Pace pace(int operand, std::size_t position) const {
    double tiles = 1, steps = 1;
    std::vector<std::int64_t> length = length_;
    for (std::size_t p = position; p < schedule_.outer.size(); ++p)
      if (const auto* loop = std::get_if<LoopSpec>(&schedule_.outer[p])) {
        const std::int64_t step = std::min(loop->step, length[loop->label]);
        tiles *= std::ceil(static_cast<double>(length[loop->label]) / static_cast<double>(step));
        length[loop->label] = step;
      }
    for (Label l = 0; l < nest_.contraction.label_count(); ++l)
      if (nest_.contraction.is_reduced(l)) steps *= static_cast<double>(length[l]);
    const double lines = static_cast<double>(ahead_line_count(nest_.contraction, operand, length_));
    const double per_tile = std::ceil(lines / tiles), per_step = std::ceil(per_tile / steps);
    // Tiles of a copy ask for as many lines as they read.
    const bool is_copy = !nest_.contraction.has_sum();
    if (lines == 0 || per_step > (is_copy ? kMostLinesOfCopy : kFewLines)) return {};
    if (is_copy) return {static_cast<int>(std::bit_ceil(static_cast<unsigned>(per_tile)))};
    // Few different numbers: units are shared. Asking a little too early does no harm.
    auto rounded = [](double lines) {
      return lines > kFewLines ? kMostLinesATile : lines > 1 ? kFewLines : 1;
    };
    if (per_tile <= kMostLinesATile) return {rounded(per_tile), false};
    return {rounded(per_step), true};
  }

  Node make_tile() const {
    const bool is_output = update_ == Update::output;
    Tile tile{out_,
              {},
              schedule_.tile,
              update_,
              is_output ? schedule_.store : Store::cached,
              is_output ? schedule_.prefetch : Prefetch::none,
              pace_};
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      if (inputs_[k].buffer == kInAProduct) continue;
      if (schedule_.factored_out >> k & 1) tile.factored_out |= 1u << tile.in.size();
      tile.in.push_back(inputs_[k]);
      if (schedule_.ahead.empty()) continue;
      tile.ahead.push_back(0);
      for (const AheadSpec& a : schedule_.ahead)
        if (a.operand == static_cast<int>(k))
          tile.ahead.back() = a.distance * nest_.contraction.in[k].strides[a.label];
    }
    tile.carry = carry_;
    return Node{std::move(tile)};
  }

  const Schedule& schedule_;
  const Target& target_;
  LoopNest nest_;
  std::vector<std::int64_t> length_;  // the most of each label's range at this depth
  std::vector<Ref> inputs_;           // what a tile at this depth reads
  Ref out_;                           // what it writes, and how
  Update update_ = Update::output;
  Pace pace_;
  int asked_ = -1;            // the input whose lines these are
  std::optional<Ref> carry_;  // inside a carried loop
};

}  // namespace

LoopNest lower(const Contraction& contraction, const Schedule& schedule, const Target& target) {
  return Lowering(contraction, schedule, target).run();
}

}  // namespace einjit
