#include "emit_kernel.hpp"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/Linker/Linker.h>

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>

#include "emit_unit.hpp"
#include "plan/unit_of_tile.hpp"

namespace einjit {
namespace {

using llvm::Value;

// A label's range where code is being emitted: its length is known, where it begins is not.
struct Range {
  Value* lo;
  std::int64_t len;
  std::int64_t shift = 0;
};

class DriverEmitter {
 public:
  DriverEmitter(llvm::Module& module, const KernelSource& source, const Target& target)
      : module_(module),
        context_(module.getContext()),
        source_(source),
        target_(target),
        builder_(context_),
        pointer_(llvm::PointerType::getUnqual(context_)),
        i64_(llvm::Type::getInt64Ty(context_)),
        double_(llvm::Type::getDoubleTy(context_)) {}

  void run() {
    make_function();
    for (const KernelSource::Step& step : source_.steps) emit_step(step);
    if (std::ranges::any_of(source_.steps, [](const auto& s) { return s.plan.is_streamed; }) &&
        target_.isa != Isa::aarch64)
      builder_.CreateIntrinsic(llvm::Intrinsic::x86_sse_sfence, {}, {});
    builder_.CreateRetVoid();
  }

 private:
  Value* number(std::int64_t value) { return llvm::ConstantInt::get(i64_, value, true); }
  Value* at_byte(Value* base, Value* offset) {
    return builder_.CreateGEP(builder_.getInt8Ty(), base, offset);
  }

  // Memory of the function, made in its entry whatever block is being emitted.
  Value* local(llvm::Type* type, std::int64_t count) {
    llvm::IRBuilder<> entry(&function_->getEntryBlock(), function_->getEntryBlock().begin());
    return entry.CreateAlloca(type, entry.getInt64(static_cast<std::uint64_t>(count)));
  }

  void make_function() {
    std::vector<llvm::Type*> arguments(static_cast<std::size_t>(1 + source_.input_count), pointer_);
    if (source_.is_scaled) arguments.insert(arguments.end(), 2, double_);
    arguments.push_back(pointer_);
    auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context_), arguments, false);
    function_ =
        llvm::Function::Create(type, llvm::Function::ExternalLinkage, source_.symbol, module_);
    function_->setDoesNotThrow();
    builder_.SetInsertPoint(llvm::BasicBlock::Create(context_, "entry", function_));
    const auto first_scale = static_cast<unsigned>(1 + source_.input_count);
    scratch_ = function_->getArg(first_scale + (source_.is_scaled ? 2 : 0));
    scale_ = local(double_, 2);
    for (unsigned s = 0; s < 2; ++s) {
      Value* value = source_.is_scaled ? static_cast<Value*>(function_->getArg(first_scale + s))
                                       : llvm::ConstantFP::get(double_, s == 0 ? 1.0 : 0.0);
      builder_.CreateStore(value, builder_.CreateConstGEP1_64(double_, scale_, s));
      if (s == 1 && source_.is_scaled)
        beta_is_zero_ = builder_.CreateFCmpOEQ(value, llvm::ConstantFP::get(double_, 0.0));
    }
    // A call's pointers: operands, and two for what it asks for ahead.
    pointers_ = local(pointer_, kMostPointers);
  }

  void emit_step(const KernelSource::Step& step) {
    plan_ = &step.plan;
    std::int64_t size = source_.workspace_bytes == 0 ? 0 : (source_.workspace_bytes + 63) / 64 * 64;
    scratch_at_ = scratch_offsets(*plan_, size);
    bases_.assign(static_cast<std::size_t>(plan_->operand_count) + scratch_at_.size(), nullptr);
    for (std::size_t o = 0; o < step.operands.size(); ++o) {
      const KernelSource::Operand& operand = step.operands[o];
      bases_[o] =
          operand.number >= 0
              ? static_cast<Value*>(function_->getArg(static_cast<unsigned>(operand.number)))
              : at_byte(scratch_, number(operand.offset));
    }
    ranges_.clear();
    for (std::int64_t extent : plan_->extents) ranges_.push_back({number(0), extent});
    mask_ = 0;
    emit_nodes(0, static_cast<int>(plan_->nodes.size()));
  }

  void emit_nodes(int begin, int end) {
    for (int at = begin; at < end; at = plan_->nodes[static_cast<std::size_t>(at)].end) {
      const PlanNode& node = plan_->nodes[static_cast<std::size_t>(at)];
      switch (node.kind) {
        case PlanNode::Kind::call:
          emit_call(plan_->calls[static_cast<std::size_t>(node.index)]);
          break;
        case PlanNode::Kind::scratch:
          emit_scratch(node, at);
          break;
        case PlanNode::Kind::ask:
          look_ahead(plan_->ahead[static_cast<std::size_t>(node.index)]);
          emit_nodes(at + 1, node.end);
          break;
        case PlanNode::Kind::drain:
          throw std::logic_error("object files drain no buffers");
        case PlanNode::Kind::split:
          emit_split(node, at);
          break;
        case PlanNode::Kind::loop:
        case PlanNode::Kind::parallel_loop:
          emit_loop(node, at);
          break;
      }
    }
  }

  Range& range(Label label) { return ranges_[static_cast<std::size_t>(label)]; }

  // The body on a piece of the node's label.
  void emit_piece(const PlanNode& node, int at, Range piece) {
    if (node.has_powers || node.is_aligned)
      throw std::logic_error("pieces of lengths known at run time have no object");
    const Range whole = range(node.label);
    const std::uint64_t mask = mask_;
    if (piece.len < node.step) mask_ |= partial_bit(node, piece.len);
    range(node.label) = piece;
    emit_nodes(at + 1, node.end);
    range(node.label) = whole;
    mask_ = mask;
  }

  void emit_split(const PlanNode& node, int at) {
    const Range whole = range(node.label);
    auto piece = [&](std::int64_t lo, std::int64_t len) {
      if (len > 0) emit_piece(node, at, {builder_.CreateAdd(whole.lo, number(lo)), len});
    };
    const auto [first, main, tail] =
        split_lengths(node, whole.len, node.stores_first ? std::min(node.step, whole.len) : 0);
    const std::uint64_t mask = mask_;
    mask_ |= first_bit(node);
    piece(0, first);
    mask_ = mask;
    piece(first, main);
    piece(whole.len - tail, tail);
  }

  void emit_loop(const PlanNode& node, int at) {
    const Range whole = range(node.label);
    const std::int64_t full = whole.len / node.step, tail = whole.len % node.step;
    frames_.push_back({&node, whole});
    if (full == 1) emit_piece(node, at, {whole.lo, node.step});
    if (full > 1) {
      llvm::BasicBlock* before = builder_.GetInsertBlock();
      auto* loop = llvm::BasicBlock::Create(context_, "loop", function_);
      auto* done = llvm::BasicBlock::Create(context_, "done", function_);
      builder_.CreateBr(loop);
      builder_.SetInsertPoint(loop);
      auto* lo = builder_.CreatePHI(i64_, 2);
      lo->addIncoming(whole.lo, before);
      emit_piece(node, at, {lo, node.step});
      Value* next = builder_.CreateAdd(lo, number(node.step));
      lo->addIncoming(next, builder_.GetInsertBlock());
      Value* end = builder_.CreateAdd(whole.lo, number(full * node.step));
      builder_.CreateCondBr(builder_.CreateICmpNE(next, end), loop, done);
      builder_.SetInsertPoint(done);
    }
    if (tail > 0)
      emit_piece(node, at, {builder_.CreateAdd(whole.lo, number(full * node.step)), tail});
    frames_.pop_back();
  }

  void emit_scratch(const PlanNode& node, int at) {
    const auto index = static_cast<std::size_t>(node.index);
    Value* base = at_byte(scratch_, number(scratch_at_[index]));
    const auto& moves = plan_->scratch_moves[index];
    for (std::size_t l = 0; l < moves.size(); ++l)
      if (moves[l] != 0) base = at_byte(base, builder_.CreateMul(ranges_[l].lo, number(-moves[l])));
    bases_[static_cast<std::size_t>(plan_->operand_count) + index] = base;
    begins_[node.index] = ranges_;
    emit_nodes(at + 1, node.end);
  }

  // As run_plan.cpp: the box that is read next, one step on in the innermost loop that has one.
  void look_ahead(const PlanAhead& ahead) {
    Value* here = bases_[static_cast<std::size_t>(ahead.operand)];
    for (std::size_t l = 0; l < ahead.moves.size(); ++l)
      if (ahead.moves[l] != 0)
        here = at_byte(here, builder_.CreateMul(ranges_[l].lo, number(ahead.moves[l])));
    Value* found = here;
    Value* is_found = builder_.getFalse();
    Value* next = here;
    for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
      const auto& [node, whole] = *frame;
      const std::int64_t move = ahead.moves[static_cast<std::size_t>(node->label)];
      if (move == 0) continue;
      Value* lo = range(node->label).lo;
      Value* end = builder_.CreateAdd(whole.lo, number(whole.len));
      Value* has_one = builder_.CreateICmpSLT(builder_.CreateAdd(lo, number(node->step)), end);
      Value* takes = builder_.CreateAnd(has_one, builder_.CreateNot(is_found));
      found = builder_.CreateSelect(takes, at_byte(next, number(move * node->step)), found);
      is_found = builder_.CreateOr(is_found, has_one);
      next = at_byte(next, builder_.CreateMul(builder_.CreateSub(whole.lo, lo), number(move)));
    }
    if (!ahead_at_) {
      ahead_at_ = local(i64_, 1);
      ahead_base_ = local(pointer_, 1);
    }
    builder_.CreateStore(found, ahead_base_);
    builder_.CreateStore(number(0), ahead_at_);
    ahead_ = &ahead;
  }

  void emit_call(const PlanCall& call) {
    for (std::size_t o = 0; o < call.operands.size(); ++o) {
      Value* pointer = bases_[static_cast<std::size_t>(call.operands[o].buffer)];
      for (const PlanCall::Move& move : call.operands[o].moves)
        pointer = at_byte(pointer, builder_.CreateMul(range(move.label).lo, number(move.bytes)));
      set_pointer(o, pointer);
    }
    Value* is_first = nullptr;
    for (Label l : call.reduced) {
      Value* begin =
          call.sums < 0 ? number(0) : begins_.at(call.sums)[static_cast<std::size_t>(l)].lo;
      Value* begins = builder_.CreateICmpEQ(range(l).lo, begin);
      is_first = is_first ? builder_.CreateAnd(is_first, begins) : begins;
    }
    const PlanCall::Variant* first = find_variant(call, true);
    const PlanCall::Variant* later = is_first ? find_variant(call, false) : nullptr;
    if (!is_first || !later) return emit_variant(call, *first);
    if (!first) return emit_variant(call, *later);
    emit_if(
        is_first, [&] { emit_variant(call, *first); }, [&] { emit_variant(call, *later); });
  }

  const PlanCall::Variant* find_variant(const PlanCall& call, bool is_first) const {
    for (const PlanCall::Variant& variant : call.variants)
      if (variant.mask == mask_ && variant.is_first == is_first) return &variant;
    return nullptr;
  }

  void set_pointer(std::size_t index, Value* pointer) {
    if (index >= kMostPointers) throw std::length_error("too many operands");
    builder_.CreateStore(pointer, builder_.CreateConstGEP1_64(pointer_, pointers_, index));
  }

  template <class Then, class Otherwise>
  void emit_if(Value* condition, const Then& then, const Otherwise& otherwise) {
    auto* yes = llvm::BasicBlock::Create(context_, "then", function_);
    auto* no = llvm::BasicBlock::Create(context_, "else", function_);
    auto* join = llvm::BasicBlock::Create(context_, "join", function_);
    builder_.CreateCondBr(condition, yes, no);
    builder_.SetInsertPoint(yes);
    then();
    builder_.CreateBr(join);
    builder_.SetInsertPoint(no);
    otherwise();
    builder_.CreateBr(join);
    builder_.SetInsertPoint(join);
  }

  void emit_variant(const PlanCall& call, const PlanCall::Variant& variant) {
    if (call.asks) take_ahead(call, variant);
    Value* arguments[] = {pointers_, slots_of(variant), scale_};
    Unit without_old = variant.unit;
    if (without_old.old != Old::scale_by_beta) {
      builder_.CreateCall(function_of(variant.unit), arguments);
      return;
    }
    without_old.old = Old::ignore;
    emit_if(
        beta_is_zero_, [&] { builder_.CreateCall(function_of(without_old), arguments); },
        [&] { builder_.CreateCall(function_of(variant.unit), arguments); });
  }

  // The next lines of the list, or the last that are enough.
  void take_ahead(const PlanCall& call, const PlanCall::Variant& variant) {
    auto* list = offsets_of(*ahead_);
    const auto count = static_cast<std::int64_t>(ahead_->offsets.size());
    Value* at = builder_.CreateLoad(i64_, ahead_at_);
    Value* last = number(count - variant.lines_ahead);
    at = builder_.CreateSelect(builder_.CreateICmpSLT(at, last), at, last);
    set_pointer(call.operands.size(), builder_.CreateGEP(builder_.getInt32Ty(), list, at));
    set_pointer(call.operands.size() + 1, builder_.CreateLoad(pointer_, ahead_base_));
    builder_.CreateStore(builder_.CreateAdd(at, number(variant.lines_ahead)), ahead_at_);
  }

  template <class Int>
  Value* constant(const std::vector<Int>& values) {
    using Element = std::make_unsigned_t<Int>;
    auto* data = llvm::ConstantDataArray::get(
        context_,
        llvm::ArrayRef<Element>(reinterpret_cast<const Element*>(values.data()), values.size()));
    auto* global = new llvm::GlobalVariable(module_, data->getType(), true,
                                            llvm::GlobalValue::PrivateLinkage, data);
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return global;
  }

  Value* slots_of(const PlanCall::Variant& variant) {
    if (variant.slots.empty()) return llvm::ConstantPointerNull::get(pointer_);
    Value*& made = slots_[variant.slots];
    return made ? made : made = constant(variant.slots);
  }

  Value* offsets_of(const PlanAhead& ahead) {
    Value*& made = lists_[&ahead];
    return made ? made : made = constant(ahead.offsets);
  }

  // Equal units are one function of the module.
  llvm::Function* function_of(const Unit& unit) {
    llvm::Function*& made = units_[unit.key()];
    if (!made) {
      const std::string name = source_.symbol + ".unit" + std::to_string(units_.size());
      auto part = emit_unit(context_, unit, target_, name);
      part->setDataLayout(module_.getDataLayout());
      part->setTargetTriple(module_.getTargetTriple());
      if (llvm::Linker::linkModules(module_, std::move(part)))
        throw std::runtime_error("LLVM cannot link a unit into its kernel");
      made = module_.getFunction(name);
      made->setLinkage(llvm::GlobalValue::InternalLinkage);
    }
    return made;
  }

  static constexpr std::size_t kMostPointers = 34;

  llvm::Module& module_;
  llvm::LLVMContext& context_;
  const KernelSource& source_;
  const Target& target_;
  llvm::IRBuilder<> builder_;
  llvm::PointerType* pointer_;
  llvm::Type *i64_, *double_;
  llvm::Function* function_ = nullptr;
  Value *scratch_ = nullptr, *scale_ = nullptr, *beta_is_zero_ = nullptr, *pointers_ = nullptr;
  std::map<std::string, llvm::Function*> units_;
  std::map<std::vector<std::int64_t>, Value*> slots_;
  std::map<const PlanAhead*, Value*> lists_;
  // Of the step being emitted.
  const Plan* plan_ = nullptr;
  std::vector<std::int64_t> scratch_at_;
  std::vector<Value*> bases_;
  std::vector<Range> ranges_;
  std::map<int, std::vector<Range>> begins_;  // per scratch buffer: the ranges where it is made
  std::uint64_t mask_ = 0;
  std::vector<std::pair<const PlanNode*, Range>> frames_;  // loops around, outermost first
  Value *ahead_at_ = nullptr, *ahead_base_ = nullptr;
  const PlanAhead* ahead_ = nullptr;
};

}  // namespace

std::unique_ptr<llvm::Module> emit_kernel(llvm::LLVMContext& context, const KernelSource& source,
                                          const Target& target) {
  auto module = std::make_unique<llvm::Module>(source.symbol, context);
  DriverEmitter(*module, source, target).run();
  return module;
}

}  // namespace einjit
