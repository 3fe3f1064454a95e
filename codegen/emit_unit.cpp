#include "emit_unit.hpp"

#include <span>

#include "emit_run.hpp"
#include "emit_tile.hpp"

namespace einjit {
namespace {

// Emits the last two loops by diagonals. Where both have eight trips, trip `a` and `b` of them is
// at place g = gray(b) of the inner loop and a ^ g of the outer one; else at b and (a + b) mod the
// outer trips.
void emit_diagonal(UnitFrame& frame, const Unit& unit, const Target& target, const Values& pointers,
                   const std::vector<std::int64_t>& lengths) {
  auto& builder = frame.builder();
  const std::size_t inner = unit.loops.size() - 1, outer = inner - 1;
  // Parts of lines want their other parts soon: an output that begins within one goes in turn.
  llvm::Value* is_aligned = frame.is_aligned();
  llvm::Value* has_eight =
      frame.is_aligned_and(unit.loops[outer].trips, unit.loops[inner].trips, kDiagonal);
  llvm::Value* outer_trips = frame.times(unit.loops[outer].trips, 1);
  auto next = [&](llvm::Value* trip) {
    return builder.CreateSub(trip, builder.getInt64(static_cast<std::uint64_t>(-1)));
  };
  // One further on a diagonal, from the last trip to the first.
  auto next_on_diagonal = [&](llvm::Value* trip) {
    llvm::Value* further = next(trip);
    llvm::Value* around = builder.CreateSelect(builder.CreateICmpEQ(further, outer_trips),
                                               builder.getInt64(0), further);
    return builder.CreateSelect(is_aligned, around, trip);
  };
  frame.emit_loop(unit.loops[outer].trips, {builder.getInt64(0)}, [&](const Values& a) {
    frame.emit_loop(unit.loops[inner].trips, {builder.getInt64(0), a[0]}, [&](const Values& b) {
      llvm::Value* gray = frame.gray_code(b[0]);
      llvm::Value* at_inner = builder.CreateSelect(has_eight, gray, b[0]);
      llvm::Value* at_outer = builder.CreateSelect(has_eight, builder.CreateXor(a[0], gray), b[1]);
      Values at = pointers;
      for (std::size_t o = 0; o < at.size(); ++o) {
        const UnitRef& ref = unit.ref(o);
        for (auto [loop, place] : {std::pair{outer, at_outer}, {inner, at_inner}})
          at[o] = frame.advance(at[o], ref.loop_strides[loop], unit.loops[loop].step, place);
      }
      emit_tile(frame, unit, target, lengths, at);
      return Values{next(b[0]), next_on_diagonal(b[1])};
    });
    return Values{next(a[0])};
  });
}

// Emits the loops from `depth` inward.
void emit_loops(UnitFrame& frame, const Unit& unit, const Target& target, std::size_t depth,
                const Values& pointers, std::vector<std::int64_t> lengths) {
  if (depth == unit.loops.size()) {
    if (unit.run_slot >= 0) return emit_run(frame, unit, target, pointers);
    emit_tile(frame, unit, target, std::move(lengths), pointers);
    return;
  }
  if (unit.is_diagonal && depth + 2 == unit.loops.size()) {
    for (const UnitLoop& each : std::span(unit.loops).last(2))
      if (each.var >= 0 && unit.vars[static_cast<std::size_t>(each.var)].active_slot < 0)
        lengths[static_cast<std::size_t>(each.var)] = each.step;
    return emit_diagonal(frame, unit, target, pointers, lengths);
  }
  const UnitLoop& loop = unit.loops[depth];
  auto step = [&](const Values& at) {
    Values next;
    for (std::size_t o = 0; o < at.size(); ++o) {
      const UnitRef& ref = unit.ref(o);
      next.push_back(frame.advance(at[o], ref.loop_strides[depth], loop.step));
    }
    return next;
  };
  auto with_length = [&](std::int64_t length) {
    std::vector<std::int64_t> changed = lengths;
    // A masked variable's length is already that of its pieces, in whole vectors.
    const auto var = static_cast<std::size_t>(loop.var);
    if (loop.var >= 0 && unit.vars[var].active_slot < 0) changed[var] = length;
    return changed;
  };
  // Pointers that stand still are not carried.
  std::vector<std::size_t> moving;
  Values carried;
  for (std::size_t o = 0; o < pointers.size(); ++o) {
    const UnitRef& ref = unit.ref(o);
    if (ref.loop_strides[depth].is(0)) continue;
    moving.push_back(o);
    carried.push_back(pointers[o]);
  }
  Values at = pointers;
  carried = frame.emit_loop(loop.trips, std::move(carried), [&](const Values& in) {
    Values current = pointers;
    for (std::size_t m = 0; m < moving.size(); ++m) current[moving[m]] = in[m];
    emit_loops(frame, unit, target, depth + 1, current, with_length(loop.step));
    const Values next = step(current);
    Values out;
    for (std::size_t o : moving) out.push_back(next[o]);
    return out;
  });
  for (std::size_t m = 0; m < moving.size(); ++m) at[moving[m]] = carried[m];
  if (loop.tail > 0) emit_loops(frame, unit, target, depth + 1, at, with_length(loop.tail));
}

}  // namespace

std::unique_ptr<llvm::Module> emit_unit(llvm::LLVMContext& context, const Unit& unit,
                                        const Target& target, const std::string& symbol) {
  auto module = std::make_unique<llvm::Module>("einjit", context);
  UnitFrame frame(*module, unit, symbol);
  std::vector<std::int64_t> lengths;
  for (const UnitVar& var : unit.vars) lengths.push_back(var.length);
  emit_loops(frame, unit, target, 0, frame.pointers(), std::move(lengths));
  frame.finish();
  return module;
}

}  // namespace einjit
