#include "box.hpp"

#include <llvm/IR/Intrinsics.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "index_ir/contraction.hpp"
#include "join.hpp"
#include "transpose.hpp"

namespace einjit {

std::vector<Piece> cut_into_pieces(std::int64_t length, int lanes, int active_slot) {
  std::vector<Piece> pieces;
  for (std::int64_t offset = 0; offset < length; offset += lanes) {
    const int active = static_cast<int>(std::min<std::int64_t>(lanes, length - offset));
    const int width = static_cast<int>(std::bit_ceil(static_cast<unsigned>(active)));
    pieces.push_back({offset, std::min(width, lanes), active});
  }
  if (!pieces.empty()) pieces.back().active_slot = active_slot;
  return pieces;
}

Box::Box(UnitFrame& frame, const Unit& unit, int vec_var, int lanes)
    : frame_(frame),
      unit_(unit),
      vec_var_(vec_var),
      lanes_(lanes),
      align_(static_cast<std::uint64_t>(size_of(unit.dtype))),
      scope_of_input_(unit.in.size(), SIZE_MAX) {}

llvm::Type* Box::type_of(const Piece& piece) const {
  if (piece.width == 1) return frame_.element();
  return llvm::FixedVectorType::get(frame_.element(), static_cast<unsigned>(piece.width));
}

llvm::Value* Box::spread(llvm::Value* scalar, const Piece& piece) {
  if (piece.width == 1) return scalar;
  return frame_.builder().CreateVectorSplat(static_cast<unsigned>(piece.width), scalar);
}

llvm::Value* Box::mask_of(const Piece& piece) const {
  if (piece.is_whole()) return nullptr;
  if (piece.active_slot >= 0)
    return frame_.lanes_before(piece.active_slot, piece.before, piece.width);
  std::vector<llvm::Constant*> bits;
  for (int l = 0; l < piece.width; ++l) bits.push_back(frame_.builder().getInt1(l < piece.active));
  return llvm::ConstantVector::get(bits);
}

llvm::Value* Box::mask_of_row(const Piece& lanes, const Piece& rows, int row) const {
  llvm::Value* mask = mask_of(lanes);
  if (rows.active_slot < 0) return mask;
  auto& builder = frame_.builder();
  llvm::Value* is_there = builder.CreateVectorSplat(
      static_cast<unsigned>(lanes.width), frame_.is_before(rows.active_slot, rows.before + row));
  return mask ? builder.CreateAnd(mask, is_there) : is_there;
}

llvm::Value* Box::address(int operand, const UnitRef& ref, const std::vector<std::int64_t>& at,
                          std::int64_t vec_offset) {
  llvm::Value* pointer = pointers[static_cast<std::size_t>(operand)];
  std::int64_t fixed = 0;
  for (std::size_t v = 0; v < at.size(); ++v) {
    const std::int64_t position = static_cast<int>(v) == vec_var_ ? vec_offset : at[v];
    const Size& stride = ref.var_strides[v];
    if (stride.is_constant())
      fixed += stride.value * position;
    else
      pointer = frame_.at_row(pointer, stride, position);
  }
  return frame_.advance(pointer, Size{1}, fixed);
}

llvm::Value* Box::address_of_row(int operand, const UnitRef& ref,
                                 const std::vector<std::int64_t>& at, const Piece& rows,
                                 std::int64_t row) {
  llvm::Value* there = address(operand, ref, at, rows.offset + row);
  if (rows.active_slot < 0 || row == 0) return there;
  llvm::Value* is_there = frame_.is_before(rows.active_slot, rows.before + static_cast<int>(row));
  return frame_.builder().CreateSelect(is_there, there, address(operand, ref, at, rows.offset));
}

llvm::Value* Box::load_vector(llvm::Value* pointer, int width, llvm::Value* mask) {
  auto& builder = frame_.builder();
  if (width == 1) return builder.CreateAlignedLoad(frame_.element(), pointer, align_);
  auto* type = llvm::FixedVectorType::get(frame_.element(), static_cast<unsigned>(width));
  if (!mask) return builder.CreateAlignedLoad(type, pointer, align_);
  return builder.CreateMaskedLoad(type, pointer, align_, mask, llvm::Constant::getNullValue(type));
}

// A vector of the addresses of a strided piece's elements.
llvm::Value* Box::addresses(int operand, const UnitRef& ref, const Point& point) {
  auto& builder = frame_.builder();
  llvm::Value* base = address(operand, ref, point.at, point.piece.offset);
  const auto width = static_cast<unsigned>(point.piece.width);
  std::vector<llvm::Constant*> lanes;
  for (unsigned l = 0; l < width; ++l) lanes.push_back(builder.getInt64(l));
  llvm::Value* stride = frame_.times(ref.var_strides[static_cast<std::size_t>(vec_var_)], 1);
  llvm::Value* offsets =
      builder.CreateMul(builder.CreateVectorSplat(width, stride), llvm::ConstantVector::get(lanes));
  return builder.CreateGEP(frame_.element(), base, offsets);
}

llvm::Value* Box::gather(llvm::Value* where, const Piece& piece) {
  llvm::Type* type = type_of(piece);
  llvm::Value* mask = mask_of(piece);
  if (!mask)
    mask = llvm::Constant::getAllOnesValue(llvm::FixedVectorType::get(
        frame_.builder().getInt1Ty(), static_cast<unsigned>(piece.width)));
  return frame_.builder().CreateMaskedGather(type, where, align_, mask,
                                             llvm::Constant::getNullValue(type));
}

// Loads a point's piece; the operand is strided (or contiguous) along the vec variable.
llvm::Value* Box::load_raw(int operand, const UnitRef& ref, const Point& point) {
  const Piece& piece = point.piece;
  if (piece.width == 1 || ref.var_strides[static_cast<std::size_t>(vec_var_)].is(1)) {
    llvm::Value* from = address(operand, ref, point.at, piece.offset);
    if (piece.width > 1) ask_ahead(ref, from);
    // A padded array may be read up to whole vectors.
    return load_vector(from, piece.width, ref.padded ? nullptr : mask_of(piece));
  }
  return gather(addresses(operand, ref, point), piece);
}

Box::Key Box::key_of(int input, const Point& point) const {
  const UnitRef& ref = unit_.in[static_cast<std::size_t>(input)];
  Key key{input, -1, 1};
  if (vec_var_ >= 0 && !ref.var_strides[static_cast<std::size_t>(vec_var_)].is(0)) {
    key[1] = point.piece.offset;
    key[2] = point.piece.width;
  }
  // Variables of one stride move the same way: elements that a sliding window shares have one key.
  const std::size_t first = key.size();
  for (std::size_t v = 0; v < point.at.size(); ++v) {
    const bool counts = static_cast<int>(v) != vec_var_ && !ref.var_strides[v].is(0);
    key.push_back(counts ? point.at[v] : 0);
    for (std::size_t w = 0; counts && w < v; ++w)
      if (static_cast<int>(w) != vec_var_ && ref.var_strides[w] == ref.var_strides[v]) {
        key[first + w] += std::exchange(key.back(), 0);
        break;
      }
  }
  return key;
}

llvm::Value*& Box::cached(int input, const Key& key) {
  const std::size_t scope =
      std::min(scope_of_input_[static_cast<std::size_t>(input)], scopes_.size() - 1);
  return scopes_[scope][key];
}

int Box::transposed_var(const UnitRef& ref, const Piece& piece) const {
  if (vec_var_ < 0 || piece.width == 1) return -1;
  const Size& stride = ref.var_strides[static_cast<std::size_t>(vec_var_)];
  if (stride.is(0) || stride.is(1)) return -1;
  for (std::size_t v = 0; v < unit_.vars.size(); ++v) {
    // Few columns of a block would waste most of its shuffles.
    const bool worth_it = lengths[v] * 4 >= piece.width && lengths[v] > 1;
    if (static_cast<int>(v) != vec_var_ && ref.var_strides[v].is(1) && worth_it)
      return static_cast<int>(v);
  }
  return -1;
}

int Box::interleaved_var(const UnitRef& ref, const Piece& piece) const {
  if (vec_var_ < 0 || piece.width != lanes_ || !piece.is_whole()) return -1;
  const Size& stride = ref.var_strides[static_cast<std::size_t>(vec_var_)];
  if (!stride.is_constant() || stride.value < 2 || stride.value > kMostInterleaved) return -1;
  for (std::size_t v = 0; v < unit_.vars.size(); ++v)
    if (static_cast<int>(v) != vec_var_ && ref.var_strides[v].is(1) && lengths[v] == stride.value)
      return static_cast<int>(v);
  return -1;
}

int Box::joined_var(const UnitRef& ref) const {
  if (vec_var_ < 0 || ref.padded || std::ranges::any_of(unit_.vars, &UnitVar::is_reduced))
    return -1;
  const auto vec = static_cast<std::size_t>(vec_var_);
  if (!ref.var_strides[vec].is(1) || unit_.vars[vec].active_slot >= 0 || lengths[vec] % lanes_ == 0)
    return -1;
  for (std::size_t v = 0; v < unit_.vars.size(); ++v)
    if (v != vec && !unit_.vars[v].is_reduced && lengths[v] > 1 &&
        ref.var_strides[v].is(lengths[vec]))
      return static_cast<int>(v);
  return -1;
}

// Loads the block of `point` along var: rows contiguous in var, one per lane of the piece.
void Box::load_transposed(int input, const Point& point, int var) {
  const UnitRef& ref = unit_.in[static_cast<std::size_t>(input)];
  const Piece& piece = point.piece;
  Point at = point;
  const std::int64_t first = point.at[var] / piece.width * piece.width;
  const int count = static_cast<int>(std::min<std::int64_t>(piece.width, lengths[var] - first));
  const int columns = std::clamp(static_cast<int>(std::bit_ceil(static_cast<unsigned>(count))),
                                 least_columns(piece.width, frame_.element()), piece.width);
  Values rows(static_cast<std::size_t>(piece.width));
  at.at[var] = first;
  for (int r = 0; r < piece.active; ++r) {
    llvm::Value* from = address_of_row(input + 1, ref, at.at, piece, r);
    ask_ahead(ref, from);
    // Rows that are not there must not be read, whatever their padding.
    const Piece columns_there{0, columns, ref.padded ? columns : count};
    rows[r] = load_vector(from, columns, mask_of_row(columns_there, piece, r));
  }
  const Values values = emit_transpose(frame_.builder(), rows, columns, frame_.element());
  for (int c = 0; c < count; ++c) {
    at.at[var] = first + c;
    cached(input, key_of(input, at)) = values[static_cast<std::size_t>(c)];
  }
}

// Loads what lies at all positions of var, as whole vectors, and takes it apart.
void Box::load_interleaved(int input, const Point& point, int var) {
  const UnitRef& ref = unit_.in[static_cast<std::size_t>(input)];
  const Piece& piece = point.piece;
  const std::int64_t parts = lengths[var];
  Point at = point;
  at.at[var] = 0;
  llvm::Value* from = address(input + 1, ref, at.at, piece.offset);
  Values vectors;
  for (std::int64_t p = 0; p < parts; ++p) {
    llvm::Value* place = frame_.advance(from, Size{1}, p * piece.width);
    ask_ahead(ref, place);
    vectors.push_back(load_vector(place, piece.width, nullptr));
  }
  const Values values = emit_deinterleave(frame_.builder(), vectors);
  for (std::int64_t p = 0; p < parts; ++p) {
    at.at[var] = p;
    cached(input, key_of(input, at)) = values[static_cast<std::size_t>(p)];
  }
}

llvm::Value* Box::load_value(int input, const Point& point) {
  const UnitRef& ref = unit_.in[static_cast<std::size_t>(input)];
  const Key key = key_of(input, point);
  const bool moves = vec_var_ >= 0 && !ref.var_strides[static_cast<std::size_t>(vec_var_)].is(0);
  if (moves) {
    if (llvm::Value* value = cached(input, key)) return value;
    if (const int apart = interleaved_var(ref, point.piece); apart >= 0)
      load_interleaved(input, point, apart);
    else if (const int var = transposed_var(ref, point.piece); var >= 0)
      load_transposed(input, point, var);
    else
      cached(input, key) = load_raw(input + 1, ref, point);
    return cached(input, key);
  }
  Key spread_key = key;
  spread_key[2] = point.piece.width;
  spread_key[1] = -2;
  if (llvm::Value* value = cached(input, spread_key)) return value;
  // A narrower piece's is the low part of a whole vector's.
  Key whole_key = spread_key;
  whole_key[2] = lanes_;
  if (llvm::Value* whole = cached(input, whole_key))
    return cached(input, spread_key) = low_lanes(frame_.builder(), whole, point.piece.width);
  llvm::Value* scalar = cached(input, key);
  if (!scalar)
    scalar = cached(input, key) = load_vector(address(input + 1, ref, point.at, 0), 1, nullptr);
  return cached(input, spread_key) = spread(scalar, point.piece);
}

void Box::ask_between_loads(int lines, std::int64_t loads) {
  lines_ = lines;
  loads_ = loads;
  lines_asked_ = 0;
  loads_done_ = 0;
}

void Box::ask_for_lines(int until) {
  while (lines_asked_ < until) frame_.ask_for_line(lines_asked_++);
}

void Box::finish_asking() {
  ask_for_lines(lines_);
  if (lines_ > 0) frame_.pass_lines(lines_);
  lines_ = 0;
}

// What is asked for with a load: its share of the list's lines, and the vector that will be read so
// many elements further on. Into L2.
void Box::ask_ahead(const UnitRef& ref, llvm::Value* from) {
  if (lines_ > 0 && loads_done_ < loads_)
    ask_for_lines(static_cast<int>(++loads_done_ * lines_ / loads_));
  if (ref.ahead.is(0)) return;
  frame_.prefetch(frame_.advance(from, ref.ahead, 1), Into::l2);
}

}  // namespace einjit
