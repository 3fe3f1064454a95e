#include "unit_frame.hpp"

#include <llvm/IR/Function.h>

namespace einjit {
namespace {

llvm::Type* element_type(llvm::LLVMContext& context, DType type) {
  switch (type) {
    case DType::f32:
      return llvm::Type::getFloatTy(context);
    case DType::f64:
      return llvm::Type::getDoubleTy(context);
  }
  return nullptr;
}

}  // namespace

UnitFrame::UnitFrame(llvm::Module& module, const Unit& unit, const std::string& symbol)
    : entry_builder_(module.getContext()),
      builder_(module.getContext()),
      element_(element_type(module.getContext(), unit.dtype)) {
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
  for (std::size_t o = 0; o <= unit.in.size(); ++o) {
    auto* at = entry_builder_.CreateConstInBoundsGEP1_64(pointer, function_->getArg(0), o);
    pointers_.push_back(entry_builder_.CreateLoad(pointer, at, o ? "in" : "out"));
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

Values UnitFrame::emit_loop(const Size& trips, Values carried, const LoopBody& body) {
  if (trips.is(0)) return carried;
  if (trips.is(1)) return body(carried);
  llvm::BasicBlock* before = builder_.GetInsertBlock();
  auto* loop = llvm::BasicBlock::Create(function_->getContext(), "loop", function_);
  builder_.CreateBr(loop);
  builder_.SetInsertPoint(loop);
  auto* left = builder_.CreatePHI(builder_.getInt64Ty(), 2, "left");
  left->addIncoming(times(trips, 1), before);
  std::vector<llvm::PHINode*> phis;
  Values values;
  for (llvm::Value* value : carried) {
    auto* phi = builder_.CreatePHI(value->getType(), 2);
    phi->addIncoming(value, before);
    phis.push_back(phi);
    values.push_back(phi);
  }
  const Values next = body(values);
  llvm::Value* fewer = builder_.CreateSub(left, builder_.getInt64(1));
  llvm::BasicBlock* last = builder_.GetInsertBlock();
  left->addIncoming(fewer, last);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], last);
  auto* done = llvm::BasicBlock::Create(function_->getContext(), "done", function_);
  builder_.CreateCondBr(builder_.CreateICmpNE(fewer, builder_.getInt64(0)), loop, done);
  builder_.SetInsertPoint(done);
  return next;
}

void UnitFrame::finish() {
  builder_.CreateRetVoid();
  entry_builder_.CreateBr(start_);
}

}  // namespace einjit
