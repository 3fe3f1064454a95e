#include "unit/unit.hpp"

#include "index_ir/key_text.hpp"

namespace einjit {
namespace {

void add(KeyText& text, const Size& size) {
  if (size.is_constant())
    text.add(size.value);
  else
    text.add("%", size.slot);
}

void add(KeyText& text, const UnitRef& ref) {
  if (ref.is_factored_out) text.add("times ");
  text.add(ref.padded ? "padded[" : "[");
  for (const Size& stride : ref.loop_strides) {
    add(text, stride);
    text.add(" ");
  }
  text.add("|");
  for (const Size& stride : ref.var_strides) {
    text.add(" ");
    add(text, stride);
  }
  text.add("]");
  if (ref.ahead.is(0)) return;
  text.add(" ahead ");
  add(text, ref.ahead);
}

void add(KeyText& text, const UnitVar& var) {
  text.add("; ", var.is_halved ? "halved " : "",
           var.role == Role::vec      ? "vec"
           : var.role == Role::unroll ? "unroll"
                                      : "reduce");
  if (var.is_reduced) {
    text.add(" sum ");
    add(text, var.trips);
    text.add("x", var.factor, "+");
    add(text, Size{var.tail, var.tail_slot});
    text.add(" chains ", var.chains);
  } else {
    text.add(" ", var.length);
  }
  if (var.active_slot >= 0) text.add(" last %", var.active_slot);
  if (var.merge == 0) return;
  text.add(" after ");
  add(text, var.superblocks);
  text.add(" x ", var.merge, " + ");
  add(text, var.blocks);
  text.add(var.is_gray ? " gray blocks of " : " blocks of ", var.merge);
}

void add(KeyText& text, const UnitLoop& loop) {
  text.add("; for ");
  add(text, loop.trips);
  text.add(" step ", loop.step, " tail ", loop.tail, " var ", loop.var);
}

}  // namespace

std::string Unit::key() const {
  KeyText text(512);
  text.add(name_of(dtype), " alpha ", alpha == Alpha::one ? "1" : "run-time", " old ",
           old == Old::ignore        ? "ignored"
           : old == Old::add_if_told ? "added if told"
                                     : "beta");
  if (store == Store::streaming) text.add(" streamed");
  if (prefetch == Prefetch::output) text.add(" prefetched");
  if (mode_slot >= 0) text.add(" stored as %", mode_slot);
  if (ahead.lines_slot >= 0) text.add(" ahead %", ahead.lines_slot, " a tile");
  if (ahead.lines > 0) text.add(" ahead ", ahead.lines, ahead.per_step ? " a step" : " a tile");
  for (const UnitLoop& loop : loops) add(text, loop);
  if (is_diagonal) text.add("; diagonal");
  for (const UnitVar& var : vars) add(text, var);
  text.add("; out");
  add(text, out);
  for (const UnitRef& ref : in) {
    text.add(" in");
    add(text, ref);
  }
  if (run_slot >= 0) text.add("; a run of %", run_slot);
  if (carry) {
    text.add(" carry");
    add(text, *carry);
  }
  return text.take();
}

}  // namespace einjit
