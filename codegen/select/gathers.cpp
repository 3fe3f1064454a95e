// Elements that do not lie side by side.
#include <llvm/IR/Constants.h>
#include <llvm/IR/DataLayout.h>
#include <llvm/IR/Module.h>

#include <algorithm>

#include "selector.hpp"

namespace einjit {
namespace {

constexpr int kLeastOffsets = 4, kMostOffsets = 8;  // in a register of 256 or 512 bits

// A constant vector of 64-bit integers, in as many registers as it needs; nothing if it is none.
std::vector<llvm::Constant*> parts_of(const llvm::Value* value) {
  const auto* vector = llvm::dyn_cast<llvm::Constant>(value);
  if (!vector) return {};
  const auto lanes = llvm::cast<llvm::FixedVectorType>(value->getType())->getNumElements();
  std::vector<llvm::Constant*> parts;
  for (unsigned first = 0; first < lanes; first += kMostOffsets) {
    std::vector<std::uint64_t> numbers;
    for (unsigned l = first; l < std::min(lanes, first + kMostOffsets); ++l) {
      const auto* number = llvm::dyn_cast<llvm::ConstantInt>(vector->getAggregateElement(l));
      if (!number) return {};
      numbers.push_back(number->getZExtValue());
    }
    numbers.resize(std::max<std::size_t>(numbers.size(), kLeastOffsets), 0);
    parts.push_back(llvm::ConstantDataVector::get(value->getContext(), numbers));
  }
  return parts;
}

Shape shape_of(const llvm::Constant* part) {
  const auto lanes = llvm::cast<llvm::FixedVectorType>(part->getType())->getNumElements();
  return lanes == kMostOffsets ? Shape::bits512 : Shape::bits256;
}

}  // namespace

// A stride times the number of each lane.
void Selector::select_offsets(const llvm::BinaryOperator& product) {
  const llvm::Value* stride = splat_of(product.getOperand(0));
  const std::vector<llvm::Constant*> parts = parts_of(product.getOperand(1));
  if (product.getOpcode() != llvm::Instruction::Mul || !stride || parts.empty())
    return void(unknown());
  const Shape shape = shape_of(parts.front());
  const Register all = emit(instructions_.spread_offsets(shape), of(stride));
  for (const llvm::Constant* part : parts) {
    const Register numbers = emit(Op::load, Kind{true, kLeastOffsets, shape}, in_pool(part));
    offsets_[&product].push_back(emit(instructions_.multiply_offsets(shape), all, numbers));
  }
}

void Selector::select_places(const llvm::GetElementPtrInst& pointers) {
  const auto& layout = pointers.getModule()->getDataLayout();
  Places places;
  places.base = address_of(pointers.getPointerOperand());
  if (places.base.index) places.base = {emit(Plain::address, places.base), {}, 1, 0, -1};
  places.base.scale =
      static_cast<std::int64_t>(layout.getTypeAllocSize(pointers.getSourceElementType()));
  const llvm::Value* index = pointers.getOperand(1);
  if (const auto known = offsets_.find(index); known != offsets_.end()) {
    places.offsets = known->second;
  } else {
    for (const llvm::Constant* part : parts_of(index))
      places.offsets.push_back(
          emit(Op::load, Kind{true, kLeastOffsets, shape_of(part)}, in_pool(part)));
  }
  if (places.offsets.empty()) return void(unknown());
  places_[&pointers] = std::move(places);
}

// The most that one instruction moves: eight elements.
Selector::Kind Selector::part_of(const Kind& kind) const {
  if (kind.lanes <= kMostOffsets) return kind;
  return {kind.is_f64, kMostOffsets, Shape::bits256};
}

Selector::Address Selector::place(const Places& places, std::size_t part, const Kind& kind) {
  Address address = places.base;
  address.index = places.offsets[part];
  // Two elements of 64 bits have their offsets in 128.
  if (kind.is_f64 && kind.lanes == 2)
    address.index = resized(address.index, {true, 4, Shape::bits256}, {true, 2, Shape::bits128});
  return address;
}

Selector::Register Selector::gather(const Kind& kind, const Address& from, Register mask) {
  const Kind offsets{
      true, kind.lanes,
      kind.is_f64 ? kind.shape : static_cast<Shape>(static_cast<int>(kind.shape) + 1)};
  const unsigned opcode = instructions_.find(Op::gather, kind.is_f64, offsets.shape);
  if (opcode == 0) return unknown();
  // Besides the elements it leaves a mask of those that are still to come.
  const llvm::MCInstrDesc& description = names_.get(opcode);
  const Register result = registers().createVirtualRegister(class_of(description, 0));
  const Register left = registers().createVirtualRegister(class_of(description, 1));
  const Register zero = emit(Op::zero, kind);
  auto* instruction = function_.CreateMachineInstr(description, {});
  llvm::MachineInstrBuilder builder(function_, instruction);
  builder.addDef(result).addDef(left);
  add(builder, zero);
  add(builder, mask);
  add(builder, from);
  block_->insert(block_->end(), instruction);
  return result;
}

void Selector::select_gather(const llvm::CallInst& call) {
  const auto places = places_.find(call.getArgOperand(0));
  const auto* otherwise = llvm::dyn_cast<llvm::Constant>(call.getArgOperand(3));
  if (places == places_.end() || !otherwise || !otherwise->isNullValue()) return void(unknown());
  const Kind kind = kind_of(call.getType()), part = part_of(kind);
  const Register mask = this->mask(call.getArgOperand(2));
  const Register low = gather(part, place(places->second, 0, part), mask);
  if (kind.lanes == part.lanes) return define(call, low);
  const Register rest = emit(Plain::shift_mask, mask, std::int64_t{kMostOffsets});
  const Register high = gather(part, place(places->second, 1, part), rest);
  define(call, emit(Op::join_halves, kind, resized(low, part, kind), high, std::int64_t{1}));
}

void Selector::select_scatter(const llvm::CallInst& call) {
  load_all_waiting();
  const auto places = places_.find(call.getArgOperand(1));
  if (places == places_.end()) return void(unknown());
  const llvm::Value* value = call.getArgOperand(0);
  const Kind kind = kind_of(value->getType()), part = part_of(kind);
  const Shape shape =
      part.is_f64 ? part.shape : static_cast<Shape>(static_cast<int>(part.shape) + 1);
  const unsigned opcode = instructions_.find(Op::scatter, part.is_f64, shape);
  const Register mask = this->mask(call.getArgOperand(3)), stored = of(value);
  emit(opcode, place(places->second, 0, part), mask, resized(stored, kind, part));
  if (kind.lanes == part.lanes) return;
  const Register rest = emit(Plain::shift_mask, mask, std::int64_t{kMostOffsets});
  const Register high = emit(Op::upper_half, kind, stored, std::int64_t{1});
  emit(opcode, place(places->second, 1, part), rest, high);
}

}  // namespace einjit
