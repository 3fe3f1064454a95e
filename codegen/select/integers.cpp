// Integers, truth values and addresses.
#include <llvm/IR/Constants.h>
#include <llvm/IR/DataLayout.h>
#include <llvm/IR/Module.h>

#include "selector.hpp"

namespace einjit {
namespace {

bool fits_32(std::int64_t value) { return value >= INT32_MIN && value <= INT32_MAX; }

// x86's condition code; -1 if there is none here.
int condition_of(llvm::ICmpInst::Predicate predicate) {
  switch (predicate) {
    case llvm::ICmpInst::ICMP_EQ:
      return 4;
    case llvm::ICmpInst::ICMP_NE:
      return 5;
    case llvm::ICmpInst::ICMP_SLT:
      return 12;
    case llvm::ICmpInst::ICMP_SGE:
      return 13;
    case llvm::ICmpInst::ICMP_SLE:
      return 14;
    case llvm::ICmpInst::ICMP_SGT:
      return 15;
    default:
      return -1;
  }
}

// The operand through which an instruction reads or writes memory; null if it does not.
const llvm::Value* pointer_of(const llvm::User* user) {
  if (const auto* load = llvm::dyn_cast<llvm::LoadInst>(user)) return load->getPointerOperand();
  if (const auto* store = llvm::dyn_cast<llvm::StoreInst>(user)) return store->getPointerOperand();
  const auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(user);
  if (!call) return nullptr;
  switch (call->getIntrinsicID()) {
    case llvm::Intrinsic::masked_load:
    case llvm::Intrinsic::prefetch:
      return call->getArgOperand(0);
    case llvm::Intrinsic::masked_store:
      return call->getArgOperand(1);
    default:
      return nullptr;
  }
}

// Bytes from the pointer's base, if they are fixed.
std::optional<std::int64_t> fixed_offset(const llvm::GetElementPtrInst& pointer) {
  const auto* index = llvm::dyn_cast<llvm::ConstantInt>(pointer.getOperand(1));
  if (!index || pointer.getNumIndices() != 1) return std::nullopt;
  const auto& layout = pointer.getModule()->getDataLayout();
  return index->getSExtValue() *
         static_cast<std::int64_t>(layout.getTypeAllocSize(pointer.getSourceElementType()));
}

}  // namespace

// Whether nothing needs the pointer in a register: all users fold it into their addresses. A moving
// index is kept in its block, lest it holds a register for long.
bool Selector::is_in_addresses(const llvm::GetElementPtrInst& pointer) const {
  const std::optional<std::int64_t> offset = fixed_offset(pointer);
  if (offset && !fits_32(*offset)) return false;
  for (const llvm::User* user : pointer.users()) {
    const auto* instruction = llvm::cast<llvm::Instruction>(user);
    if (!offset && instruction->getParent() != pointer.getParent()) return false;
    if (const auto* next = llvm::dyn_cast<llvm::GetElementPtrInst>(user)) {
      if (!fixed_offset(*next) || !is_in_addresses(*next)) return false;
    } else if (pointer_of(user) != &pointer) {
      return false;
    }
  }
  return true;
}

Selector::Address Selector::address_of(const llvm::Value* pointer) {
  const auto* made = llvm::dyn_cast<llvm::GetElementPtrInst>(pointer);
  if (!made || registers_.contains(pointer)) return {of(pointer), {}, 1, 0, -1};
  if (const std::optional<std::int64_t> offset = fixed_offset(*made)) {
    Address address = address_of(made->getPointerOperand());
    if (!fits_32(address.offset + *offset)) {
      unknown();
      return address;
    }
    address.offset += *offset;
    return address;
  }
  Address address = address_of(made->getPointerOperand());
  const auto& layout = made->getModule()->getDataLayout();
  const auto scale =
      static_cast<std::int64_t>(layout.getTypeAllocSize(made->getSourceElementType()));
  if (address.index) {  // one index only
    address = {emit(Plain::address, address), {}, 1, 0, -1};
  }
  address.index = of(made->getOperand(1));
  address.scale = scale;
  return address;
}

void Selector::select_pointer(const llvm::GetElementPtrInst& pointer) {
  if (pointer.getNumIndices() != 1) return void(unknown());
  if (pointer.getType()->isVectorTy()) return select_places(pointer);
  if (is_in_addresses(pointer)) return;
  const std::optional<std::int64_t> offset = fixed_offset(pointer);
  if (offset && !fits_32(*offset)) {
    Address address = address_of(pointer.getPointerOperand());
    if (address.index) address = {emit(Plain::address, address), {}, 1, 0, -1};
    address.index = constant_integer(*offset);
    return define(pointer, emit(Plain::address, address));
  }
  define(pointer, emit(Plain::address, address_of(&pointer)));
}

void Selector::select_integer(const llvm::BinaryOperator& operation) {
  const auto* fixed = llvm::dyn_cast<llvm::ConstantInt>(operation.getOperand(1));
  const llvm::Type* type = operation.getType();
  if (type->isVectorTy() && type->getScalarType()->isIntegerTy(1) &&
      operation.getOpcode() == llvm::Instruction::And)
    return select_mask_and(operation);
  if (type->isIntegerTy(1) && operation.getOpcode() == llvm::Instruction::And)
    return define(operation,
                  emit(Plain::and_bool, of(operation.getOperand(0)), of(operation.getOperand(1))));
  if (type->isVectorTy() && type->getScalarType()->isIntegerTy(64))
    return select_offsets(operation);
  if (!type->isIntegerTy(64)) return void(unknown());
  if (waits_for_branch(operation)) return;
  const bool is_short = fixed && fits_32(fixed->getSExtValue());
  const Register first = of(operation.getOperand(0));
  switch (operation.getOpcode()) {
    case llvm::Instruction::Add:
      return define(operation, emit(Plain::add, first, of(operation.getOperand(1))));
    case llvm::Instruction::Mul:
      if (is_short)
        return define(operation, emit(Plain::multiply_constant, first, fixed->getSExtValue()));
      return define(operation, emit(Plain::multiply, first, of(operation.getOperand(1))));
    case llvm::Instruction::Sub:
      if (is_short)
        return define(operation, emit(Plain::subtract_constant, first, fixed->getSExtValue()));
      return define(operation, emit(Plain::subtract, first, of(operation.getOperand(1))));
    case llvm::Instruction::And:
      if (is_short)
        return define(operation, emit(Plain::and_constant, first, fixed->getSExtValue()));
      break;
    case llvm::Instruction::Xor:
      return define(operation, emit(Plain::exclusive_or, first, of(operation.getOperand(1))));
    case llvm::Instruction::LShr:
      if (is_short)
        return define(operation, emit(Plain::shift_right, first, fixed->getSExtValue()));
      break;
    default:
      break;
  }
  unknown();
}

// Comparisons that only the branch at their block's end reads are made there, as are the counters
// they compare with zero.
bool Selector::waits_for_branch(const llvm::Instruction& instruction) const {
  const llvm::Instruction* end = instruction.getParent()->getTerminator();
  if (llvm::isa<llvm::ICmpInst>(instruction))
    return instruction.hasOneUse() && *instruction.user_begin() == end;
  if (instruction.getOpcode() != llvm::Instruction::Sub) return false;
  const auto* fixed = llvm::dyn_cast<llvm::ConstantInt>(instruction.getOperand(1));
  if (!fixed || !fits_32(fixed->getSExtValue())) return false;
  bool is_counter = false;
  for (const llvm::User* user : instruction.users()) {
    if (llvm::isa<llvm::PHINode>(user)) continue;
    const auto* compare = llvm::dyn_cast<llvm::ICmpInst>(user);
    if (!compare || compare->getParent() != instruction.getParent() || !compare->isEquality() ||
        !waits_for_branch(*compare))
      return false;
    const auto* zero = llvm::dyn_cast<llvm::ConstantInt>(compare->getOperand(1));
    if (!zero || !zero->isZero()) return false;
    is_counter = true;
  }
  return is_counter;
}

// Sets the flags; the condition code that says so.
unsigned Selector::compare_now(const llvm::ICmpInst& compare) {
  const int condition = condition_of(compare.getPredicate());
  if (condition < 0 || !compare.getOperand(0)->getType()->isIntegerTy(64)) {
    unknown();
    return 0;
  }
  if (const auto* counter = llvm::dyn_cast<llvm::BinaryOperator>(compare.getOperand(0));
      counter && waits_for_branch(*counter) && waits_for_branch(compare)) {
    const auto* step = llvm::cast<llvm::ConstantInt>(counter->getOperand(1));
    const Register before = of(counter->getOperand(0));
    define(*counter, emit(Plain::subtract_constant, before, step->getSExtValue()));
    return static_cast<unsigned>(condition);
  }
  const Register first = of(compare.getOperand(0));
  const auto* fixed = llvm::dyn_cast<llvm::ConstantInt>(compare.getOperand(1));
  if (fixed && fixed->isZero())
    emit(Plain::test, first, first);
  else if (fixed && fits_32(fixed->getSExtValue()))
    emit(Plain::compare_constant, first, fixed->getSExtValue());
  else
    emit(Plain::compare, first, of(compare.getOperand(1)));
  return static_cast<unsigned>(condition);
}

void Selector::select_compare(const llvm::ICmpInst& compare) {
  if (compare.getType()->isVectorTy()) return select_mask(compare);
  if (waits_for_branch(compare)) return;
  const unsigned condition = compare_now(compare);
  define(compare, emit(Plain::set_bool, std::int64_t{condition}));
}

void Selector::select_cast(const llvm::CastInst& cast) {
  const llvm::Value* from = cast.getOperand(0);
  switch (cast.getOpcode()) {
    case llvm::Instruction::PtrToInt:
    case llvm::Instruction::IntToPtr:
    case llvm::Instruction::BitCast:
      return define(cast, of(from));
    case llvm::Instruction::Trunc: {
      const auto* type = class_of(names_.get(instructions_.find(Plain::load32)), 0);
      if (!cast.getType()->isIntegerTy(32)) break;
      return define(cast, copy(of(from), type, instructions_.low32()));
    }
    case llvm::Instruction::SExt:
      if (!from->getType()->isIntegerTy(32)) break;
      return define(cast, emit(Plain::extend32, of(from)));
    case llvm::Instruction::FPTrunc: {
      if (!from->getType()->isDoubleTy()) break;
      const Register wide = of(from);
      return define(cast, emit(Plain::narrow, undefined(class_of(cast.getType())), wide));
    }
    default:
      break;
  }
  unknown();
}

void Selector::select_choice(const llvm::SelectInst& select) {
  const llvm::Value *condition = select.getCondition(), *yes = select.getTrueValue(),
                    *no = select.getFalseValue();
  if (condition->getType()->isVectorTy()) {
    const Kind kind = kind_of(select.getType());
    const Register mask = mask_for(condition, kind), if_no = of(no), if_yes = of(yes);
    return define(select, instructions_.is_wide() ? emit(Op::blend, kind, mask, if_no, if_yes)
                                                  : emit(Op::blend, kind, if_no, if_yes, mask));
  }
  if (!select.getType()->isIntegerTy(64) && !select.getType()->isPointerTy())
    return void(unknown());
  const Register is_yes = of(condition), if_yes = of(yes), if_no = of(no);
  emit(Plain::test_bool, is_yes, is_yes);
  define(select, emit(Plain::choose, if_no, if_yes, std::int64_t{5}));
}

}  // namespace einjit
