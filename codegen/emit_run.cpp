#include "emit_run.hpp"

#include <bit>

namespace einjit {
namespace {

constexpr int kLines = 4;  // at a time

class RunEmitter {
 public:
  RunEmitter(UnitFrame& frame, const Unit& unit, const Target& target)
      : frame_(frame),
        unit_(unit),
        builder_(frame.builder()),
        lanes_(target.lanes(unit.dtype)),
        line_(frame.lanes_of_line()),
        bytes_(size_of(unit.dtype)),
        type_(llvm::FixedVectorType::get(frame.element(), static_cast<unsigned>(lanes_))) {}

  // Up to the first line, lines, and what is left.
  void emit(Values at) {
    llvm::Value* count = frame_.times(Size{0, unit_.run_slot}, 1);
    llvm::Value* head = least(count, elements_to_line(at[0]));
    put_some(at, head);
    at = moved(at, head);
    llvm::Value* rest = builder_.CreateSub(count, head);
    for (int lines : {kLines, 1}) {
      llvm::Value* left =
          lines == kLines ? rest : builder_.CreateAnd(rest, number(kLines * line_ - 1));
      auto* trips = builder_.CreateLShr(left, number(std::countr_zero(unsigned(lines * line_))));
      at = frame_.emit_trips(trips, at, [&](const Values& in) {
        if (unit_.ahead.lines > 0) frame_.ask_ahead(lines);
        put_lines(in, lines);
        return moved(in, number(lines * line_));
      });
    }
    put_some(at, builder_.CreateAnd(rest, number(line_ - 1)));
  }

 private:
  llvm::Value* number(int value) { return builder_.getInt64(static_cast<std::uint64_t>(value)); }
  llvm::Align alignment() const { return llvm::Align(static_cast<std::uint64_t>(bytes_)); }

  Values moved(const Values& from, llvm::Value* elements) {
    Values to;
    for (llvm::Value* pointer : from)
      to.push_back(builder_.CreateGEP(frame_.element(), pointer, elements));
    return to;
  }

  llvm::Value* least(llvm::Value* a, llvm::Value* b) {
    return builder_.CreateSelect(builder_.CreateICmpSLT(a, b), a, b);
  }

  // What is missing to a line: its complement, and 1 more.
  llvm::Value* elements_to_line(llvm::Value* to) {
    llvm::Value* address = builder_.CreatePtrToInt(to, builder_.getInt64Ty());
    llvm::Value* past = builder_.CreateAnd(address, number(static_cast<int>(kLineBytes) - 1));
    past = builder_.CreateLShr(past, number(std::countr_zero(unsigned(bytes_))));
    llvm::Value* others = builder_.CreateXor(past, number(line_ - 1));
    return builder_.CreateAnd(builder_.CreateAdd(others, number(1)), number(line_ - 1));
  }

  llvm::Value* scaled(llvm::Value* vector) {
    if (unit_.alpha == Alpha::one) return vector;
    return builder_.CreateFMul(
        vector, builder_.CreateVectorSplat(static_cast<unsigned>(lanes_), frame_.alpha()));
  }

  void put_lines(const Values& at, int lines) {
    Values vectors;
    for (int v = 0; v < lines * line_ / lanes_; ++v)
      vectors.push_back(scaled(builder_.CreateAlignedLoad(type_, place(at[1], v), alignment())));
    for (int v = 0; v < lines * line_ / lanes_; ++v)
      frame_.stream(vectors[static_cast<std::size_t>(v)], place(at[0], v));
  }

  // Fewer than a line. A store of no elements would fetch the line all the same.
  void put_some(const Values& from, llvm::Value* count) {
    frame_.emit_unless_zero(count, from, [&](const Values& at) {
      put_elements(at, count);
      return at;
    });
  }

  void put_elements(const Values& at, llvm::Value* count) {
    for (int v = 0; v < line_ / lanes_; ++v) {
      llvm::Value* some = frame_.lanes_before(count, v * lanes_, lanes_);
      llvm::Value* vector = builder_.CreateMaskedLoad(type_, place(at[1], v), alignment(), some,
                                                      llvm::Constant::getNullValue(type_));
      builder_.CreateMaskedStore(scaled(vector), place(at[0], v), alignment(), some);
    }
  }

  llvm::Value* place(llvm::Value* from, int vector) {
    return builder_.CreateConstGEP1_64(frame_.element(), from,
                                       static_cast<std::uint64_t>(vector * lanes_));
  }

  UnitFrame& frame_;
  const Unit& unit_;
  llvm::IRBuilder<>& builder_;
  int lanes_, line_;  // of a vector, of a line
  std::int64_t bytes_;
  llvm::FixedVectorType* type_;
};

}  // namespace

void emit_run(UnitFrame& frame, const Unit& unit, const Target& target, const Values& pointers) {
  RunEmitter(frame, unit, target).emit(pointers);
}

}  // namespace einjit
