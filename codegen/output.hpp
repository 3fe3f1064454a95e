// A tile's results on their way to memory.
//
// Results are collected first and stored together, so that what is known at run time only (are
// lines aligned, is there an old value to add) costs one branch over stores and not a second unit.
#pragma once

#include <optional>

#include "box.hpp"

namespace einjit {

class Output {
 public:
  Output(UnitFrame& frame, const Unit& unit, Box& box, int vec_var, int lanes)
      : frame_(frame), unit_(unit), box_(box), vec_var_(vec_var), lanes_(lanes) {}

  // Asks for the line at a point, to be written soon.
  void prefetch(const Point& point);
  void put(const Point& point, llvm::Value* sum);
  // A block along the variable in which the output is contiguous: sums[i] at first + i.
  void put_transposed(const Point& first, const Values& sums);
  // The values of all positions of a variable that lie interleaved, from the first point on.
  void put_interleaved(const Point& first, const Values& sums);
  // Runs end to end from the first point on, in parts of the given pieces: they are stored as whole
  // vectors.
  void put_joined(const Point& first, const std::vector<Piece>& pieces, const Values& sums);
  // Stores what was put since the last time.
  void flush();

 private:
  // A vector (or scalar) and where it goes: to the lanes from a point on, or each lane to its own
  // place. Addresses are made where they are used, which is shorter than keeping them.
  struct Result {
    llvm::Value* sum;
    std::vector<std::int64_t> at;
    std::int64_t offset;  // along the vec variable
    std::int64_t behind;  // elements beyond that
    Piece piece;
    llvm::Value* mask;  // null: all lanes
    bool is_scattered;
    std::optional<Piece> rows = {};  // of a transposed block: what the offset is a row of
  };
  enum class Way : std::uint8_t { plain, streamed, add_old };

  void add(Result result);
  void store_all(Way way);
  void store(const Result& result, Way way);
  llvm::Value* address_of(const Result& result);
  llvm::Value* old(const Result& result, llvm::Value* where);
  // The condition of streaming; null: never.
  llvm::Value* streams();

  UnitFrame& frame_;
  const Unit& unit_;
  Box& box_;
  int vec_var_;
  int lanes_;
  std::vector<Result> results_;
};

}  // namespace einjit
