// The points of a tile's box as vectors in registers, and how they are loaded.
//
// A box with lengths fixed is cut along its vec variable into pieces of one vector each; a Point is
// one piece at one position of every other variable. load_value() picks how an operand's values
// there come: a vector load where it is contiguous in the vec variable, one element spread over the
// lanes where it does not move, a transposed block where it is contiguous in another variable of
// the tile, else a gather. Loaded values are kept in scopes, so that each is loaded once.
#pragma once

#include "unit_frame.hpp"

namespace einjit {

// Elements [offset, offset + active) of the vec variable, in a vector of `width` (1: a scalar).
// With `active_slot`, how many of them there are is known at run time only: the slot's number, less
// `before`.
struct Piece {
  std::int64_t offset = 0;
  int width = 1;
  int active = 1;
  int active_slot = -1;
  int before = 0;
  bool is_whole() const { return active == width && active_slot < 0; }
};

// Cuts a length into pieces of at most `lanes`; the last is as narrow as it can be, or as many as
// the slot says.
std::vector<Piece> cut_into_pieces(std::int64_t length, int lanes, int active_slot = -1);

struct Point {
  Piece piece;
  std::vector<std::int64_t> at;  // position per variable, but for the vec one
};

class Box {
 public:
  Box(UnitFrame& frame, const Unit& unit, int vec_var, int lanes);

  // The current pointers (output first) and lengths of the variables along which blocks may be
  // loaded at once.
  Values pointers;
  std::vector<std::int64_t> lengths;

  llvm::Type* type_of(const Piece& piece) const;
  llvm::Value* spread(llvm::Value* scalar, const Piece& piece);
  llvm::Value* load_value(int input, const Point& point);
  // One address, or a vector of them for a strided piece.
  llvm::Value* address(int operand, const UnitRef& ref, const std::vector<std::int64_t>& at,
                       std::int64_t vec_offset);
  // Of position `row` of a piece, or, where that is not there, of its first: what nobody mapped is
  // slow to touch even under an empty mask.
  llvm::Value* address_of_row(int operand, const UnitRef& ref, const std::vector<std::int64_t>& at,
                              const Piece& rows, std::int64_t row);
  llvm::Value* addresses(int operand, const UnitRef& ref, const Point& point);
  llvm::Value* gather(llvm::Value* where, const Piece& piece);
  // Lanes under a mask, or all if that is null.
  llvm::Value* load_vector(llvm::Value* pointer, int width, llvm::Value* mask);
  llvm::Align alignment() const { return align_; }  // of an element
  int lanes() const { return lanes_; }
  // The lanes of a piece that are there; null: all.
  llvm::Value* mask_of(const Piece& piece) const;
  // Such lanes of a row that belongs to position `row` of a piece along another variable.
  llvm::Value* mask_of_row(const Piece& lanes, const Piece& rows, int row) const;

  // A variable along which the operand is contiguous while it is strided along the vec variable:
  // the one to transpose with; -1 if none.
  int transposed_var(const UnitRef& ref, const Piece& piece) const;

  // A short variable whose positions lie side by side where the vec variable's are as far apart as
  // it is long, for a piece of a whole vector: the one whose values are taken apart in registers,
  // or put together; -1 if none.
  int interleaved_var(const UnitRef& ref, const Piece& piece) const;

  // A variable along which whole runs of the vec variable lie end to end in the operand, if those
  // are not whole vectors and nothing is summed: the one to join with; -1 if none.
  int joined_var(const UnitRef& ref) const;

  // Asks for the next lines of the list between the next loads, of which there are so many: a burst
  // of requests would keep loads waiting. finish_asking() asks for the rest.
  void ask_between_loads(int lines, std::int64_t loads);
  void finish_asking();

  // Values loaded between push and pop are forgotten at pop. A value is kept in the scope given by
  // set_scope_of_input, or the innermost.
  void push_scope() { scopes_.emplace_back(); }
  void pop_scope() { scopes_.pop_back(); }
  void set_scope_of_input(int input, std::size_t scope) { scope_of_input_[input] = scope; }

 private:
  using Key = std::vector<std::int64_t>;
  Key key_of(int input, const Point& point) const;
  llvm::Value*& cached(int input, const Key& key);
  void ask_ahead(const UnitRef& ref, llvm::Value* from);
  void ask_for_lines(int until);
  llvm::Value* load_raw(int operand, const UnitRef& ref, const Point& point);
  void load_transposed(int input, const Point& point, int var);
  void load_interleaved(int input, const Point& point, int var);

  UnitFrame& frame_;
  const Unit& unit_;
  int vec_var_;
  int lanes_;  // of a whole vector
  llvm::Align align_;
  std::vector<std::map<Key, llvm::Value*>> scopes_;
  std::vector<std::size_t> scope_of_input_;
  int lines_ = 0, lines_asked_ = 0;  // of the list, in this tile
  std::int64_t loads_ = 0, loads_done_ = 0;
};

}  // namespace einjit
