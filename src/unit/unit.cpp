#include "unit/unit.hpp"

#include <charconv>
#include <concepts>
#include <string_view>

namespace einjit {
namespace {

// Keys are made for every unit of every plan: text and numbers, put one behind the other.
class Text {
 public:
  Text() { text_.reserve(512); }

  template <class... Parts>
  void add(const Parts&... parts) {
    (put(parts), ...);
  }
  std::string take() { return std::move(text_); }

 private:
  void put(std::string_view part) { text_ += part; }
  void put(std::integral auto number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    text_.append(digits, end);
  }
  void put(const Size& size) {
    if (size.is_constant())
      put(size.value);
    else
      add("%", size.slot);
  }
  void put(const UnitRef& ref) {
    add(ref.padded ? "padded[" : "[");
    for (const Size& stride : ref.loop_strides) add(stride, " ");
    add("|");
    for (const Size& stride : ref.var_strides) add(" ", stride);
    add("]");
    if (!ref.ahead.is(0)) add(" ahead ", ref.ahead);
  }

  std::string text_;
};

void add_var(Text& text, const UnitVar& var) {
  text.add("; ", var.role == Role::vec ? "vec" : var.role == Role::unroll ? "unroll" : "reduce");
  if (var.is_reduced)
    text.add(" sum ", var.trips, "x", var.factor, "+", Size{var.tail, var.tail_slot}, " chains ",
             var.chains);
  else
    text.add(" ", var.length);
  if (var.active_slot >= 0) text.add(" last %", var.active_slot);
  if (var.merge > 0)
    text.add(" after ", var.superblocks, " x ", var.merge, " + ", var.blocks, " blocks of ",
             var.merge);
}

}  // namespace

std::string Unit::key() const {
  Text text;
  text.add(name_of(dtype), " alpha ", alpha == Alpha::one ? "1" : "run-time", " old ",
           old == Old::ignore        ? "ignored"
           : old == Old::add_if_told ? "added if told"
                                     : "beta");
  if (store == Store::streaming) text.add(" streamed");
  if (prefetch == Prefetch::output) text.add(" prefetched");
  if (mode_slot >= 0) text.add(" stored as %", mode_slot);
  if (ahead.lines_slot >= 0) text.add(" ahead %", ahead.lines_slot, " a tile");
  if (ahead.lines > 0) text.add(" ahead ", ahead.lines, ahead.per_step ? " a step" : " a tile");
  for (const UnitLoop& loop : loops)
    text.add("; for ", loop.trips, " step ", loop.step, " tail ", loop.tail, " var ", loop.var);
  for (const UnitVar& var : vars) add_var(text, var);
  text.add("; out", out);
  for (const UnitRef& ref : in) text.add(" in", ref);
  return text.take();
}

}  // namespace einjit
