// Which lanes count. AVX-512 has registers of bits for that; before it, a mask is a vector whose
// lanes, of 32 bits here, are all ones or zero.
#include <llvm/IR/Constants.h>

#include <algorithm>

#include "selector.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLess = 1, kNotLess = 5;  // of an unsigned comparison of lanes
constexpr int kLeastLanes = 4;                   // of 32 bits in a register

int lanes_of(const llvm::Value* mask) {
  return static_cast<int>(llvm::cast<llvm::FixedVectorType>(mask->getType())->getNumElements());
}

// The registers that hold so many lanes of 32 bits.
Shape shape_for(int lanes) {
  return lanes > 8 ? Shape::bits512 : lanes > 4 ? Shape::bits256 : Shape::bits128;
}

// Bit by lane; nothing if it is not constant.
std::optional<std::vector<bool>> bits_of(const llvm::Value* mask) {
  const auto* fixed = llvm::dyn_cast<llvm::Constant>(mask);
  if (!fixed) return std::nullopt;
  std::vector<bool> bits;
  for (int l = 0; l < lanes_of(mask); ++l) {
    const auto* bit = llvm::dyn_cast_or_null<llvm::ConstantInt>(
        fixed->getAggregateElement(static_cast<unsigned>(l)));
    if (!bit) return std::nullopt;
    bits.push_back(bit->isOne());
  }
  return bits;
}

template <class Lane>
const llvm::Constant* ones_where(const std::vector<bool>& bits, int lanes,
                                 llvm::LLVMContext& context) {
  std::vector<Lane> all(static_cast<std::size_t>(lanes), 0);
  for (std::size_t l = 0; l < bits.size(); ++l) all[l] = bits[l] ? static_cast<Lane>(-1) : 0;
  return llvm::ConstantDataVector::get(context, all);
}

}  // namespace

// Lanes below a count, or, with AVX-512, not below: consecutive integers against a splat.
void Selector::select_mask(const llvm::ICmpInst& compare) {
  const auto* lanes = llvm::dyn_cast<llvm::ConstantDataVector>(compare.getOperand(0));
  const llvm::Value* count = splat_of(compare.getOperand(1));
  const bool is_less = compare.getPredicate() == llvm::ICmpInst::ICMP_ULT;
  const bool is_known =
      is_less || (compare.getPredicate() == llvm::ICmpInst::ICMP_UGE && instructions_.is_wide());
  if (!is_known || !lanes || !count || !lanes->getElementType()->isIntegerTy(32))
    return void(unknown());
  // What a register has beyond the vector is never below.
  std::vector<std::uint32_t> numbers;
  for (unsigned l = 0; l < lanes->getNumElements(); ++l)
    numbers.push_back(static_cast<std::uint32_t>(lanes->getElementAsInteger(l)));
  numbers.resize(std::max<std::size_t>(numbers.size(), kLeastLanes), INT32_MAX);
  const Shape shape = shape_for(static_cast<int>(numbers.size()));
  const auto* all = llvm::ConstantDataVector::get(compare.getContext(), numbers);
  const Register every = spread(of(count), shape);
  const Register numbered =
      emit(Op::load, Kind{false, static_cast<int>(numbers.size()), shape}, in_pool(all));
  if (instructions_.is_wide())
    define(compare,
           emit(instructions_.compare_lanes(shape), numbered, every, is_less ? kLess : kNotLess));
  else
    define(compare, emit(instructions_.compare_lanes(shape), every, numbered));
}

// 32 bits in all lanes.
Selector::Register Selector::spread(Register value, Shape shape) {
  if (!instructions_.is_wide()) value = emit(Plain::to_vector, value);
  return emit(instructions_.spread_lanes(shape), value);
}

Selector::Register Selector::mask_of_bool(Register value, int lanes) {
  const Register all = emit(Plain::negate32, emit(Plain::extend_bool, value));
  return instructions_.is_wide() ? emit(Plain::mask_from_32, all) : spread(all, shape_for(lanes));
}

void Selector::select_mask_and(const llvm::BinaryOperator& operation) {
  const llvm::Value *a = operation.getOperand(0), *b = operation.getOperand(1);
  const Register first = mask(a), second = mask(b);
  const unsigned opcode = instructions_.is_wide()
                              ? instructions_.find(Plain::and_masks)
                              : instructions_.and_lanes(shape_for(lanes_of(&operation)));
  define(operation, emit(opcode, first, second));
}

// As the instructions that make masks leave it.
Selector::Register Selector::mask(const llvm::Value* value) {
  const auto bits = bits_of(value);
  if (!bits) return of(value);
  if (instructions_.is_wide()) {
    std::int64_t number = 0;
    for (std::size_t l = 0; l < bits->size(); ++l) number |= std::int64_t{(*bits)[l]} << l;
    Register& known = constants_[llvm::cast<llvm::Constant>(value)];
    if (!known) known = emit(Plain::mask_from_32, emit(Plain::constant32, number));
    return known;
  }
  const int lanes = std::max(lanes_of(value), kLeastLanes);
  return ones({false, lanes, shape_for(lanes)}, *bits, value->getContext());
}

// As instructions on values of `kind` want it.
Selector::Register Selector::mask_for(const llvm::Value* value, const Kind& kind) {
  if (instructions_.is_wide()) return mask(value);
  if (const auto bits = bits_of(value)) return ones(kind, *bits, value->getContext());
  const Register lanes = of(value);
  return kind.is_f64 ? emit(instructions_.widen_lanes(kind.shape), lanes) : lanes;
}

Selector::Register Selector::ones(const Kind& kind, const std::vector<bool>& bits,
                                  llvm::LLVMContext& context) {
  const int lanes = kind.register_lanes();
  const llvm::Constant* all = kind.is_f64 ? ones_where<std::uint64_t>(bits, lanes, context)
                                          : ones_where<std::uint32_t>(bits, lanes, context);
  Register& known = constants_[all];
  if (!known) known = emit(Op::load, kind, in_pool(all));
  return known;
}

}  // namespace einjit
