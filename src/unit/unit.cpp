#include "unit/unit.hpp"

#include <fmt/format.h>

namespace einjit {
namespace {

std::string text_of(const Size& size) {
  return size.is_constant() ? fmt::format("{}", size.value) : fmt::format("%{}", size.slot);
}

std::string text_of(const UnitRef& ref) {
  std::string text = ref.padded ? "padded[" : "[";
  for (const Size& stride : ref.loop_strides) text += text_of(stride) + " ";
  text += "|";
  for (const Size& stride : ref.var_strides) text += " " + text_of(stride);
  text += "]";
  if (!ref.ahead.is(0)) text += " ahead " + text_of(ref.ahead);
  return text;
}

}  // namespace

std::string Unit::key() const {
  std::string text =
      fmt::format("{} alpha {} old {}", name_of(dtype), alpha == Alpha::one ? "1" : "run-time",
                  old == Old::ignore        ? "ignored"
                  : old == Old::add_if_told ? "added if told"
                                            : "beta");
  if (store == Store::streaming) text += " streamed";
  if (prefetch == Prefetch::output) text += " prefetched";
  if (mode_slot >= 0) text += fmt::format(" stored as %{}", mode_slot);
  if (ahead.lines_slot >= 0) text += fmt::format(" ahead %{} a tile", ahead.lines_slot);
  if (ahead.lines > 0)
    text += fmt::format(" ahead {} a {}", ahead.lines, ahead.per_step ? "step" : "tile");
  for (const UnitLoop& loop : loops)
    text += fmt::format("; for {} step {} tail {} var {}", text_of(loop.trips), loop.step,
                        loop.tail, loop.var);
  for (const UnitVar& var : vars) {
    const char* role = var.role == Role::vec      ? "vec"
                       : var.role == Role::unroll ? "unroll"
                                                  : "reduce";
    text += fmt::format("; {}", role);
    if (var.is_reduced)
      text += fmt::format(" sum {}x{}+{} chains {}", text_of(var.trips), var.factor,
                          text_of(Size{var.tail, var.tail_slot}), var.chains);
    else
      text += fmt::format(" {}", var.length);
    if (var.active_slot >= 0) text += fmt::format(" last %{}", var.active_slot);
    if (var.merge > 0)
      text += fmt::format(" after {} x {} + {} blocks of {}", text_of(var.superblocks), var.merge,
                          text_of(var.blocks), var.merge);
  }
  text += "; out" + text_of(out);
  for (const UnitRef& ref : in) text += " in" + text_of(ref);
  return text;
}

}  // namespace einjit
