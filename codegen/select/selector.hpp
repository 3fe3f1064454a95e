// Instruction selection for what the emitter writes: each instruction of LLVM's IR becomes the
// machine's in place, in the order given. Addresses, loads and comparisons are folded into their
// users. LLVM's own selector makes graphs of blocks, combines, legalizes and orders them, which
// takes half of a unit's compile time and finds little in code that comes with its vectors, strides
// and order.
//
// One Selector serves one function. What it does not know it leaves to LLVM's: run() says so.
#pragma once

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/SetVector.h>
#include <llvm/CodeGen/MachineFunction.h>
#include <llvm/CodeGen/MachineInstrBuilder.h>
#include <llvm/CodeGen/MachineRegisterInfo.h>
#include <llvm/CodeGen/TargetInstrInfo.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <optional>

#include "instructions.hpp"

namespace einjit {

class Selector {
 public:
  Selector(llvm::MachineFunction& function, const Instructions& instructions);

  // Fills the machine function; false if there was something unknown: it is of no use then.
  bool run();

 private:
  using Register = llvm::Register;

  // A floating-point value's element and how it lies in registers.
  struct Kind {
    bool is_f64 = false;
    int lanes = 1;
    Shape shape = Shape::scalar;
    int register_lanes() const { return (16 << (static_cast<int>(shape) - 1)) / (is_f64 ? 8 : 4); }
    bool is_half_a_register() const {
      return shape == Shape::bits128 && lanes * (is_f64 ? 2 : 1) == 2;
    }
  };
  struct Address {
    Register base, index;
    std::int64_t scale = 1, offset = 0;
    int constant = -1;  // in the constant pool, instead of the above
  };

  // selector.cpp: blocks, branches, and what all need.
  void select(const llvm::Instruction& instruction);
  void select_call(const llvm::CallInst& call);
  void select_branch(const llvm::BranchInst& branch);
  void feed_phis(const llvm::BasicBlock& block);
  void finish_phis();
  void jump_to(const llvm::BasicBlock* target);
  bool is_next(const llvm::BasicBlock* block);

  Register unknown() {
    failed_ = true;
    return {};
  }
  Register of(const llvm::Value* value);
  Register constant(const llvm::Constant* value);
  Register constant_integer(std::int64_t value);
  Address in_pool(const llvm::Constant* value);
  void define(const llvm::Value& value, Register reg) { registers_[&value] = reg; }

  // Appends an instruction; its result, if it has one. An opcode of 0 is unknown.
  template <class... Operands>
  Register emit(unsigned opcode, const Operands&... operands) {
    if (opcode == 0) return unknown();
    const llvm::MCInstrDesc& description = names_.get(opcode);
    Register result;
    if (description.getNumDefs() == 1)
      result = registers().createVirtualRegister(class_of(description, 0));
    auto* instruction = function_.CreateMachineInstr(description, {});
    llvm::MachineInstrBuilder builder(function_, instruction);
    if (result) builder.addDef(result);
    (add(builder, operands), ...);
    block_->insert(block_->end(), instruction);
    return result;
  }
  template <class... Operands>
  Register emit(Plain plain, const Operands&... operands) {
    return emit(instructions_.find(plain), operands...);
  }
  template <class... Operands>
  Register emit(Op op, const Kind& kind, const Operands&... operands) {
    return emit(instructions_.find(op, kind.is_f64, kind.shape), operands...);
  }
  void add(llvm::MachineInstrBuilder& builder, Register reg);
  void add(llvm::MachineInstrBuilder& builder, std::int64_t immediate);
  void add(llvm::MachineInstrBuilder& builder, llvm::MachineBasicBlock* block);
  void add(llvm::MachineInstrBuilder& builder, const Address& address);
  const llvm::TargetRegisterClass* class_of(const llvm::MCInstrDesc& description,
                                            unsigned operand) const;
  const llvm::TargetRegisterClass* class_of(const llvm::Type* type);
  Register fitting(Register reg, const llvm::TargetRegisterClass* wanted);
  Register copy(Register reg, const llvm::TargetRegisterClass* to, unsigned part = 0);
  Register undefined(const llvm::TargetRegisterClass* of);
  llvm::MachineRegisterInfo& registers() { return function_.getRegInfo(); }

  // integers.cpp: integers, truth values, addresses.
  bool is_in_addresses(const llvm::GetElementPtrInst& pointer) const;
  Address address_of(const llvm::Value* pointer);
  void select_pointer(const llvm::GetElementPtrInst& pointer);
  void select_integer(const llvm::BinaryOperator& operation);
  void select_compare(const llvm::ICmpInst& compare);
  void select_cast(const llvm::CastInst& cast);
  void select_choice(const llvm::SelectInst& select);
  unsigned compare_now(const llvm::ICmpInst& compare);
  bool waits_for_branch(const llvm::Instruction& instruction) const;

  // vectors.cpp: loads, stores, arithmetic.
  static Kind kind_of(const llvm::Type* type);
  void select_load(const llvm::LoadInst& load);
  void select_store(const llvm::StoreInst& store);
  void select_masked_load(const llvm::CallInst& call);
  void select_masked_store(const llvm::CallInst& call);
  void select_arithmetic(const llvm::BinaryOperator& operation);
  void select_fma(const llvm::CallInst& call);
  void select_sum_of_lanes(const llvm::CallInst& call);
  void select_prefetch(const llvm::CallInst& call);
  bool may_be_folded(const llvm::Instruction& value) const;
  std::optional<Address> folded(const llvm::Value* value, bool is_broadcast);
  // Of two operands that may change places, one that is read from memory by the operation itself.
  struct OneRead {
    const llvm::Value* other;
    Op op;  // that reads it
    Address from;
  };
  std::optional<OneRead> one_read(const llvm::Value* a, const llvm::Value* b, const Kind& kind,
                                  Op with_load, Op with_broadcast);
  Register load_waiting(const llvm::Value* value);
  void load_all_waiting();
  // The scalar that a splat repeats; null if it is not one.
  static const llvm::Value* splat_of(const llvm::Value* value);

  // masks.cpp: which lanes count.
  void select_mask(const llvm::ICmpInst& compare);
  void select_mask_and(const llvm::BinaryOperator& operation);
  Register mask(const llvm::Value* value);
  Register mask_for(const llvm::Value* value, const Kind& kind);
  Register mask_of_bool(Register value, int lanes);
  Register spread(Register value, Shape shape);
  Register ones(const Kind& kind, const std::vector<bool>& bits, llvm::LLVMContext& context);

  // gathers.cpp: elements that do not lie side by side.
  struct Places {
    Address base;
    std::vector<Register> offsets;  // four or eight of 64 bits each
  };
  void select_offsets(const llvm::BinaryOperator& product);
  void select_places(const llvm::GetElementPtrInst& pointers);
  void select_gather(const llvm::CallInst& call);
  void select_scatter(const llvm::CallInst& call);
  Address place(const Places& places, std::size_t part, const Kind& kind);
  Kind part_of(const Kind& kind) const;
  Register gather(const Kind& kind, const Address& from, Register mask);

  // shuffles.cpp
  void select_insert(const llvm::InsertElementInst& insert);
  void select_extract(const llvm::ExtractElementInst& extract);
  void select_shuffle(const llvm::ShuffleVectorInst& shuffle);
  Register resized(Register reg, const Kind& from, const Kind& to);
  bool select_join(const llvm::ShuffleVectorInst& shuffle, const Kind& from, const Kind& to);
  bool select_unpack(const llvm::ShuffleVectorInst& shuffle, const Kind& kind);
  bool select_lanes(const llvm::ShuffleVectorInst& shuffle, const Kind& kind);
  void select_permute(const llvm::ShuffleVectorInst& shuffle, const Kind& kind);
  void select_permute(const llvm::CallInst& call);

  llvm::MachineFunction& function_;
  const llvm::TargetInstrInfo& names_;
  const llvm::TargetRegisterInfo& layout_;
  const Instructions& instructions_;
  llvm::MachineBasicBlock* block_ = nullptr;
  bool failed_ = false;
  llvm::DenseMap<const llvm::Value*, Register> registers_;
  llvm::DenseMap<const llvm::BasicBlock*, llvm::MachineBasicBlock*> blocks_;
  llvm::DenseMap<const llvm::Value*, std::vector<Register>> offsets_;
  llvm::DenseMap<const llvm::Value*, Places> places_;
  // Loads, and broadcasts of loads, of this block that their one user may read from memory itself.
  llvm::SetVector<const llvm::Value*> waiting_;
  llvm::DenseMap<const llvm::Constant*, Register> constants_;  // of this block
  struct PhiInput {
    const llvm::PHINode* phi;
    const llvm::BasicBlock* from;
    Register value;
  };
  std::vector<PhiInput> phi_inputs_;
};

}  // namespace einjit
