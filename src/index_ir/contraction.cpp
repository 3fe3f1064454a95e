#include "index_ir/contraction.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "index_ir/key_text.hpp"

namespace einjit {
namespace {

// Which set of a binary contraction the label belongs to, or the operands that have it.
std::string class_of(const Contraction& c, Label l) {
  const std::uint64_t set = operand_set(c, l);
  if (c.in.size() == 2) {
    switch (set) {
      case 7:
        return "batch";
      case 3:
        return "m";
      case 5:
        return "n";
      case 6:
        return "k";
      default:
        break;
    }
  }
  std::string text = set & 1 ? "out" : "sum";
  for (std::size_t k = 0; k < c.in.size(); ++k)
    if (set >> (k + 1) & 1) text += fmt::format(" in{}", k);
  return text;
}

std::string cell(std::int64_t stride) { return stride ? fmt::format("{}", stride) : "."; }

}  // namespace

std::uint64_t operand_set(const Contraction& c, Label label) {
  std::uint64_t set = c.out.strides[label] != 0;
  for (std::size_t k = 0; k < c.in.size() && k < 63; ++k)
    set |= static_cast<std::uint64_t>(c.in[k].strides[label] != 0) << (k + 1);
  return set;
}

bool is_written_joined(const Contraction& c, Label run, Label along) {
  if (c.out.strides[run] != 1 || c.out.strides[along] != c.extents[run] || c.is_dynamic(run))
    return false;
  return !c.has_sum();
}

bool is_interleaved(const Contraction& c, const Access& access, Label along, Label among) {
  return access.strides[among] == 1 && access.strides[along] == c.extents[among] &&
         c.extents[among] > 1 && c.extents[among] <= kMostInterleaved && !c.is_dynamic(among);
}

bool Contraction::has_sum() const { return std::ranges::count(out.strides, 0) > 0; }

bool Contraction::output_is_empty() const {
  for (Label l = 0; l < label_count(); ++l)
    if (extents[l] == 0 && !is_reduced(l)) return true;
  return false;
}

bool Contraction::sum_is_empty() const {
  for (Label l = 0; l < label_count(); ++l)
    if (extents[l] == 0 && is_reduced(l)) return true;
  return false;
}

double Contraction::point_count() const {
  double count = 1;
  for (std::int64_t extent : extents) count *= static_cast<double>(extent);
  return count;
}

std::string Contraction::to_string() const {
  std::string text =
      fmt::format("contraction {}  alpha {} beta {}\n", name_of(dtype),
                  alpha == Alpha::one ? "1" : "run-time", beta == Beta::zero ? "0" : "run-time");
  text += fmt::format("  {:<6} {:>8} {:>9}", "label", "extent", "out");
  for (std::size_t k = 0; k < in.size(); ++k) text += fmt::format(" {:>9}", fmt::format("in{}", k));
  text += "  class\n";
  for (Label l = 0; l < label_count(); ++l) {
    text += fmt::format("  {:<6} {:>8} {:>9}", names[l], extents[l], cell(out.strides[l]));
    for (const Access& access : in) text += fmt::format(" {:>9}", cell(access.strides[l]));
    text += fmt::format("  {}{}\n", class_of(*this, l), is_dynamic(l) ? " dynamic" : "");
  }
  return text;
}

std::string Contraction::key() const {
  KeyText text(256);
  text.add(name_of(dtype), " ", static_cast<int>(alpha), " ", static_cast<int>(beta), " ",
           in.size());
  for (Label l = 0; l < label_count(); ++l) {
    text.add(";", extents[l], ":", out.strides[l]);
    for (const Access& access : in) text.add(",", access.strides[l]);
    if (is_dynamic(l)) text.add("?");
  }
  return text.take();
}

}  // namespace einjit
