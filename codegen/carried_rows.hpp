// Rows of an output that may begin anywhere on a cache line, stored in whole lines.
//
// A piece of a row comes in whole vectors of a line each. Its elements are moved up, in registers,
// by as many as lie before the row on its first line; what is thereby missing in front is the end
// of the piece before, which waited in the carry, as the end of this one then does.
#pragma once

#include "box.hpp"

namespace einjit {

class CarriedRows {
 public:
  CarriedRows(UnitFrame& frame, const Unit& unit, Box& box)
      : frame_(frame), unit_(unit), box_(box) {}

  // Whether the unit stores so: vectors must be whole lines.
  bool are_needed() const;
  // The vectors of the piece at a position of the other variables; the last may be shorter.
  void put(const std::vector<std::int64_t>& at, const std::vector<Piece>& pieces, Values values);
  // Stores what was put since the last time.
  void flush();

 private:
  struct Row {
    std::vector<std::int64_t> at;
    Values values;
  };
  // Whether the piece is a row's first, its last.
  struct Edges {
    bool begins, ends;
  };

  // Rows that begin at lines, or not even at whole elements of one.
  enum class Way : std::uint8_t { plain, streamed };

  void store_as_it_lies(const Row& row, Way way);
  void store(const Row& row, Edges edges);
  llvm::Value* mask(std::size_t line, std::size_t lines, Edges edges, llvm::Value* past);
  llvm::Value* order(llvm::Value* past_bytes);
  llvm::Value* moved_up(llvm::Value* before, llvm::Value* order, llvm::Value* values);

  UnitFrame& frame_;
  const Unit& unit_;
  Box& box_;
  std::vector<Row> rows_;
  Piece last_;
};

}  // namespace einjit
