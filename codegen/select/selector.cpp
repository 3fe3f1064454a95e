#include "selector.hpp"

#include <llvm/CodeGen/MachineConstantPool.h>
#include <llvm/CodeGen/MachineRegisterInfo.h>
#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/CodeGen/TargetRegisterInfo.h>
#include <llvm/CodeGen/TargetSubtargetInfo.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/DataLayout.h>
#include <llvm/IR/Function.h>

namespace einjit {
namespace {

constexpr unsigned kNotEqual = 5;  // x86's condition codes; an odd one is the contrary of the even

}  // namespace

Selector::Selector(llvm::MachineFunction& function, const Instructions& instructions)
    : function_(function),
      names_(*function.getSubtarget().getInstrInfo()),
      layout_(*function.getSubtarget().getRegisterInfo()),
      instructions_(instructions) {}

bool Selector::run() {
  const llvm::Function& code = function_.getFunction();
  for (const llvm::BasicBlock& block : code) {
    llvm::MachineBasicBlock* made = function_.CreateMachineBasicBlock(&block);
    function_.push_back(made);
    blocks_[&block] = made;
  }
  block_ = &function_.front();
  for (const llvm::Argument& argument : code.args()) {
    const llvm::MCRegister from = instructions_.argument(argument.getArgNo());
    const auto* type = class_of(names_.get(instructions_.find(Plain::load64)), 0);
    const Register value = registers().createVirtualRegister(type);
    registers().addLiveIn(from, value);
    block_->addLiveIn(from);
    llvm::BuildMI(block_, {}, names_.get(llvm::TargetOpcode::COPY), value).addReg(from);
    define(argument, value);
  }
  for (const llvm::BasicBlock& block : code) {
    block_ = blocks_[&block];
    constants_.clear();
    for (const llvm::Instruction& instruction : block) {
      select(instruction);
      if (failed_) return false;
    }
  }
  finish_phis();
  return !failed_;
}

void Selector::select(const llvm::Instruction& instruction) {
  using llvm::dyn_cast;
  if (const auto* phi = dyn_cast<llvm::PHINode>(&instruction)) {
    const auto* type = class_of(phi->getType());
    if (!type) return void(unknown());
    const Register value = registers().createVirtualRegister(type);
    llvm::BuildMI(block_, {}, names_.get(llvm::TargetOpcode::PHI), value);
    return define(*phi, value);
  }
  if (const auto* pointer = dyn_cast<llvm::GetElementPtrInst>(&instruction))
    return select_pointer(*pointer);
  if (const auto* load = dyn_cast<llvm::LoadInst>(&instruction)) return select_load(*load);
  if (const auto* store = dyn_cast<llvm::StoreInst>(&instruction)) return select_store(*store);
  if (const auto* call = dyn_cast<llvm::CallInst>(&instruction)) return select_call(*call);
  if (const auto* operation = dyn_cast<llvm::BinaryOperator>(&instruction)) {
    if (operation->getType()->isFPOrFPVectorTy()) return select_arithmetic(*operation);
    return select_integer(*operation);
  }
  if (const auto* shuffle = dyn_cast<llvm::ShuffleVectorInst>(&instruction))
    return select_shuffle(*shuffle);
  if (const auto* insert = dyn_cast<llvm::InsertElementInst>(&instruction))
    return select_insert(*insert);
  if (const auto* extract = dyn_cast<llvm::ExtractElementInst>(&instruction))
    return select_extract(*extract);
  if (const auto* compare = dyn_cast<llvm::ICmpInst>(&instruction)) return select_compare(*compare);
  if (const auto* cast = dyn_cast<llvm::CastInst>(&instruction)) return select_cast(*cast);
  if (const auto* select = dyn_cast<llvm::SelectInst>(&instruction)) return select_choice(*select);
  if (const auto* branch = dyn_cast<llvm::BranchInst>(&instruction)) return select_branch(*branch);
  if (llvm::isa<llvm::ReturnInst>(instruction)) return void(emit(Plain::leave));
  unknown();
}

void Selector::select_call(const llvm::CallInst& call) {
  switch (call.getIntrinsicID()) {
    case llvm::Intrinsic::fma:
      return select_fma(call);
    case llvm::Intrinsic::masked_load:
      return select_masked_load(call);
    case llvm::Intrinsic::masked_store:
      return select_masked_store(call);
    case llvm::Intrinsic::masked_gather:
      return select_gather(call);
    case llvm::Intrinsic::masked_scatter:
      return select_scatter(call);
    case llvm::Intrinsic::prefetch:
      return select_prefetch(call);
    case llvm::Intrinsic::x86_avx512_vpermi2var_ps_512:
    case llvm::Intrinsic::x86_avx512_vpermi2var_pd_512:
      return select_permute(call);
    case llvm::Intrinsic::vector_reduce_fadd:
      return select_sum_of_lanes(call);
    default:
      unknown();
  }
}

// What the next blocks' phis get from this one must be there before it is left.
void Selector::feed_phis(const llvm::BasicBlock& block) {
  for (const llvm::BasicBlock* next : llvm::successors(&block))
    for (const llvm::PHINode& phi : next->phis()) {
      const llvm::Value* value = phi.getIncomingValueForBlock(&block);
      // A register of its own for each zero: it begins where it stays.
      constants_.clear();
      phi_inputs_.push_back({&phi, &block, of(value)});
    }
}

void Selector::finish_phis() {
  for (const PhiInput& input : phi_inputs_) {
    const Register phi = registers_[input.phi];
    llvm::MachineInstr* instruction = registers().getVRegDef(phi);
    llvm::MachineInstrBuilder(function_, instruction)
        .addReg(input.value)
        .addMBB(blocks_[input.from]);
  }
}

void Selector::select_branch(const llvm::BranchInst& branch) {
  load_all_waiting();
  if (branch.isUnconditional()) {
    feed_phis(*branch.getParent());
    block_->addSuccessor(blocks_[branch.getSuccessor(0)], llvm::BranchProbability::getOne());
    return jump_to(branch.getSuccessor(0));
  }
  const auto* compare = llvm::dyn_cast<llvm::ICmpInst>(branch.getCondition());
  unsigned condition = kNotEqual;
  if (compare && waits_for_branch(*compare)) {
    condition = compare_now(*compare);
  } else {
    const Register value = of(branch.getCondition());
    emit(Plain::test_bool, value, value);
  }
  feed_phis(*branch.getParent());  // changes no flags
  llvm::MachineBasicBlock* yes = blocks_[branch.getSuccessor(0)];
  llvm::MachineBasicBlock* no = blocks_[branch.getSuccessor(1)];
  // The allocator keeps what loops need in registers.
  const bool is_loop = yes->getNumber() <= block_->getNumber();
  const auto likely = is_loop ? llvm::BranchProbability(31, 32) : llvm::BranchProbability(1, 2);
  block_->addSuccessor(yes, likely);
  block_->addSuccessor(no, likely.getCompl());
  if (is_next(branch.getSuccessor(0))) {
    emit(Plain::jump_if, no, std::int64_t{condition ^ 1u});
  } else {
    emit(Plain::jump_if, yes, std::int64_t{condition});
    jump_to(branch.getSuccessor(1));
  }
}

bool Selector::is_next(const llvm::BasicBlock* block) {
  return block_->getNextNode() == blocks_[block];
}

void Selector::jump_to(const llvm::BasicBlock* target) {
  if (!is_next(target)) emit(Plain::jump, blocks_[target]);
}

Selector::Register Selector::of(const llvm::Value* value) {
  if (const auto* fixed = llvm::dyn_cast<llvm::Constant>(value)) {
    Register& known = constants_[fixed];
    if (!known) known = constant(fixed);
    return known;
  }
  if (waiting_.contains(value)) return load_waiting(value);
  const auto found = registers_.find(value);
  return found == registers_.end() ? unknown() : found->second;
}

Selector::Register Selector::constant(const llvm::Constant* value) {
  if (const auto* integer = llvm::dyn_cast<llvm::ConstantInt>(value);
      integer && integer->getType()->isIntegerTy(64))
    return constant_integer(integer->getSExtValue());
  const llvm::Type* type = value->getType();
  if (const auto* list = llvm::dyn_cast<llvm::GlobalVariable>(value))
    return emit(Plain::address, in_pool(list->getInitializer()));
  if (!type->isFPOrFPVectorTy()) return unknown();
  const Kind kind = kind_of(type);
  if (llvm::isa<llvm::UndefValue>(value)) return undefined(class_of(type));
  if (value->isNullValue()) return emit(Op::zero, kind);
  return emit(Op::load, kind, in_pool(value));
}

Selector::Register Selector::constant_integer(std::int64_t value) {
  // Nothing here may change the flags.
  if (value >= 0 && value <= UINT32_MAX) return emit(Plain::constant64_short, value);
  return emit(value >= INT32_MIN && value < 0 ? Plain::constant64 : Plain::constant64_long, value);
}

Selector::Address Selector::in_pool(const llvm::Constant* value) {
  const llvm::Align align = function_.getDataLayout().getPrefTypeAlign(value->getType());
  Address address;
  address.constant =
      static_cast<int>(function_.getConstantPool()->getConstantPoolIndex(value, align));
  return address;
}

void Selector::add(llvm::MachineInstrBuilder& builder, Register reg) {
  const llvm::MCInstrDesc& description = builder->getDesc();
  const auto implicit = description.implicit_defs().size() + description.implicit_uses().size();
  const auto operand = builder->getNumOperands() - static_cast<unsigned>(implicit);
  const auto* wanted = class_of(description, operand);
  builder.addReg(wanted ? fitting(reg, wanted) : reg);
}

void Selector::add(llvm::MachineInstrBuilder& builder, std::int64_t immediate) {
  builder.addImm(immediate);
}

void Selector::add(llvm::MachineInstrBuilder& builder, llvm::MachineBasicBlock* block) {
  builder.addMBB(block);
}

void Selector::add(llvm::MachineInstrBuilder& builder, const Address& address) {
  if (address.constant >= 0) {
    builder.addReg(instructions_.instruction_pointer()).addImm(1).addReg(0);
    builder.addConstantPoolIndex(static_cast<unsigned>(address.constant)).addReg(0);
    return;
  }
  add(builder, address.base);
  builder.addImm(address.scale);
  if (address.index)
    add(builder, address.index);
  else
    builder.addReg(0);
  builder.addImm(address.offset).addReg(0);
}

const llvm::TargetRegisterClass* Selector::class_of(const llvm::MCInstrDesc& description,
                                                    unsigned operand) const {
  return names_.getRegClass(description, operand, &layout_, function_);
}

// Null if there is none.
const llvm::TargetRegisterClass* Selector::class_of(const llvm::Type* type) {
  unsigned load = 0;
  if (type->isPointerTy() || type->isIntegerTy(64)) {
    load = instructions_.find(Plain::load64);
  } else if (type->isFPOrFPVectorTy()) {
    const Kind kind = kind_of(type);
    load = instructions_.find(Op::load, kind.is_f64, kind.shape);
  }
  return load ? class_of(names_.get(load), 0) : nullptr;
}

Selector::Register Selector::fitting(Register reg, const llvm::TargetRegisterClass* wanted) {
  if (!reg.isVirtual() || registers().constrainRegClass(reg, wanted)) return reg;
  // Another part of the same registers, not registers of another size.
  if (layout_.getRegSizeInBits(*registers().getRegClass(reg)) != layout_.getRegSizeInBits(*wanted))
    return unknown();
  return copy(reg, wanted);
}

Selector::Register Selector::copy(Register reg, const llvm::TargetRegisterClass* to,
                                  unsigned part) {
  const Register made = registers().createVirtualRegister(to);
  llvm::BuildMI(block_, {}, names_.get(llvm::TargetOpcode::COPY), made).addReg(reg, 0, part);
  return made;
}

Selector::Register Selector::undefined(const llvm::TargetRegisterClass* of) {
  if (!of) return unknown();
  const Register made = registers().createVirtualRegister(of);
  llvm::BuildMI(block_, {}, names_.get(llvm::TargetOpcode::IMPLICIT_DEF), made);
  return made;
}

}  // namespace einjit
