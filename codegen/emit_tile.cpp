#include "emit_tile.hpp"

#include <llvm/IR/Intrinsics.h>

#include <algorithm>
#include <span>
#include <utility>

#include "carried_rows.hpp"
#include "output.hpp"
#include "sum_loops.hpp"

namespace einjit {
namespace {

constexpr std::size_t kManySums = 12;
constexpr std::size_t kHalvesTogether = 4;

// Emits one tile with its in-register lengths fixed.
class TileEmitter {
 public:
  TileEmitter(UnitFrame& frame, const Unit& unit, const Target& target,
              std::vector<std::int64_t> lengths)
      : frame_(frame),
        unit_(unit),
        vec_(find_vec(unit)),
        lanes_(target.lanes(unit.dtype) / (is_halved() ? 2 : 1)),
        box_(frame, unit, vec_, lanes_),
        output_(frame, unit, box_, vec_, lanes_),
        carried_(frame, unit, box_) {
    box_.lengths = std::move(lengths);
    collect_points();
    collect_reduced();
    collect_terms();
    collect_pieces();
  }

  void emit(const Values& pointers) {
    box_.pointers = pointers;
    box_.push_scope();
    prefetch();
    if (unit_.ahead.lines_slot >= 0) frame_.ask_ahead_by_slot(unit_.ahead.lines_slot);
    const int lines = unit_.ahead.per_step ? 0 : unit_.ahead.lines;
    Values sums;
    if (reduced_.empty()) {
      box_.ask_between_loads(lines, load_count());
      sums = products();
      box_.finish_asking();
    } else {
      if (lines > 0) frame_.ask_ahead(lines);
      SumLoops::Body body{
          [this](std::int64_t count, int slot, Values& all) { emit_steps(count, slot, all); },
          [this](std::size_t level) { preload(level); }, [this] { return zeros(); },
          [this](std::size_t level) { return has_factor(level); },
          [this](std::size_t level, const Values& inner, const Values& all) {
            return add_scaled(level, inner, all);
          }};
      sums = SumLoops(frame_, unit_, box_, reduced_, std::move(body)).emit(0, zeros());
      if (has_factor(0)) sums = add_scaled(0, sums, {});
    }
    store(std::move(sums));
    box_.pop_scope();
  }

 private:
  auto& builder() { return frame_.builder(); }

  static int find_vec(const Unit& unit) {
    for (std::size_t v = 0; v < unit.vars.size(); ++v)
      if (unit.vars[v].role == Role::vec) return static_cast<int>(v);
    return -1;
  }
  bool vec_is_reduced() const {
    return vec_ >= 0 && unit_.vars[static_cast<std::size_t>(vec_)].is_reduced;
  }

  // Whether lanes are sums of one element of the output.
  bool adds_lanes() const {
    return vec_ >= 0 && unit_.out.var_strides[static_cast<std::size_t>(vec_)].is(0);
  }

  bool is_halved() const {
    return vec_ >= 0 && unit_.vars[static_cast<std::size_t>(vec_)].is_halved;
  }

  // The tile's lines of the output are on their way while it sums.
  void prefetch() {
    if (adds_lanes()) return;
    auto ask = [&] {
      for (const auto& at : points_)
        for (const Piece& piece : pieces_) output_.prefetch({piece, at});
    };
    if (unit_.prefetch == Prefetch::output) ask();
    if (unit_.mode_slot >= 0 && !reduced_.empty())
      frame_.emit_if(frame_.is_told(kPrefetchesOutput), ask, [] {});
  }

  // All positions of the unrolled variables.
  void collect_points() {
    points_.push_back(std::vector<std::int64_t>(unit_.vars.size(), 0));
    for (std::size_t v = 0; v < unit_.vars.size(); ++v) {
      if (unit_.vars[v].is_reduced || static_cast<int>(v) == vec_) continue;
      std::vector<std::vector<std::int64_t>> longer;
      for (const auto& point : points_)
        for (std::int64_t p = 0; p < box_.lengths[v]; ++p) {
          longer.push_back(point);
          longer.back()[v] = p;
        }
      points_ = std::move(longer);
    }
  }

  // Reduced variables, outermost first; a vec one is the innermost.
  void collect_reduced() {
    for (std::size_t v = 0; v < unit_.vars.size(); ++v)
      if (unit_.vars[v].is_reduced && static_cast<int>(v) != vec_)
        reduced_.push_back(static_cast<int>(v));
    if (vec_is_reduced()) reduced_.push_back(vec_);
    if (!reduced_.empty()) chains_ = unit_.vars[reduced_.back()].chains;
    if (vec_is_reduced()) chains_ = 1;  // its pieces are chains already
    for (std::size_t k = 0; k < unit_.in.size(); ++k) {
      std::size_t depth = 0;
      for (std::size_t r = 0; r < reduced_.size(); ++r)
        if (!unit_.in[k].var_strides[reduced_[r]].is(0)) depth = r + 1;
      depth_.push_back(depth);
      // Scopes: one per tile, one per level of the reduction.
      if (depth < reduced_.size()) box_.set_scope_of_input(static_cast<int>(k), depth);
    }
  }

  // Which inputs every term has, and which multiply sums.
  void collect_terms() {
    for (std::size_t k = 0; k < unit_.in.size(); ++k)
      if (!is_factored_out(k)) terms_.push_back(static_cast<int>(k));
  }
  bool is_factored_out(std::size_t k) const {
    return unit_.in[k].is_factored_out && depth_[k] < reduced_.size();
  }

  // What a sum's vectors look like; for a reduced vec variable they are its accumulators.
  void collect_pieces() {
    if (vec_ < 0) {
      pieces_ = {Piece{}};
      return;
    }
    const UnitVar& vec = unit_.vars[static_cast<std::size_t>(vec_)];
    if (!vec.is_reduced) {
      pieces_ = cut_into_pieces(box_.lengths[vec_], lanes_, vec.active_slot);
    } else {
      const bool has_trips = vec.merge > 0 || !vec.trips.is(0);
      pieces_ = cut_into_pieces(has_trips ? vec.factor : vec.tail, lanes_);
      for (Piece& piece : pieces_) piece.width = pieces_.front().width;
    }
    if (pieces_.empty()) pieces_ = {Piece{}};
  }

  // Sums are numbered [chain][point][piece].
  std::size_t sum_count() const { return pieces_.size() * points_.size() * chains_; }
  llvm::Value*& sum_at(Values& sums, std::size_t chain, std::size_t point,
                       std::size_t piece) const {
    return sums[(chain * points_.size() + point) * pieces_.size() + piece];
  }

  // The product of all terms' inputs but the last `left_out` at a point.
  llvm::Value* product(const Point& point, std::size_t left_out) {
    return product_of(std::span(terms_).first(terms_.size() - left_out), point);
  }
  llvm::Value* product_of(std::span<const int> inputs, const Point& point) {
    llvm::Value* value = nullptr;
    for (int k : inputs) {
      llvm::Value* next = box_.load_value(k, point);
      value = value ? builder().CreateFMul(value, next) : next;
    }
    return value ? value : llvm::Constant::getNullValue(box_.type_of(point.piece));
  }

  // Of the vectors of a copy.
  std::int64_t load_count() const {
    std::int64_t loads = 0;
    for (const Piece& piece : pieces_) {
      const int var = unit_.in.empty() ? -1 : box_.transposed_var(unit_.in.front(), piece);
      loads += var < 0 ? static_cast<std::int64_t>(points_.size())
                       : piece.active * ((box_.lengths[var] + piece.width - 1) / piece.width);
    }
    return loads;
  }

  Values products() {
    Values values;
    for (const auto& at : points_)
      for (const Piece& piece : pieces_) values.push_back(product({piece, at}, 0));
    return values;
  }

  llvm::Value* multiply_add(const Point& point, llvm::Value* sum) {
    llvm::Value* next = sum;
    if (terms_.size() == 1) {
      next = builder().CreateFAdd(sum, product(point, 0));
    } else if (terms_.size() > 1) {
      llvm::Value* factor = product(point, 1);
      llvm::Value* last = box_.load_value(terms_.back(), point);
      next = builder().CreateIntrinsic(llvm::Intrinsic::fma, {sum->getType()}, {factor, last, sum});
    }
    // Lanes beyond the end must not be touched: 0 * inf is NaN.
    if (vec_is_reduced() && !point.piece.is_whole())
      next = builder().CreateSelect(box_.mask_of(point.piece), next, sum);
    return next;
  }

  // Adds the products of `count` steps of the innermost reduced variable; if a slot is given, of as
  // many as it says.
  void emit_steps(std::int64_t count, int count_slot, Values& sums) {
    const int inner = reduced_.back();
    if (inner == vec_) {
      std::vector<Piece> pieces = cut_into_pieces(count, pieces_.front().width);
      for (std::size_t p = 0; p < pieces.size(); ++p) {
        pieces[p].width = pieces_[p].width;
        pieces[p].active_slot = count_slot;
        pieces[p].before = static_cast<int>(pieces[p].offset);
      }
      for (std::size_t p = 0; p < pieces.size(); ++p) {
        if (is_halved() && p % kHalvesTogether == 0) load_together(pieces, p);
        for (std::size_t u = 0; u < points_.size(); ++u) {
          llvm::Value*& sum = sum_at(sums, 0, u, p);
          sum = multiply_add({pieces[p], points_[u]}, sum);
        }
      }
      return;
    }
    for (std::int64_t step = 0; step < count; ++step) {
      // LLVM looks at a block at a time; what steps share is loaded once by the box.
      if (step > 0 && sums.size() > kManySums) start_block(builder());
      if (unit_.ahead.per_step) frame_.ask_ahead(unit_.ahead.lines);
      for (std::size_t u = 0; u < points_.size(); ++u)
        for (std::size_t p = 0; p < pieces_.size(); ++p) {
          Point point{pieces_[p], points_[u]};
          point.at[inner] = step;
          llvm::Value*& sum = sum_at(sums, step % chains_, u, p);
          sum = multiply_add(point, sum);
        }
    }
  }

  // Two lines of each input but the last at once: taken in turn, halves of lines come slower.
  void load_together(const std::vector<Piece>& pieces, std::size_t first) {
    for (std::size_t k = 0; k + 1 < terms_.size(); ++k)
      for (std::size_t p = first; p < std::min(first + kHalvesTogether, pieces.size()); ++p)
        for (const auto& at : points_) box_.load_value(terms_[k], {pieces[p], at});
  }

  // Loads what does not move in the remaining reduced variables, before their loops.
  void preload(std::size_t level) {
    for (std::size_t k = 0; k < unit_.in.size(); ++k)
      if (depth_[k] == level && level < reduced_.size() && !is_factored_out(k))
        for (const auto& at : points_)
          for (const Piece& piece : pieces_) {
            if (vec_is_reduced() && !unit_.in[k].var_strides[vec_].is(0)) continue;
            box_.load_value(static_cast<int>(k), {piece, at});
          }
  }

  // Whether an input is factored out of the sum over the variables from this level on.
  bool has_factor(std::size_t level) const {
    for (std::size_t k = 0; k < unit_.in.size(); ++k)
      if (is_factored_out(k) && depth_[k] == level) return true;
    return false;
  }

  // `inner` times the inputs factored out at this level, added to `sums` if there are any.
  Values add_scaled(std::size_t level, const Values& inner, const Values& sums) {
    std::vector<int> factors;
    for (std::size_t k = 0; k < unit_.in.size(); ++k)
      if (is_factored_out(k) && depth_[k] == level) factors.push_back(static_cast<int>(k));
    Values scaled;
    for (std::size_t s = 0; s < inner.size(); ++s) {
      const std::size_t point = s / pieces_.size() % points_.size();
      llvm::Value* factor = product_of(factors, {pieces_[s % pieces_.size()], points_[point]});
      scaled.push_back(sums.empty()
                           ? builder().CreateFMul(inner[s], factor)
                           : builder().CreateIntrinsic(llvm::Intrinsic::fma, {factor->getType()},
                                                       {inner[s], factor, sums[s]}));
    }
    return scaled;
  }

  Values zeros() const {
    Values sums;
    for (std::size_t s = 0; s < sum_count(); ++s)
      sums.push_back(llvm::Constant::getNullValue(box_.type_of(pieces_[s % pieces_.size()])));
    return sums;
  }

  // Adds up chains and the lanes of a summed vec variable: what is left are the output's values.
  Values total(Values sums) {
    const std::size_t each = sums.size() / chains_;
    for (std::size_t step = 1; step < static_cast<std::size_t>(chains_); step *= 2)
      for (std::size_t c = 0; c + step < static_cast<std::size_t>(chains_); c += 2 * step)
        for (std::size_t i = 0; i < each; ++i)
          sums[c * each + i] =
              builder().CreateFAdd(sums[c * each + i], sums[(c + step) * each + i]);
    sums.resize(each);
    if (!adds_lanes()) return sums;
    Values totals;
    for (std::size_t u = 0; u < points_.size(); ++u) {
      llvm::Value* total = nullptr;
      llvm::Value* vector = nullptr;  // of pieces of one width
      for (std::size_t p = 0; p < pieces_.size(); ++p) {
        llvm::Value* next = without_idle_lanes(sum_at(sums, 0, u, p), pieces_[p]);
        vector = vector ? builder().CreateFAdd(vector, next) : next;
        if (p + 1 < pieces_.size() && pieces_[p + 1].width == pieces_[p].width) continue;
        next = add_lanes(std::exchange(vector, nullptr));
        total = total ? builder().CreateFAdd(total, next) : next;
      }
      totals.push_back(total);
    }
    pieces_ = {Piece{}};
    return totals;
  }

  // (What runs along a reduced vec variable has not touched them.)
  llvm::Value* without_idle_lanes(llvm::Value* sum, const Piece& piece) {
    if (vec_is_reduced() || piece.is_whole()) return sum;
    return builder().CreateSelect(box_.mask_of(piece), sum,
                                  llvm::Constant::getNullValue(sum->getType()));
  }

  llvm::Value* add_lanes(llvm::Value* vector) {
    if (!vector->getType()->isVectorTy()) return vector;
    auto* call = builder().CreateFAddReduce(
        llvm::ConstantFP::getNegativeZero(vector->getType()->getScalarType()), vector);
    llvm::FastMathFlags flags;
    flags.setAllowReassoc();
    call->setFastMathFlags(flags);
    return call;
  }

  void store(Values sums) {
    const bool lanes_added = adds_lanes();
    sums = total(std::move(sums));
    if (carried_.are_needed()) return store_rows(sums);
    if (const int var = lanes_added ? -1 : box_.joined_var(unit_.out); var >= 0) {
      store_joined(var, sums);
      return output_.flush();
    }
    std::vector<std::size_t> plain;
    for (std::size_t p = 0; p < pieces_.size(); ++p) {
      const int var = lanes_added ? -1 : box_.transposed_var(unit_.out, pieces_[p]);
      const int apart = lanes_added ? -1 : box_.interleaved_var(unit_.out, pieces_[p]);
      if (apart >= 0)
        store_interleaved(p, apart, sums);
      else if (var >= 0)
        store_blocks(p, var, sums);
      else
        plain.push_back(p);
    }
    // Lines side by side one after the other: memory takes pairs of them.
    for (std::size_t u = 0; u < points_.size(); ++u)
      for (std::size_t p : plain) output_.put({pieces_[p], points_[u]}, sum_at(sums, 0, u, p));
    output_.flush();
  }

  // Stores each point's pieces as a piece of a row.
  void store_rows(const Values& sums) {
    const auto pieces = static_cast<std::ptrdiff_t>(pieces_.size());
    for (std::size_t u = 0; u < points_.size(); ++u) {
      const auto first = sums.begin() + static_cast<std::ptrdiff_t>(u) * pieces;
      carried_.put(points_[u], pieces_, Values(first, first + pieces));
    }
    carried_.flush();
  }

  // Stores all pieces of all points, runs of them along `var` end to end.
  void store_joined(int var, Values& sums) {
    std::map<std::vector<std::int64_t>, Values> runs;  // by first point
    for (std::size_t u = 0; u < points_.size(); ++u) {
      std::vector<std::int64_t> first = points_[u];
      first[var] = 0;
      for (std::size_t p = 0; p < pieces_.size(); ++p) runs[first].push_back(sum_at(sums, 0, u, p));
    }
    for (const auto& [first, values] : runs)
      output_.put_joined({pieces_.front(), first}, pieces_, values);
  }

  // Stores piece p of all points, in blocks along `var`.
  void store_blocks(std::size_t p, int var, Values& sums) {
    const int width = pieces_[p].width;
    std::map<std::vector<std::int64_t>, Values> blocks;  // by first point
    for (std::size_t u = 0; u < points_.size(); ++u) {
      std::vector<std::int64_t> first = points_[u];
      first[var] = first[var] / width * width;
      Values& block = blocks[first];
      block.resize(std::max<std::size_t>(block.size(), points_[u][var] - first[var] + 1));
      block[points_[u][var] - first[var]] = sum_at(sums, 0, u, p);
    }
    for (const auto& [first, values] : blocks) output_.put_transposed({pieces_[p], first}, values);
  }

  // Stores piece p of all points, the positions of `var` in turn.
  void store_interleaved(std::size_t p, int var, Values& sums) {
    std::map<std::vector<std::int64_t>, Values> groups;  // by first point
    for (std::size_t u = 0; u < points_.size(); ++u) {
      std::vector<std::int64_t> first = points_[u];
      first[var] = 0;
      groups[first].push_back(sum_at(sums, 0, u, p));  // points are in the order of positions
    }
    for (const auto& [first, values] : groups) output_.put_interleaved({pieces_[p], first}, values);
  }

  UnitFrame& frame_;
  const Unit& unit_;
  int vec_;  // the vec variable, or -1
  int lanes_;
  Box box_;
  Output output_;
  CarriedRows carried_;
  std::vector<std::vector<std::int64_t>> points_;
  std::vector<Piece> pieces_;
  std::vector<int> reduced_;
  std::vector<int> terms_;          // inputs that are not factored out
  std::vector<std::size_t> depth_;  // per input: the reduced variables it moves in, up to the last
  int chains_ = 1;
};

}  // namespace

void emit_tile(UnitFrame& frame, const Unit& unit, const Target& target,
               std::vector<std::int64_t> lengths, const Values& pointers) {
  TileEmitter(frame, unit, target, std::move(lengths)).emit(pointers);
}

}  // namespace einjit
