// Lanes that change places.
#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/CodeGen/TargetRegisterInfo.h>
#include <llvm/IR/Constants.h>

#include <algorithm>

#include "selector.hpp"

namespace einjit {
namespace {

using Mask = llvm::ArrayRef<int>;

constexpr int kLaneBytes = 16;

// Whether a mask asks for `from(i)` everywhere, or for anything.
template <class From>
bool is_like(Mask mask, const From& from) {
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask[i] >= 0 && mask[i] != from(static_cast<int>(i))) return false;
  return true;
}

// With -1 for lanes that may hold anything.
std::vector<int> mask_of(const llvm::ShuffleVectorInst& shuffle) {
  std::vector<int> mask(shuffle.getShuffleMask().begin(), shuffle.getShuffleMask().end());
  const auto* type = llvm::cast<llvm::FixedVectorType>(shuffle.getOperand(0)->getType());
  const int lanes = static_cast<int>(type->getNumElements());
  for (int& from : mask)
    if (llvm::isa<llvm::UndefValue>(shuffle.getOperand(from >= lanes))) from = -1;
  return mask;
}

bool is_splat_of_first(const llvm::User* user) {
  const auto* shuffle = llvm::dyn_cast<llvm::ShuffleVectorInst>(user);
  return shuffle && shuffle->isZeroEltSplat();
}

}  // namespace

// A scalar in the first lane: a splat takes it from where it is.
void Selector::select_insert(const llvm::InsertElementInst& insert) {
  const auto* at = llvm::dyn_cast<llvm::ConstantInt>(insert.getOperand(2));
  if (!llvm::isa<llvm::PoisonValue>(insert.getOperand(0)) || !at || !at->isZero())
    return void(unknown());
  if (std::ranges::all_of(insert.users(), is_splat_of_first)) return;
  if (!insert.getType()->isFPOrFPVectorTy()) return void(unknown());
  const Kind kind = kind_of(insert.getType());
  define(insert, resized(of(insert.getOperand(1)), {kind.is_f64, 1, Shape::scalar}, kind));
}

void Selector::select_extract(const llvm::ExtractElementInst& extract) {
  const auto* at = llvm::dyn_cast<llvm::ConstantInt>(extract.getIndexOperand());
  if (!at || !at->isZero() || !extract.getType()->isFloatingPointTy()) return void(unknown());
  const Kind kind = kind_of(extract.getVectorOperandType());
  define(extract, resized(of(extract.getVectorOperand()), kind, {kind.is_f64, 1, Shape::scalar}));
}

void Selector::select_shuffle(const llvm::ShuffleVectorInst& shuffle) {
  const llvm::Type* type = shuffle.getType();
  if (const auto* insert = llvm::dyn_cast<llvm::InsertElementInst>(shuffle.getOperand(0));
      insert && shuffle.isZeroEltSplat()) {
    const llvm::Value* scalar = insert->getOperand(1);
    if (type->getScalarType()->isIntegerTy(1))
      return define(shuffle,
                    mask_of_bool(of(scalar), static_cast<int>(shuffle.getShuffleMask().size())));
    if (type->getScalarType()->isIntegerTy()) return;  // their users look at the scalar
    if (!type->isFPOrFPVectorTy()) return void(unknown());
    if (waiting_.contains(scalar) && insert->hasOneUse() &&
        shuffle.getParent() == insert->getParent()) {
      // The load's own wait ends, its broadcast's may begin.
      waiting_.remove(scalar);
      waiting_.insert(&shuffle);
      if (!may_be_folded(shuffle)) load_waiting(&shuffle);
      return;
    }
    const Kind kind = kind_of(type), one{kind.is_f64, 4, Shape::bits128};
    const Register low = resized(of(scalar), {kind.is_f64, 1, Shape::scalar}, one);
    return define(shuffle, emit(Op::broadcast, kind, low));
  }
  if (!type->isFPOrFPVectorTy()) return void(unknown());
  const Kind kind = kind_of(type), from = kind_of(shuffle.getOperand(0)->getType());
  if (select_join(shuffle, from, kind)) return;
  if (from.lanes != kind.lanes) {
    if (!is_like(mask_of(shuffle), [](int i) { return i; })) return void(unknown());
    return define(shuffle, resized(of(shuffle.getOperand(0)), from, kind));
  }
  if (select_unpack(shuffle, kind) || select_lanes(shuffle, kind)) return;
  select_permute(shuffle, kind);
}

// The same first lanes in a register of another size.
Selector::Register Selector::resized(Register reg, const Kind& from, const Kind& to) {
  if (!reg) return unknown();
  auto class_for = [&](const Kind& kind) {
    const unsigned load = instructions_.find(Op::load, kind.is_f64, kind.shape);
    return load ? class_of(names_.get(load), 0) : nullptr;
  };
  const auto* wanted = class_for(to);
  if (!wanted) return unknown();
  if (from.shape == to.shape) return reg;
  auto part_of = [&](Shape shape) {
    return shape == Shape::bits256 ? instructions_.low256() : instructions_.low128();
  };
  const bool is_wide = from.shape > Shape::bits128;
  if (to.shape < from.shape) {
    if (!is_wide) return copy(reg, wanted);  // a scalar is the low lane of 128 bits
    const Kind low{to.is_f64, 2, Shape::bits128};
    if (to.shape == Shape::scalar)
      return copy(copy(reg, class_for(low), instructions_.low128()), wanted);
    return copy(reg, wanted, part_of(to.shape));
  }
  if (to.shape == Shape::bits128) return copy(reg, wanted);
  Register low = reg;
  if (from.shape == Shape::scalar) low = copy(reg, class_for({to.is_f64, 2, Shape::bits128}));
  const Register rest = undefined(wanted), made = registers().createVirtualRegister(wanted);
  llvm::BuildMI(block_, {}, names_.get(llvm::TargetOpcode::INSERT_SUBREG), made)
      .addReg(rest)
      .addReg(low)
      .addImm(part_of(from.shape));
  return made;
}

// All of the first source, then all of the second.
bool Selector::select_join(const llvm::ShuffleVectorInst& shuffle, const Kind& from,
                           const Kind& to) {
  const llvm::Value *low = shuffle.getOperand(0), *high = shuffle.getOperand(1);
  if (to.lanes != 2 * from.lanes || llvm::isa<llvm::UndefValue>(high) ||
      !is_like(mask_of(shuffle), [](int i) { return i; }))
    return false;
  const Register widened = resized(of(low), from, to);
  constexpr std::int64_t kUpper = 1;
  if (const auto address = folded(high, false))
    define(shuffle, emit(Op::join_halves_load, to, widened, *address, kUpper));
  else
    define(shuffle, emit(Op::join_halves, to, widened, of(high), kUpper));
  return true;
}

// Elements of both sources in turn, group by group, within lanes of 128 bits.
bool Selector::select_unpack(const llvm::ShuffleVectorInst& shuffle, const Kind& kind) {
  const int bytes = kind.is_f64 ? 8 : 4, lane = kLaneBytes / bytes;
  for (int group_bytes = bytes; group_bytes <= 8; group_bytes *= 2)
    for (bool high : {false, true}) {
      if (high && kind.lanes < lane) continue;  // half a register has no upper half
      const int group = group_bytes / bytes;
      auto from = [&](int i) {
        const int at = i % lane, pair = at / (2 * group), within = at % (2 * group);
        const int source = i - at + (high ? lane / 2 : 0) + pair * group + within % group;
        return within < group ? source : kind.lanes + source;
      };
      if (!is_like(mask_of(shuffle), from)) continue;
      const Kind grouped{group_bytes == 8, kind.lanes / group, kind.shape};
      const Register a = of(shuffle.getOperand(0)), b = of(shuffle.getOperand(1));
      define(shuffle, emit(high ? Op::unpack_high : Op::unpack_low, grouped, a, b));
      return true;
    }
  return false;
}

// Whole lanes of 128 bits: the lower half of them from one source, the upper from one.
bool Selector::select_lanes(const llvm::ShuffleVectorInst& shuffle, const Kind& kind) {
  const int lane = kLaneBytes / (kind.is_f64 ? 8 : 4), lanes = kind.lanes / lane;
  if (lanes < 2) return false;
  const std::vector<int> mask = mask_of(shuffle);
  std::vector<int> source(static_cast<std::size_t>(lanes), -1);  // lanes of both, numbered through
  for (int i = 0; i < kind.lanes; ++i) {
    if (mask[i] < 0) continue;
    int& from = source[i / lane];
    if (mask[i] % lane != i % lane || (from >= 0 && from != mask[i] / lane)) return false;
    from = mask[i] / lane;
  }
  const bool has_second = !llvm::isa<llvm::UndefValue>(shuffle.getOperand(1));
  std::int64_t choice = 0;
  for (int l = 0; l < lanes; ++l) {
    const bool is_upper = l >= lanes / 2;
    const int from = std::max(source[l], is_upper && has_second && source[l] < 0 ? lanes : 0);
    if ((from >= lanes) != (is_upper && has_second)) return false;
    const std::int64_t number = from % lanes;
    if (lanes == 4)
      choice |= number << (2 * l);
    else if (kind.shape == Shape::bits256 && lanes == 2)
      choice |= instructions_.is_wide() ? number << l : (number | (is_upper ? 2 : 0)) << (4 * l);
  }
  const Register a = of(shuffle.getOperand(0));
  const Register b = has_second ? of(shuffle.getOperand(1)) : a;
  define(shuffle, emit(Op::pick_lanes, kind, a, b, choice));
  return true;
}

// Any lanes of both sources, by a register that numbers them.
void Selector::select_permute(const llvm::ShuffleVectorInst& shuffle, const Kind& kind) {
  const int lanes = kind.register_lanes();
  std::vector<std::uint64_t> numbers;
  for (int from : mask_of(shuffle))
    numbers.push_back(static_cast<std::uint64_t>(from < 0            ? 0
                                                 : from < kind.lanes ? from
                                                                     : from - kind.lanes + lanes));
  numbers.resize(static_cast<std::size_t>(lanes), 0);
  llvm::LLVMContext& context = shuffle.getContext();
  const llvm::Constant* order =
      kind.is_f64 ? llvm::ConstantDataVector::get(context, numbers)
                  : llvm::ConstantDataVector::get(
                        context, std::vector<std::uint32_t>(numbers.begin(), numbers.end()));
  Register& known = constants_[order];
  if (!known) known = emit(Op::load, kind, in_pool(order));
  const Register index = known;  // the operands may be constants too
  const Register a = of(shuffle.getOperand(0));
  const bool has_second = !llvm::isa<llvm::UndefValue>(shuffle.getOperand(1));
  const Register b = has_second ? of(shuffle.getOperand(1)) : a;
  define(shuffle, emit(Op::permute, kind, a, index, b));
}

// The same by numbers that are known when the unit runs.
void Selector::select_permute(const llvm::CallInst& call) {
  const Register a = of(call.getArgOperand(0)), order = of(call.getArgOperand(1));
  const Register b = of(call.getArgOperand(2));
  define(call, emit(Op::permute, kind_of(call.getType()), a, order, b));
}

}  // namespace einjit
