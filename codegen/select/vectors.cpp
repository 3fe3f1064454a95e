// Loads, stores and arithmetic of floating-point values.
#include <llvm/IR/Constants.h>
#include <llvm/IR/Function.h>

#include "selector.hpp"

namespace einjit {

const llvm::Value* Selector::splat_of(const llvm::Value* value) {
  const auto* shuffle = llvm::dyn_cast<llvm::ShuffleVectorInst>(value);
  if (!shuffle || !shuffle->isZeroEltSplat()) return nullptr;
  const auto* insert = llvm::dyn_cast<llvm::InsertElementInst>(shuffle->getOperand(0));
  return insert ? insert->getOperand(1) : nullptr;
}

Selector::Kind Selector::kind_of(const llvm::Type* type) {
  Kind kind;
  kind.is_f64 = type->getScalarType()->isDoubleTy();
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  if (!vector) return kind;
  kind.lanes = static_cast<int>(vector->getNumElements());
  const int bytes = kind.lanes * (kind.is_f64 ? 8 : 4);
  kind.shape = bytes > 32 ? Shape::bits512 : bytes > 16 ? Shape::bits256 : Shape::bits128;
  return kind;
}

// A load, or a broadcast of one, is folded into its only user if nothing is written between; of two
// that a product has, or that are put side by side, the second.
bool Selector::may_be_folded(const llvm::Instruction& value) const {
  if (!value.hasOneUse()) return false;
  const auto* user = llvm::cast<llvm::Instruction>(*value.user_begin());
  if (user->getParent() != value.getParent()) return false;
  if (user->getOpcode() == llvm::Instruction::FAdd || user->getOpcode() == llvm::Instruction::FMul)
    return true;
  if (llvm::isa<llvm::InsertElementInst>(user)) return !value.getType()->isVectorTy();
  if (llvm::isa<llvm::ShuffleVectorInst>(user) && llvm::isa<llvm::LoadInst>(value))
    return user->getOperand(1) == &value && user->getType() != value.getType();
  const auto* call = llvm::dyn_cast<llvm::IntrinsicInst>(user);
  if (!call || call->getIntrinsicID() != llvm::Intrinsic::fma) return false;
  const llvm::Value* second = call->getArgOperand(1);
  return second == &value || (call->getArgOperand(0) == &value &&
                              !(llvm::isa<llvm::LoadInst>(second) && second->hasOneUse()));
}

// Where the value lies, if it waits to be read from there.
std::optional<Selector::Address> Selector::folded(const llvm::Value* value, bool is_broadcast) {
  if (!waiting_.contains(value)) return std::nullopt;
  const auto* load = llvm::dyn_cast<llvm::LoadInst>(value);
  if ((load == nullptr) != is_broadcast) return std::nullopt;
  if (!load) load = llvm::cast<llvm::LoadInst>(splat_of(value));
  waiting_.remove(value);
  return address_of(load->getPointerOperand());
}

Selector::Register Selector::load_waiting(const llvm::Value* value) {
  waiting_.remove(value);
  const bool is_broadcast = !llvm::isa<llvm::LoadInst>(value);
  const auto* load = llvm::cast<llvm::LoadInst>(is_broadcast ? splat_of(value) : value);
  const Register loaded = emit(is_broadcast ? Op::broadcast_load : Op::load,
                               kind_of(value->getType()), address_of(load->getPointerOperand()));
  define(*value, loaded);
  return loaded;
}

void Selector::load_all_waiting() {
  while (!waiting_.empty()) load_waiting(waiting_.front());
}

void Selector::select_load(const llvm::LoadInst& load) {
  const llvm::Type* type = load.getType();
  const llvm::Value* pointer = load.getPointerOperand();
  if (type->isPointerTy() || type->isIntegerTy(64))
    return define(load, emit(Plain::load64, address_of(pointer)));
  if (type->isIntegerTy(32)) return define(load, emit(Plain::load32, address_of(pointer)));
  if (!type->isFPOrFPVectorTy()) return void(unknown());
  const Kind kind = kind_of(type);
  // Half a register is loaded as one element of twice the size.
  if (kind.is_half_a_register())
    return define(load, resized(emit(Op::load, {true, 1, Shape::scalar}, address_of(pointer)),
                                {true, 1, Shape::scalar}, kind));
  if (may_be_folded(load)) {
    waiting_.insert(&load);
    return;
  }
  define(load, emit(Op::load, kind, address_of(pointer)));
}

void Selector::select_store(const llvm::StoreInst& store) {
  load_all_waiting();
  const llvm::Value* value = store.getValueOperand();
  if (!value->getType()->isFPOrFPVectorTy()) return void(unknown());
  const Kind kind = kind_of(value->getType());
  const bool streams = store.hasMetadata(llvm::LLVMContext::MD_nontemporal);
  const Address where = address_of(store.getPointerOperand());
  const Register stored = of(value);
  if (kind.is_half_a_register()) {
    constexpr Kind kDouble{true, 1, Shape::scalar};
    emit(Op::store, kDouble, where, resized(stored, kind, kDouble));
    return;
  }
  emit(streams && kind.shape != Shape::scalar ? Op::stream : Op::store, kind, where, stored);
}

void Selector::select_masked_load(const llvm::CallInst& call) {
  const auto* otherwise = llvm::dyn_cast<llvm::Constant>(call.getArgOperand(3));
  if (!otherwise || !otherwise->isNullValue()) return void(unknown());
  const Kind kind = kind_of(call.getType());
  const Register mask = mask_for(call.getArgOperand(2), kind);
  define(call, emit(Op::load_masked, kind, mask, address_of(call.getArgOperand(0))));
}

void Selector::select_masked_store(const llvm::CallInst& call) {
  load_all_waiting();
  const llvm::Value* value = call.getArgOperand(0);
  const Kind kind = kind_of(value->getType());
  const Register mask = mask_for(call.getArgOperand(3), kind), stored = of(value);
  emit(Op::store_masked, kind, address_of(call.getArgOperand(1)), mask, stored);
}

std::optional<Selector::OneRead> Selector::one_read(const llvm::Value* a, const llvm::Value* b,
                                                    const Kind& kind, Op with_load,
                                                    Op with_broadcast) {
  if (a == b) return std::nullopt;
  for (auto [other, read] : {std::pair{a, b}, {b, a}})
    for (Op op : {with_load, with_broadcast}) {
      if (instructions_.find(op, kind.is_f64, kind.shape) == 0) continue;
      if (const auto from = folded(read, op == with_broadcast)) return OneRead{other, op, *from};
    }
  return std::nullopt;
}

void Selector::select_arithmetic(const llvm::BinaryOperator& operation) {
  const bool is_sum = operation.getOpcode() == llvm::Instruction::FAdd;
  if (!is_sum && operation.getOpcode() != llvm::Instruction::FMul) return void(unknown());
  const Kind kind = kind_of(operation.getType());
  const llvm::Value *a = operation.getOperand(0), *b = operation.getOperand(1);
  const auto read = is_sum ? one_read(a, b, kind, Op::add_load, Op::add_broadcast)
                           : one_read(a, b, kind, Op::multiply_load, Op::multiply_broadcast);
  if (read) return define(operation, emit(read->op, kind, of(read->other), read->from));
  const Register first = of(a), second = of(b);
  define(operation, emit(is_sum ? Op::add : Op::multiply, kind, first, second));
}

void Selector::select_fma(const llvm::CallInst& call) {
  const Kind kind = kind_of(call.getType());
  const llvm::Value *a = call.getArgOperand(0), *b = call.getArgOperand(1);
  const Register sum = of(call.getArgOperand(2));
  if (const auto read = one_read(a, b, kind, Op::fma_load, Op::fma_broadcast))
    return define(call, emit(read->op, kind, sum, of(read->other), read->from));
  const Register first = of(a), second = of(b);
  define(call, emit(Op::fma, kind, sum, first, second));
}

// Upper half onto lower half, until one lane is left: the order LLVM's own expansion has.
void Selector::select_sum_of_lanes(const llvm::CallInst& call) {
  const auto* start = llvm::dyn_cast<llvm::ConstantFP>(call.getArgOperand(0));
  if (!start || !start->isZero() || !start->isNegative() || !call.hasAllowReassoc())
    return void(unknown());
  const llvm::Value* vector = call.getArgOperand(1);
  Kind kind = kind_of(vector->getType());
  Register sum = of(vector);
  while (kind.shape > Shape::bits128) {
    const Register upper = emit(Op::upper_half, kind, sum, std::int64_t{1});
    Kind half = kind;
    half.lanes /= 2;
    half.shape = static_cast<Shape>(static_cast<int>(kind.shape) - 1);
    sum = emit(Op::add, half, resized(sum, kind, half), upper);
    kind = half;
  }
  if (!kind.is_f64 && kind.lanes == 4) {
    const Register upper = emit(Op::unpack_high, {true, 2, Shape::bits128}, sum, sum);
    sum = emit(Op::add, kind, sum, upper);
  }
  // The second lane comes first: into one of its own.
  const Kind scalar{kind.is_f64, 1, Shape::scalar};
  const Register second = kind.is_f64 ? emit(Op::unpack_high, kind, sum, sum)
                                      : emit(Op::unpack_low, kind, sum, sum);  // a0 a0 a1 a1
  Register next = second;
  if (!kind.is_f64) next = emit(Op::unpack_high, {true, 2, Shape::bits128}, second, second);
  define(call, emit(Op::add, scalar, resized(sum, kind, scalar), resized(next, kind, scalar)));
}

void Selector::select_prefetch(const llvm::CallInst& call) {
  const auto argument = [&](unsigned index) {
    return llvm::cast<llvm::ConstantInt>(call.getArgOperand(index))->getZExtValue();
  };
  const Plain plain = argument(1)        ? Plain::prefetch_to_write
                      : argument(2) == 3 ? Plain::prefetch_l1
                                         : Plain::prefetch_l2;
  if (argument(2) < 2) return void(unknown());
  emit(plain, address_of(call.getArgOperand(0)));
}

}  // namespace einjit
