#include "carried_rows.hpp"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <bit>

namespace einjit {
namespace {

constexpr std::uint64_t kInLine = kLineBytes - 1;  // the bits of an address

}  // namespace

bool CarriedRows::are_needed() const {
  return unit_.carry && frame_.lanes_of_line() == box_.lanes();
}

void CarriedRows::put(const std::vector<std::int64_t>& at, const std::vector<Piece>& pieces,
                      Values values) {
  if (unit_.alpha == Alpha::runtime)
    for (std::size_t p = 0; p < values.size(); ++p)
      values[p] = frame_.builder().CreateFMul(values[p], box_.spread(frame_.alpha(), pieces[p]));
  rows_.push_back({at, std::move(values)});
  last_ = pieces.back();
}

void CarriedRows::flush() {
  auto store_all = [&](Edges edges) {
    return [this, edges] {
      for (const Row& row : rows_) store(row, edges);
    };
  };
  auto store_in_place = [&](Way way) {
    return [this, way] {
      for (const Row& row : rows_) store_as_it_lies(row, way);
    };
  };
  auto at_edges = [&] {
    auto at_end = [&] {
      frame_.emit_if(frame_.is_told(kBeginsRows), store_all({true, true}),
                     store_all({false, true}));
    };
    frame_.emit_if(frame_.is_told(kEndsRows), at_end, store_all({true, false}));
  };
  auto carried = [&] {
    frame_.emit_if(frame_.is_told(static_cast<StoreMode>(kBeginsRows | kEndsRows)), at_edges,
                   store_all({false, false}));
  };
  auto anywhere = [&] {
    frame_.emit_if(frame_.is_on_element(), carried, store_in_place(Way::plain));
  };
  frame_.emit_if(frame_.is_told(kStreams), store_in_place(Way::streamed), anywhere);
  rows_.clear();
}

void CarriedRows::store_as_it_lies(const Row& row, Way way) {
  for (std::size_t p = 0; p < row.values.size(); ++p) {
    llvm::Value* where =
        box_.address(0, unit_.out, row.at, static_cast<std::int64_t>(p) * box_.lanes());
    if (p + 1 == row.values.size() && !last_.is_whole())
      frame_.builder().CreateMaskedStore(row.values[p], where, box_.alignment(),
                                         box_.mask_of(last_));
    else if (way == Way::streamed)
      frame_.stream(row.values[p], where);
    else
      frame_.builder().CreateAlignedStore(row.values[p], where, box_.alignment());
  }
}

void CarriedRows::store(const Row& row, Edges edges) {
  auto& builder = frame_.builder();
  llvm::Value* address =
      builder.CreatePtrToInt(box_.address(0, unit_.out, row.at, 0), builder.getInt64Ty());
  llvm::Value* line =
      builder.CreateIntToPtr(builder.CreateAnd(address, ~kInLine), builder.getPtrTy());
  llvm::Value* past_bytes = builder.CreateAnd(address, kInLine);
  llvm::Value* order = this->order(past_bytes);
  llvm::Value* past = nullptr;  // in elements, for masks
  if (edges.begins || edges.ends)
    past = builder.CreateLShr(
        past_bytes, std::countr_zero(static_cast<std::uint64_t>(box_.alignment().value())));
  llvm::Value* waiting =
      box_.address(static_cast<int>(unit_.operand_count()) - 1, *unit_.carry, row.at, 0);
  const std::size_t lines = row.values.size();
  llvm::Value* before =
      edges.begins ? row.values[0] : box_.load_vector(waiting, box_.lanes(), nullptr);
  for (std::size_t k = 0; k < lines + edges.ends; ++k) {
    llvm::Value* values = row.values[std::min(k, lines - 1)];
    llvm::Value* made = moved_up(before, order, values);
    llvm::Value* where = builder.CreateConstGEP1_64(builder.getInt8Ty(), line, k * kLineBytes);
    if (llvm::Value* some = mask(k, lines, edges, past))
      builder.CreateMaskedStore(made, where, box_.alignment(), some);
    else
      frame_.stream(made, where);
    before = values;
  }
  if (!edges.ends) builder.CreateAlignedStore(row.values.back(), waiting, box_.alignment());
}

// The lanes of a row's line that are the row's; null: all.
llvm::Value* CarriedRows::mask(std::size_t line, std::size_t lines, Edges edges,
                               llvm::Value* past) {
  auto& builder = frame_.builder();
  const int width = box_.lanes();
  llvm::Value* some = nullptr;
  if (edges.begins && line == 0) some = frame_.lanes_before(past, 0, width, false);
  if (edges.ends && line + 1 >= lines) {
    llvm::Value* active = last_.active_slot < 0
                              ? builder.getInt64(static_cast<std::uint64_t>(width))
                              : frame_.times(Size{0, last_.active_slot}, 1);
    llvm::Value* before =
        frame_.lanes_before(builder.CreateAdd(past, active), line < lines ? 0 : width, width);
    some = some ? builder.CreateAnd(some, before) : before;
  }
  return some;
}

// Which lanes of a vector and the next make the line: the number of the first is a line less those
// past its beginning. Read from a list of numbers, as many bytes on.
llvm::Value* CarriedRows::order(llvm::Value* past_bytes) {
  auto& builder = frame_.builder();
  auto* byte = builder.getInt8Ty();
  llvm::Value* less = builder.CreateXor(past_bytes, kInLine);
  llvm::Value* from = builder.CreateGEP(byte, frame_.numbers(), less);
  from = builder.CreateConstGEP1_64(byte, from, 1);
  llvm::Value* read = box_.load_vector(from, box_.lanes(), nullptr);
  auto* number = builder.getIntNTy(static_cast<unsigned>(8 * box_.alignment().value()));
  return builder.CreateBitCast(
      read, llvm::FixedVectorType::get(number, static_cast<unsigned>(box_.lanes())));
}

llvm::Value* CarriedRows::moved_up(llvm::Value* before, llvm::Value* order, llvm::Value* values) {
  const auto permute = frame_.element()->isDoubleTy()
                           ? llvm::Intrinsic::x86_avx512_vpermi2var_pd_512
                           : llvm::Intrinsic::x86_avx512_vpermi2var_ps_512;
  return frame_.builder().CreateIntrinsic(permute, {}, {before, order, values});
}

}  // namespace einjit
