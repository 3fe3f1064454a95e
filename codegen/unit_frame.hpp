// The function a unit is emitted into: its arguments, and the two shapes of control flow.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <array>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "unit/unit.hpp"

namespace einjit {

using Values = std::vector<llvm::Value*>;

// Goes on in a new basic block. LLVM selects instructions, combines and shares values a block at a
// time; a block that only falls through costs nothing when it runs.
void start_block(llvm::IRBuilder<>& builder);

// Where a line that is asked for goes.
enum class Into : std::uint8_t { l1_to_write, l2 };

class UnitFrame {
 public:
  UnitFrame(llvm::Module& module, const Unit& unit, const std::string& symbol);

  llvm::IRBuilder<>& builder() { return builder_; }
  llvm::Type* element() const { return element_; }
  int lanes_of_line() const;
  // A list of the numbers from 0 on, of as many bits as an element: two lines of them.
  llvm::Value* numbers();

  // The operands' base pointers, output first.
  const Values& pointers() const { return pointers_; }
  llvm::Value* alpha() { return scale(0, alpha_); }
  llvm::Value* beta() { return scale(1, beta_); }

  // size * factor as an i64, computed once in the entry block if it is not constant.
  llvm::Value* times(const Size& size, std::int64_t factor);
  // pointer + sum of size * factor elements.
  llvm::Value* advance(llvm::Value* pointer, const Size& size, std::int64_t factor);
  // pointer + stride * row elements, for one of many rows: by the scales that addresses have, from
  // every fourth row on, so that two multiples of a stride serve them all.
  llvm::Value* at_row(llvm::Value* pointer, const Size& stride, std::int64_t row);

  // pointer + size * factor * count elements, of a number known when the unit runs.
  llvm::Value* advance(llvm::Value* pointer, const Size& size, std::int64_t factor,
                       llvm::Value* count);

  // The Gray code of a number (Gray, US patent 2632058, 1953).
  llvm::Value* gray_code(llvm::Value* number);

  // for (trips times) carried = body(carried); a constant count of 0 or 1 makes no loop, a run-time
  // count is at least `least`. Returns the last carried values.
  using LoopBody = std::function<Values(const Values& carried)>;
  enum class Least : std::uint8_t { zero, one };
  Values emit_loop(const Size& trips, Values carried, const LoopBody& body,
                   Least least = Least::one);
  // The same for any number of trips.
  Values emit_trips(llvm::Value* trips, Values carried, const LoopBody& body);
  // carried = body(carried) if the slot is not 0.
  Values emit_unless_zero(int slot, Values carried, const LoopBody& body) {
    return emit_unless_zero(this->slot(slot), std::move(carried), body);
  }
  // The same of a number made here.
  Values emit_unless_zero(llvm::Value* number, Values carried, const LoopBody& body);

  // Whether the output's pointer is on a cache line, computed once.
  llvm::Value* is_aligned();
  // Whether it is a whole number of elements: anything else is slow, but allowed.
  llvm::Value* is_on_element();
  // if (condition) then() else otherwise(); neither may define what is used after.
  void emit_if(llvm::Value* condition, const std::function<void()>& then,
               const std::function<void()>& otherwise);

  // Stores a vector past the caches.
  void stream(llvm::Value* vector, llvm::Value* where);

  // Which lanes of a vector whose first is number `first` lie before the number in a slot.
  llvm::Value* lanes_before(int slot, int first, int width);
  // Before a number made here; or, if not `before`, those that do not.
  llvm::Value* lanes_before(llvm::Value* count, int first, int width, bool before = true);
  // Whether a position does.
  llvm::Value* is_before(int slot, int position);

  // Whether the unit is told to store so; streaming only if lines are aligned.
  llvm::Value* is_told(StoreMode mode);

  // Whether the output's pointer is on a cache line and both sizes are this number; computed once.
  llvm::Value* is_aligned_and(const Size& a, const Size& b, std::int64_t number);

  // Asks for a line.
  void prefetch(llvm::Value* address, Into into);
  // Asks for the next lines of the unit's list, into L2: so many, or as the slot says.
  void ask_ahead(int lines);
  // In parts: for one of the next lines of the list, then on to those behind them.
  void ask_for_line(int line);
  void pass_lines(int lines);
  void ask_ahead_by_slot(int slot);

  void finish();

 private:
  llvm::Value* scale(int index, llvm::Value*& cached);
  llvm::Value* is_multiple(std::uint64_t bytes, llvm::Value*& known);
  Values loop(llvm::Value* trips, Values carried, const LoopBody& body);
  llvm::Value* slot(int index);
  llvm::Value* group_of_rows(llvm::Value* pointer, const Size& stride, std::int64_t group);

  llvm::Function* function_;
  llvm::BasicBlock* entry_;
  llvm::IRBuilder<> entry_builder_;  // what is computed once
  llvm::IRBuilder<> builder_;
  llvm::Type* element_;
  llvm::Value* numbers_ = nullptr;
  Values pointers_;
  llvm::Value *ahead_at_ = nullptr,
              *ahead_base_ = nullptr;  // of the list; every loop carries the first
  llvm::BasicBlock* start_;
  llvm::Value *alpha_ = nullptr, *beta_ = nullptr, *aligned_ = nullptr, *on_element_ = nullptr;
  int mode_slot_;
  std::map<std::int64_t, llvm::Value*> told_;
  std::map<int, llvm::Value*> slots_;
  std::map<std::array<int, 3>, llvm::Value*> masks_;
  std::map<std::pair<int, std::int64_t>, llvm::Value*> products_;
  struct Group {
    llvm::Value* start = nullptr;
    const llvm::BasicBlock* block = nullptr;  // good there and where nothing else leads to
  };
  std::map<std::tuple<llvm::Value*, int, std::int64_t>, Group> groups_;  // of four rows each
};

}  // namespace einjit
