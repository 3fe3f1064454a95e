#include <algorithm>
#include <limits>

#include "loop_ir/loop_nest.hpp"

namespace einjit {
namespace {

struct Range {
  std::int64_t lo, len;
};

// The state of one evaluation. `base` is each buffer's element (lo at its Alloc); `origin` that lo.
template <class T>
class Interpreter {
 public:
  Interpreter(const LoopNest& nest, const std::vector<void*>& operands, T alpha, T beta)
      : nest_(nest), alpha_(alpha), beta_(beta) {
    const Contraction& c = nest.contraction;
    for (std::int64_t extent : c.extents) ranges_.push_back({0, extent});
    for (void* pointer : operands) base_.push_back(static_cast<T*>(pointer));
    base_.resize(operands.size() + nest.scratch.size());
    origin_.assign(base_.size(), std::vector<std::int64_t>(c.extents.size(), 0));
  }

  void run(const Block& block) {
    for (const Node& node : block) std::visit([&](const auto& n) { run(n); }, node.value);
  }

 private:
  void run(const For& loop) {
    const Range whole = ranges_[loop.label];
    const Piece outside = carried_;
    std::int64_t piece = loop.is_aligned ? to_line() : 0;
    if (piece == 0) piece = loop.step;
    for (std::int64_t p = 0; p < whole.len; p += piece, piece = loop.step) {
      ranges_[loop.label] = {whole.lo + p, std::min(piece, whole.len - p)};
      if (loop.is_carried)
        carried_ = {loop.label, outside.is_first && p == 0,
                    outside.is_last && p + piece >= whole.len};
      run(loop.body);
    }
    ranges_[loop.label] = whole;
    carried_ = outside;
  }

  // Of the rows that the carried loops around go through: by the innermost along a label, and
  // whether it is their first, their last.
  struct Piece {
    Label label = -1;
    bool is_first = true, is_last = true;
  };

  // From where the ranges begin in the output; less than a step.
  std::int64_t to_line() const {
    const T* at = base_[0];
    for (std::size_t l = 0; l < ranges_.size(); ++l)
      at += nest_.contraction.out.strides[l] * ranges_[l].lo;
    return items_to_line(at, sizeof(T));
  }

  void run(const Alloc& alloc) {
    std::vector<T> memory(nest_.scratch[alloc.buffer - nest_.first_scratch()].elements,
                          std::numeric_limits<T>::quiet_NaN());
    base_[alloc.buffer] = memory.data();
    for (std::size_t l = 0; l < ranges_.size(); ++l) origin_[alloc.buffer][l] = ranges_[l].lo;
    run(alloc.body);
    base_[alloc.buffer] = nullptr;
  }

  void run(const Ask& ask) { run(ask.body); }

  void run(const Drain& drain) {
    Ref from{drain.buffer, {}}, to{0, {}};
    std::vector<Label> kept;
    for (Label l = 0; l < nest_.contraction.label_count(); ++l) {
      const std::int64_t stride = nest_.contraction.out.strides[l];
      from.strides.push_back({drain.strides[l], drain.strides[l]});
      to.strides.push_back({stride, stride});
      if (!nest_.contraction.is_reduced(l)) kept.push_back(l);
    }
    std::vector<std::int64_t> at(ranges_.size(), 0);
    for_each(kept, 0, at, [&] { *address(to, at) = alpha_of(*address(from, at)); });
  }

  T* address(const Ref& ref, const std::vector<std::int64_t>& at) const {
    std::int64_t offset = 0;
    for (std::size_t l = 0; l < ranges_.size(); ++l)
      offset += ref.strides[l].outer * (ranges_[l].lo - origin_[ref.buffer][l]) +
                ref.strides[l].inner * at[l];
    return base_[ref.buffer] + offset;
  }

  void run(const Tile& tile) {
    std::vector<Label> kept, summed;
    for (const TileVar& var : tile.vars)
      (is_summed(tile, var.label) ? summed : kept).push_back(var.label);
    std::vector<std::int64_t> at(ranges_.size(), 0);
    if (tile.carry) return run_carried(tile, kept, summed, at);
    for_each(kept, 0, at, [&] { store(tile, address(tile.out, at), sum_at(tile, summed, at)); });
  }

  T sum_at(const Tile& tile, const std::vector<Label>& summed, std::vector<std::int64_t>& at) {
    T sum = 0;
    bool first = true;
    for_each(summed, 0, at, [&] {
      T product = tile.in.empty() ? T(0) : *address(tile.in[0], at);
      for (std::size_t k = 1; k < tile.in.size(); ++k) product *= *address(tile.in[k], at);
      sum = first && summed.empty() ? product : sum + product;
      first = false;
    });
    return sum;
  }

  // Row after row, what waits of its line and the new elements.
  void run_carried(const Tile& tile, std::vector<Label> kept, const std::vector<Label>& summed,
                   std::vector<std::int64_t>& at) {
    const Label along = carried_.label;
    constexpr auto kLine = static_cast<std::int64_t>(kLineBytes / sizeof(T));
    std::erase(kept, along);
    for_each(kept, 0, at, [&] {
      T* const row = address(tile.out, at);
      T* const waiting = address(*tile.carry, at);
      const std::int64_t past = items_past_line(row, sizeof(T));
      std::vector<T> line(waiting, waiting + (carried_.is_first ? 0 : past));
      T* const begin = row - line.size();
      for (at[along] = 0; at[along] < ranges_[along].len; ++at[along])
        line.push_back(alpha_of(sum_at(tile, summed, at)));
      at[along] = 0;
      const std::int64_t left = carried_.is_last ? 0 : (past + ranges_[along].len) % kLine;
      std::copy(line.begin(), line.end() - left, begin);
      std::copy(line.end() - left, line.end(), waiting);
    });
  }

  void store(const Tile& tile, T* out, T sum) const {
    const Contraction& c = nest_.contraction;
    if (tile.update == Update::assign) {
      *out = sum;
      return;
    }
    bool is_first = true;
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.is_reduced(l)) is_first &= ranges_[l].lo == origin_[tile.out.buffer][l];
    if (tile.update == Update::partial) {
      *out = is_first ? sum : *out + sum;
      return;
    }
    sum = alpha_of(sum);
    if (!is_first)
      *out += sum;
    else
      *out = c.beta == Beta::zero || beta_ == 0 ? sum : sum + beta_ * *out;
  }

  T alpha_of(T sum) const { return nest_.contraction.alpha == Alpha::runtime ? sum * alpha_ : sum; }

  template <class Body>
  void for_each(const std::vector<Label>& labels, std::size_t depth, std::vector<std::int64_t>& at,
                const Body& body) {
    if (depth == labels.size()) return body();
    const Label l = labels[depth];
    for (at[l] = 0; at[l] < ranges_[l].len; ++at[l]) for_each(labels, depth + 1, at, body);
    at[l] = 0;
  }

  const LoopNest& nest_;
  T alpha_, beta_;
  std::vector<Range> ranges_;
  std::vector<T*> base_;
  std::vector<std::vector<std::int64_t>> origin_;
  Piece carried_;
};

}  // namespace

void interpret(const LoopNest& nest, const std::vector<void*>& operands, double alpha,
               double beta) {
  if (nest.contraction.dtype == DType::f32)
    Interpreter<float>(nest, operands, static_cast<float>(alpha), static_cast<float>(beta))
        .run(nest.body);
  else
    Interpreter<double>(nest, operands, alpha, beta).run(nest.body);
}

}  // namespace einjit
