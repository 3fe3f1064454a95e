#include "output.hpp"

#include <llvm/IR/Intrinsics.h>

#include <algorithm>

#include "join.hpp"
#include "transpose.hpp"

namespace einjit {
namespace {

// Results wait in registers: few more than these do.
constexpr std::size_t kMostWaiting = 24;

}  // namespace

void Output::prefetch(const Point& point) {
  frame_.prefetch(box_.address(0, unit_.out, point.at, point.piece.offset), Into::l1_to_write);
}

void Output::put(const Point& point, llvm::Value* sum) {
  const Piece& piece = point.piece;
  const bool is_contiguous =
      piece.width == 1 || unit_.out.var_strides[static_cast<std::size_t>(vec_var_)].is(1);
  add({sum, point.at, piece.offset, 0, piece, box_.mask_of(piece), !is_contiguous});
}

void Output::put_transposed(const Point& first, const Values& sums) {
  const Piece& piece = first.piece;
  if (results_.size() + static_cast<std::size_t>(piece.active) > kMostWaiting) flush();
  Values columns = sums;
  columns.resize(static_cast<std::size_t>(piece.width));
  const Values rows = emit_transpose(frame_.builder(), columns, piece.width, frame_.element());
  const Piece row{0, piece.width, static_cast<int>(sums.size())};
  for (int r = 0; r < piece.active; ++r)
    add({rows[static_cast<std::size_t>(r)], first.at, piece.offset + r, 0, row,
         box_.mask_of_row(row, piece, r), false, piece});
}

void Output::put_interleaved(const Point& first, const Values& sums) {
  const Piece& piece = first.piece;
  if (results_.size() + sums.size() > kMostWaiting) flush();
  const Values vectors = emit_interleave(frame_.builder(), sums);
  const Piece whole{0, piece.width, piece.width};
  for (std::size_t v = 0; v < vectors.size(); ++v)
    add({vectors[v], first.at, piece.offset, static_cast<std::int64_t>(v) * piece.width, whole,
         nullptr, false});
}

void Output::put_joined(const Point& first, const std::vector<Piece>& pieces, const Values& sums) {
  std::vector<Part> parts;
  std::int64_t length = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    parts.push_back({sums[i], pieces[i % pieces.size()].active});
    length += parts.back().active;
  }
  const std::vector<Piece> whole = cut_into_pieces(length, lanes_);
  if (results_.size() + whole.size() > kMostWaiting) flush();
  const Values vectors = emit_join(frame_.builder(), parts, lanes_);
  for (std::size_t p = 0; p < whole.size(); ++p)
    add({low_lanes(frame_.builder(), vectors[p], whole[p].width), first.at, pieces.front().offset,
         whole[p].offset, whole[p], box_.mask_of(whole[p]), false});
}

void Output::add(Result result) {
  auto& builder = frame_.builder();
  if (unit_.alpha == Alpha::runtime)
    result.sum = builder.CreateFMul(result.sum, box_.spread(frame_.alpha(), result.piece));
  results_.push_back(result);
}

llvm::Value* Output::streams() {
  const bool has_whole_vectors = std::ranges::any_of(results_, [&](const Result& result) {
    return !result.is_scattered && !result.mask && result.piece.width == lanes_;
  });
  if (!has_whole_vectors) return nullptr;
  if (unit_.mode_slot >= 0) return frame_.is_told(kStreams);
  return unit_.store == Store::streaming ? frame_.is_aligned() : nullptr;
}

void Output::flush() {
  if (results_.empty()) return;
  auto store_cached = [&] {
    if (unit_.old != Old::add_if_told) return store_all(Way::plain);
    frame_.emit_if(
        frame_.is_told(kAddsOld), [&] { store_all(Way::add_old); }, [&] { store_all(Way::plain); });
  };
  if (llvm::Value* streamed = streams())
    frame_.emit_if(
        streamed, [&] { store_all(Way::streamed); }, store_cached);
  else
    store_cached();
  results_.clear();
}

void Output::store_all(Way way) {
  for (const Result& result : results_) store(result, way);
}

llvm::Value* Output::address_of(const Result& result) {
  if (result.is_scattered) return box_.addresses(0, unit_.out, {result.piece, result.at});
  if (result.rows)
    return box_.address_of_row(0, unit_.out, result.at, *result.rows,
                               result.offset - result.rows->offset);
  return frame_.advance(box_.address(0, unit_.out, result.at, result.offset), Size{1},
                        result.behind);
}

llvm::Value* Output::old(const Result& result, llvm::Value* where) {
  if (!result.is_scattered) return box_.load_vector(where, result.piece.width, result.mask);
  return box_.gather(where, result.piece);
}

void Output::store(const Result& result, Way way) {
  auto& builder = frame_.builder();
  const Piece& piece = result.piece;
  llvm::Value* value = result.sum;
  llvm::Value* where = address_of(result);
  if (way == Way::add_old)
    value = builder.CreateFAdd(old(result, where), value);
  else if (unit_.old == Old::scale_by_beta)
    value = builder.CreateIntrinsic(llvm::Intrinsic::fma, {value->getType()},
                                    {old(result, where), box_.spread(frame_.beta(), piece), value});
  if (result.is_scattered) {
    builder.CreateMaskedScatter(value, where, box_.alignment(), result.mask);
  } else if (way == Way::streamed && !result.mask && piece.width == lanes_) {
    frame_.stream(value, where);
  } else if (!result.mask) {
    builder.CreateAlignedStore(value, where, box_.alignment());
  } else {
    builder.CreateMaskedStore(value, where, box_.alignment(), result.mask);
  }
}

}  // namespace einjit
