#include "unit_frame.hpp"

#include <llvm/IR/Function.h>

#include <numeric>

namespace einjit {
namespace {

constexpr std::int64_t kRowsByScale = 4;

llvm::Type* element_type(llvm::LLVMContext& context, DType type) {
  switch (type) {
    case DType::f32:
      return llvm::Type::getFloatTy(context);
    case DType::f64:
      return llvm::Type::getDoubleTy(context);
  }
  return nullptr;
}

// Lanes, numbered from `first` on, that lie before a number, or that do not.
llvm::Value* compare_lanes(llvm::IRBuilder<>& builder, llvm::Value* count, int first, int width,
                           bool before) {
  std::vector<std::uint32_t> lanes(static_cast<std::size_t>(width));
  std::iota(lanes.begin(), lanes.end(), static_cast<std::uint32_t>(first));
  auto* numbers = llvm::ConstantDataVector::get(builder.getContext(), lanes);
  auto* all = builder.CreateVectorSplat(static_cast<unsigned>(width),
                                        builder.CreateTrunc(count, builder.getInt32Ty()));
  return before ? builder.CreateICmpULT(numbers, all) : builder.CreateICmpUGE(numbers, all);
}

}  // namespace

void start_block(llvm::IRBuilder<>& builder) {
  llvm::Function* function = builder.GetInsertBlock()->getParent();
  auto* block = llvm::BasicBlock::Create(builder.getContext(), "", function);
  builder.CreateBr(block);
  builder.SetInsertPoint(block);
}

UnitFrame::UnitFrame(llvm::Module& module, const Unit& unit, const std::string& symbol)
    : entry_builder_(module.getContext()),
      builder_(module.getContext()),
      element_(element_type(module.getContext(), unit.dtype)),
      mode_slot_(unit.mode_slot) {
  llvm::LLVMContext& context = module.getContext();
  auto* pointer = llvm::PointerType::getUnqual(context);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, pointer, pointer}, false);
  function_ = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, module);
  function_->setDoesNotThrow();
  entry_ = llvm::BasicBlock::Create(context, "entry", function_);
  start_ = llvm::BasicBlock::Create(context, "start", function_);
  entry_builder_.SetInsertPoint(entry_);
  builder_.SetInsertPoint(start_);
  const std::size_t operands = unit.operand_count();
  for (std::size_t o = 0; o < operands; ++o) {
    auto* at = entry_builder_.CreateConstInBoundsGEP1_64(pointer, function_->getArg(0), o);
    const char* name = o == 0 ? "out" : o <= unit.in.size() ? "in" : "carry";
    pointers_.push_back(entry_builder_.CreateLoad(pointer, at, name));
  }
  if (unit.ahead.lines > 0 || unit.ahead.lines_slot >= 0) {
    auto argument = [&](std::size_t o, const char* name) {
      llvm::Value* index = entry_builder_.getInt64(o);
      if (unit.ahead.lines_slot >= 0)  // without lines there is no such pointer
        index = entry_builder_.CreateSelect(
            entry_builder_.CreateICmpEQ(slot(unit.ahead.lines_slot), entry_builder_.getInt64(0)),
            entry_builder_.getInt64(0), index);
      auto* at = entry_builder_.CreateGEP(pointer, function_->getArg(0), index);
      return entry_builder_.CreateLoad(pointer, at, name);
    };
    ahead_at_ = argument(operands, "ahead");
    ahead_base_ = argument(operands + 1, "ahead.base");
  }
}

llvm::Value* UnitFrame::slot(int index) {
  llvm::Value*& value = slots_[index];
  if (!value) {
    auto* type = entry_builder_.getInt64Ty();
    auto* at = entry_builder_.CreateConstInBoundsGEP1_64(type, function_->getArg(1), index);
    value = entry_builder_.CreateLoad(type, at, "slot");
  }
  return value;
}

llvm::Value* UnitFrame::scale(int index, llvm::Value*& cached) {
  if (!cached) {
    auto* type = entry_builder_.getDoubleTy();
    auto* at = entry_builder_.CreateConstInBoundsGEP1_64(type, function_->getArg(2), index);
    cached = entry_builder_.CreateLoad(type, at);
    if (cached->getType() != element_) cached = entry_builder_.CreateFPTrunc(cached, element_);
  }
  return cached;
}

llvm::Value* UnitFrame::times(const Size& size, std::int64_t factor) {
  if (size.is_constant()) return builder_.getInt64(static_cast<std::uint64_t>(size.value * factor));
  llvm::Value*& product = products_[{size.slot, factor}];
  if (!product) {
    product = slot(size.slot);
    if (factor != 1)
      product = entry_builder_.CreateMul(
          product, entry_builder_.getInt64(static_cast<std::uint64_t>(factor)));
  }
  return product;
}

llvm::Value* UnitFrame::advance(llvm::Value* pointer, const Size& size, std::int64_t factor) {
  if (factor == 0 || size.is(0)) return pointer;
  return builder_.CreateGEP(element_, pointer, times(size, factor));
}

llvm::Value* UnitFrame::advance(llvm::Value* pointer, const Size& size, std::int64_t factor,
                                llvm::Value* count) {
  if (size.is(0)) return pointer;
  const bool is_one = size.is_constant() && size.value * factor == 1;
  return builder_.CreateGEP(element_, pointer,
                            is_one ? count : builder_.CreateMul(count, times(size, factor)));
}

llvm::Value* UnitFrame::gray_code(llvm::Value* number) {
  return builder_.CreateXor(number, builder_.CreateLShr(number, 1));
}

llvm::Value* UnitFrame::at_row(llvm::Value* pointer, const Size& stride, std::int64_t row) {
  if (row == 0 || stride.is_constant()) return advance(pointer, stride, row);
  const auto bytes = static_cast<std::int64_t>(element_->getPrimitiveSizeInBits() / 8);
  auto go = [&](llvm::Value* from, unsigned times_bits, std::int64_t factor) {
    return builder_.CreateGEP(builder_.getIntNTy(times_bits), from, times(stride, factor * bytes));
  };
  switch (row % kRowsByScale) {
    case 1:
      return go(group_of_rows(pointer, stride, row / kRowsByScale), 8, 1);
    case 2:
      return go(group_of_rows(pointer, stride, row / kRowsByScale), 16, 1);
    case 3:
      return go(group_of_rows(pointer, stride, row / kRowsByScale), 8, 3);
    default:
      return group_of_rows(pointer, stride, row / kRowsByScale);
  }
}

llvm::Value* UnitFrame::group_of_rows(llvm::Value* pointer, const Size& stride,
                                      std::int64_t group) {
  if (group == 0) return pointer;
  Group& known = groups_[{pointer, stride.slot, group}];
  const llvm::BasicBlock* block = builder_.GetInsertBlock();
  for (; block && block != known.block; block = block->getSinglePredecessor()) continue;
  if (block && known.start) return known.start;
  llvm::Value* before = group_of_rows(pointer, stride, group - 1);
  const auto bytes = static_cast<std::int64_t>(element_->getPrimitiveSizeInBits() / 8);
  llvm::Value* start = builder_.CreateGEP(builder_.getInt32Ty(), before, times(stride, bytes));
  groups_[{pointer, stride.slot, group}] = {start, builder_.GetInsertBlock()};
  return start;
}

int UnitFrame::lanes_of_line() const {
  return static_cast<int>(8 * kLineBytes / element_->getPrimitiveSizeInBits());
}

llvm::Value* UnitFrame::numbers() {
  if (numbers_) return numbers_;
  const int count = 2 * lanes_of_line();
  auto* number = builder_.getIntNTy(static_cast<unsigned>(element_->getPrimitiveSizeInBits()));
  std::vector<llvm::Constant*> all;
  for (int n = 0; n < count; ++n)
    all.push_back(llvm::ConstantInt::get(number, static_cast<std::uint64_t>(n)));
  auto* list = llvm::ConstantArray::get(llvm::ArrayType::get(number, all.size()), all);
  return numbers_ = new llvm::GlobalVariable(*function_->getParent(), list->getType(), true,
                                             llvm::GlobalValue::PrivateLinkage, list);
}

llvm::Value* UnitFrame::is_aligned() {
  return is_multiple(static_cast<std::uint64_t>(kLineBytes), aligned_);
}

llvm::Value* UnitFrame::is_on_element() {
  return is_multiple(element_->getPrimitiveSizeInBits() / 8, on_element_);
}

// Of the output's pointer, and a power of two.
llvm::Value* UnitFrame::is_multiple(std::uint64_t bytes, llvm::Value*& known) {
  if (!known) {
    auto* type = entry_builder_.getInt64Ty();
    auto* address = entry_builder_.CreatePtrToInt(pointers_[0], type);
    known = entry_builder_.CreateICmpEQ(
        entry_builder_.CreateAnd(address, entry_builder_.getInt64(bytes - 1)),
        entry_builder_.getInt64(0));
  }
  return known;
}

void UnitFrame::emit_if(llvm::Value* condition, const std::function<void()>& then,
                        const std::function<void()>& otherwise) {
  auto block = [&](const char* name) {
    return llvm::BasicBlock::Create(function_->getContext(), name, function_);
  };
  auto *yes = block("then"), *no = block("else"), *done = block("done");
  builder_.CreateCondBr(condition, yes, no);
  builder_.SetInsertPoint(yes);
  then();
  builder_.CreateBr(done);
  builder_.SetInsertPoint(no);
  otherwise();
  builder_.CreateBr(done);
  builder_.SetInsertPoint(done);
}

void UnitFrame::prefetch(llvm::Value* address, Into into) {
  // rw, locality and cache type, in the words of LLVM's language reference.
  const bool writes = into == Into::l1_to_write;
  builder_.CreateIntrinsic(llvm::Intrinsic::prefetch, {builder_.getPtrTy()},
                           {address, builder_.getInt32(writes), builder_.getInt32(writes ? 3 : 2),
                            builder_.getInt32(1)});
}

void UnitFrame::ask_ahead(int lines) {
  for (int line = 0; line < lines; ++line) ask_for_line(line);
  pass_lines(lines);
}

void UnitFrame::ask_for_line(int line) {
  auto* offset_type = builder_.getInt32Ty();
  auto* at = builder_.CreateConstGEP1_64(offset_type, ahead_at_, static_cast<std::uint64_t>(line));
  auto* offset = builder_.CreateSExt(builder_.CreateLoad(offset_type, at), builder_.getInt64Ty());
  prefetch(builder_.CreateGEP(builder_.getInt8Ty(), ahead_base_, offset), Into::l2);
}

void UnitFrame::pass_lines(int lines) {
  ahead_at_ = builder_.CreateConstGEP1_64(builder_.getInt32Ty(), ahead_at_,
                                          static_cast<std::uint64_t>(lines));
}

void UnitFrame::ask_ahead_by_slot(int index) {
  auto ask = [&](const Values&) {
    ask_ahead(1);
    return Values{};
  };
  emit_loop(Size{0, index}, {}, ask, Least::zero);
}

llvm::Value* UnitFrame::is_told(StoreMode mode) {
  llvm::Value*& told = told_[mode];
  if (!told) {
    auto* bit = entry_builder_.CreateAnd(slot(mode_slot_), entry_builder_.getInt64(mode));
    told = entry_builder_.CreateICmpNE(bit, entry_builder_.getInt64(0));
    if (mode == kStreams) told = entry_builder_.CreateAnd(told, is_aligned());
  }
  return told;
}

llvm::Value* UnitFrame::is_aligned_and(const Size& a, const Size& b, std::int64_t number) {
  llvm::Value* all = is_aligned();
  for (const Size& size : {a, b})
    if (size.is_constant() && size.value != number)
      all = entry_builder_.getFalse();
    else if (!size.is_constant())
      all = entry_builder_.CreateAnd(
          all, entry_builder_.CreateICmpEQ(
                   slot(size.slot), entry_builder_.getInt64(static_cast<std::uint64_t>(number))));
  return all;
}

llvm::Value* UnitFrame::lanes_before(int index, int first, int width) {
  llvm::Value*& mask = masks_[{index, first, width}];
  if (!mask) mask = compare_lanes(entry_builder_, slot(index), first, width, true);
  return mask;
}

llvm::Value* UnitFrame::lanes_before(llvm::Value* count, int first, int width, bool before) {
  return compare_lanes(builder_, count, first, width, before);
}

llvm::Value* UnitFrame::is_before(int index, int position) {
  return builder_.CreateICmpSGT(slot(index), builder_.getInt64(static_cast<unsigned>(position)));
}

Values UnitFrame::emit_loop(const Size& trips, Values carried, const LoopBody& body, Least least) {
  if (trips.is(0)) return carried;
  if (trips.is(1)) return body(carried);
  auto make = [&](const Values& in) { return loop(times(trips, 1), in, body); };
  if (trips.is_constant() || least == Least::one) return make(carried);
  return emit_unless_zero(trips.slot, std::move(carried), make);
}

Values UnitFrame::emit_trips(llvm::Value* trips, Values carried, const LoopBody& body) {
  return emit_unless_zero(trips, std::move(carried),
                          [&](const Values& in) { return loop(trips, in, body); });
}

void UnitFrame::stream(llvm::Value* vector, llvm::Value* where) {
  const llvm::Align align(vector->getType()->getPrimitiveSizeInBits() / 8);
  auto* store = builder_.CreateAlignedStore(vector, where, align);
  auto* one = llvm::ConstantAsMetadata::get(builder_.getInt32(1));
  store->setMetadata(llvm::LLVMContext::MD_nontemporal,
                     llvm::MDNode::get(builder_.getContext(), one));
}

Values UnitFrame::emit_unless_zero(llvm::Value* number, Values carried, const LoopBody& body) {
  auto* before = builder_.GetInsertBlock();
  auto* some = llvm::BasicBlock::Create(function_->getContext(), "some", function_);
  auto* done = llvm::BasicBlock::Create(function_->getContext(), "done", function_);
  builder_.CreateCondBr(builder_.CreateICmpEQ(number, builder_.getInt64(0)), done, some);
  builder_.SetInsertPoint(some);
  llvm::Value* const ahead = ahead_at_;
  Values next = body(carried);
  auto* last = builder_.GetInsertBlock();
  builder_.CreateBr(done);
  builder_.SetInsertPoint(done);
  auto merge = [&](llvm::Value* skipped, llvm::Value* made) -> llvm::Value* {
    if (skipped == made) return made;
    auto* phi = builder_.CreatePHI(made->getType(), 2);
    phi->addIncoming(skipped, before);
    phi->addIncoming(made, last);
    return phi;
  };
  for (std::size_t i = 0; i < next.size(); ++i) next[i] = merge(carried[i], next[i]);
  if (ahead) ahead_at_ = merge(ahead, ahead_at_);
  return next;
}

Values UnitFrame::loop(llvm::Value* trips, Values carried, const LoopBody& body) {
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto* loop = llvm::BasicBlock::Create(function_->getContext(), "loop", function_);
  builder_.CreateBr(loop);
  builder_.SetInsertPoint(loop);
  auto* left = builder_.CreatePHI(builder_.getInt64Ty(), 2, "left");
  left->addIncoming(trips, before);
  std::vector<llvm::PHINode*> phis;
  Values values;
  for (llvm::Value* value : carried) {
    auto* phi = builder_.CreatePHI(value->getType(), 2);
    phi->addIncoming(value, before);
    phis.push_back(phi);
    values.push_back(phi);
  }
  if (ahead_at_) {
    auto* phi = builder_.CreatePHI(builder_.getPtrTy(), 2, "ahead");
    phi->addIncoming(ahead_at_, before);
    phis.push_back(phi);
    ahead_at_ = phi;
  }
  Values next = body(values);
  if (ahead_at_) next.push_back(ahead_at_);
  llvm::Value* fewer = builder_.CreateSub(left, builder_.getInt64(1));
  llvm::BasicBlock* last = builder_.GetInsertBlock();
  left->addIncoming(fewer, last);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], last);
  auto* done = llvm::BasicBlock::Create(function_->getContext(), "done", function_);
  builder_.CreateCondBr(builder_.CreateICmpNE(fewer, builder_.getInt64(0)), loop, done);
  builder_.SetInsertPoint(done);
  if (ahead_at_) next.pop_back();
  return next;
}

void UnitFrame::finish() {
  builder_.CreateRetVoid();
  entry_builder_.CreateBr(start_);
}

}  // namespace einjit
