#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "index_ir/contraction.hpp"

namespace einjit {
namespace {

// No array is larger than this, in elements; sizes and offsets in bytes then fit 64 bits.
constexpr std::int64_t kMostElements = std::int64_t{1} << 56;

// What makes a layout no layout, or null. Without strides: of the extents alone.
const char* defect_of(std::span<const std::int64_t> extents,
                      std::span<const std::int64_t> strides) {
  std::int64_t count = 1, span = 0;
  for (std::size_t a = 0; a < extents.size(); ++a) {
    const std::int64_t extent = extents[a], stride = strides.empty() ? 0 : strides[a];
    if (extent < 0) return "has a negative extent";
    std::int64_t reach;
    if (extent > kMostElements || __builtin_mul_overflow(extent, stride, &reach) ||
        std::abs(reach) > kMostElements || (span += std::abs(reach)) > kMostElements)
      return "spans too much memory";
    // Empty arrays count as one element an empty axis, so that the rest is still bounded.
    if (__builtin_mul_overflow(count, std::max<std::int64_t>(extent, 1), &count) ||
        count > kMostElements)
      return "has too many elements";
  }
  return nullptr;
}
const char* defect_of(const Layout& layout) {
  if (layout.strides.size() != layout.extents.size()) return "has not one stride an axis";
  return defect_of(layout.extents, layout.strides);
}

// The label of an ellipsis axis counted from the right (0 is the last) follows the named ones.
class Binder {
 public:
  Binder(const Expression& expression, std::span<const Layout> inputs)
      : expression_(expression), inputs_(inputs) {}

  Result<Bound> run(const std::optional<Layout>& output) {
    if (auto done = check_counts(); !done) return std::unexpected(done.error());
    for (std::size_t k = 0; k < inputs_.size(); ++k)
      ellipsis_axes_ = std::max(ellipsis_axes_, extra_axes(k));
    Contraction& c = bound_.contraction;
    c.names = expression_.names;
    for (int e = 0; e < ellipsis_axes_; ++e) c.names.push_back(fmt::format("...{}", e));
    c.extents.assign(c.names.size(), 1);
    owner_.assign(c.names.size(), {-1, -1});
    c.dtype = inputs_[0].dtype;
    c.in.reserve(inputs_.size());
    for (std::size_t k = 0; k < inputs_.size(); ++k)
      if (auto done = add_operand(k); !done) return std::unexpected(done.error());
    drop_broadcast_strides();
    if (auto done = add_output(output); !done) return std::unexpected(done.error());
    return std::move(bound_);
  }

 private:
  std::unexpected<Diagnostic> fail(std::string message, SourceRange where,
                                   std::vector<std::string> notes = {}) const {
    return std::unexpected(
        Diagnostic{std::move(message), expression_.text, where, std::move(notes)});
  }

  int extra_axes(std::size_t k) const {
    return inputs_[k].rank() - static_cast<int>(expression_.inputs[k].labels.size());
  }

  Result<void> check_counts() const {
    const std::size_t terms = expression_.inputs.size();
    if (terms != inputs_.size())
      return fail(
          fmt::format("the expression has {} term{} but {} operand{} given", terms,
                      terms == 1 ? "" : "s", inputs_.size(), inputs_.size() == 1 ? " is" : "s are"),
          {0, expression_.inputs.back().range.end});
    for (std::size_t k = 0; k < terms; ++k) {
      const Term& term = expression_.inputs[k];
      if (const char* wrong = defect_of(inputs_[k]))
        return fail(fmt::format("the layout of operand {} {}", k, wrong), term.range);
      const int extra = extra_axes(k);
      if (extra == 0 || (extra > 0 && term.ellipsis >= 0)) continue;
      return fail(
          fmt::format(
              "operand {} has {} ax{} (shape {}) but its term names {}{}", k, inputs_[k].rank(),
              inputs_[k].rank() == 1 ? "is" : "es",
              inputs_[k].rank() ? fmt::format("{}", fmt::join(inputs_[k].extents, "x")) : "scalar",
              term.labels.size(), extra > 0 ? " and has no '...'" : ""),
          term.range);
    }
    return {};
  }

  // The label of each axis of a term whose operand has `extra` ellipsis axes.
  struct AxisLabel {
    Label label;
    SourceRange where;
  };
  std::vector<AxisLabel> axes_of(const Term& term, int extra) const {
    std::vector<AxisLabel> axes;
    axes.reserve(term.labels.size() + static_cast<std::size_t>(std::max(extra, 0)));
    const Label first_ellipsis = static_cast<Label>(expression_.names.size());
    for (int p = 0; p <= static_cast<int>(term.labels.size()); ++p) {
      if (p == term.ellipsis)
        for (int e = extra - 1; e >= 0; --e)
          axes.push_back({first_ellipsis + e, term.ellipsis_range});
      if (p < static_cast<int>(term.labels.size()))
        axes.push_back({term.labels[p], term.ranges[p]});
    }
    return axes;
  }

  std::string label_name(Label label) const {
    const std::string& name = bound_.contraction.names[label];
    return name.starts_with("...") ? fmt::format("ellipsis axis {} from the right", name.substr(3))
                                   : fmt::format("label '{}'", name);
  }

  Result<void> add_operand(std::size_t k) {
    Contraction& c = bound_.contraction;
    const Layout& layout = inputs_[k];
    if (layout.dtype != c.dtype)
      return fail(fmt::format("operand {} is {} but operand 0 is {}: mixed types are not supported",
                              k, name_of(layout.dtype), name_of(c.dtype)),
                  expression_.inputs[k].range);
    const std::vector<AxisLabel> axes = axes_of(expression_.inputs[k], extra_axes(k));
    Access access{std::vector<std::int64_t>(c.names.size(), 0)};
    std::vector<int> first_axis(c.names.size(), -1);
    for (int a = 0; a < layout.rank(); ++a) {
      const auto [label, where] = axes[a];
      const std::int64_t extent = layout.extents[a];
      if (first_axis[label] >= 0 && layout.extents[first_axis[label]] != extent)
        return fail(
            fmt::format("{} repeats in operand {} with extents {} (axis {}) and {} (axis {})",
                        label_name(label), k, layout.extents[first_axis[label]], first_axis[label],
                        extent, a),
            where);
      if (first_axis[label] < 0) first_axis[label] = a;
      std::int64_t& known = c.extents[label];
      if (extent != known && extent != 1 && known != 1)
        return fail(
            fmt::format("{} has extent {} in operand {} (axis {}) and {} in operand {} (axis {})",
                        label_name(label), known, owner_[label].operand, owner_[label].axis, extent,
                        k, a),
            where, {"extents must agree, or be 1 to broadcast"});
      if (known == 1 && extent != 1) {
        known = extent;
        owner_[label] = {static_cast<int>(k), a};
      }
      // An axis of extent 1 broadcasts: it has no stride.
      if (extent != 1) access.strides[label] += layout.strides[a];
    }
    c.in.push_back(std::move(access));
    return {};
  }

  void drop_broadcast_strides() {
    Contraction& c = bound_.contraction;
    for (Label l = 0; l < c.label_count(); ++l)
      if (c.extents[l] <= 1)
        for (Access& access : c.in) access.strides[l] = 0;
  }

  Result<void> add_output(const std::optional<Layout>& output) {
    const Term& term = expression_.output;
    if (ellipsis_axes_ > 0 && term.ellipsis < 0)
      return fail(fmt::format("the output lacks '...', which stands for {} ax{} of the operands",
                              ellipsis_axes_, ellipsis_axes_ == 1 ? "is" : "es"),
                  term.range);
    Contraction& c = bound_.contraction;
    const std::vector<AxisLabel> axes = axes_of(term, ellipsis_axes_);
    bound_.output_extents.reserve(axes.size());
    for (const AxisLabel& axis : axes) bound_.output_extents.push_back(c.extents[axis.label]);
    if (defect_of(bound_.output_extents, {}))
      return fail("the result has too many elements", term.range);
    if (const char* wrong = output ? defect_of(*output) : nullptr)
      return fail(fmt::format("the layout of the output {}", wrong), term.range);
    const Layout layout = output.value_or(Layout::row_major(c.dtype, bound_.output_extents));
    if (layout.dtype != c.dtype)
      return fail(fmt::format("the output is {} but the operands are {}", name_of(layout.dtype),
                              name_of(c.dtype)),
                  term.range);
    if (layout.extents != bound_.output_extents)
      return fail(
          fmt::format("the output given has shape ({}), but the expression gives ({})",
                      fmt::join(layout.extents, ","), fmt::join(bound_.output_extents, ",")),
          term.range);
    c.out.strides.assign(c.names.size(), 0);
    for (std::size_t a = 0; a < axes.size(); ++a)
      if (layout.extents[a] != 1)
        c.out.strides[axes[a].label] = layout.extents[a] == 0 ? 1 : layout.strides[a];
    return check_no_overlap(layout, term);
  }

  // Axes in order of |stride|, each must step over the span of all smaller ones. (Sufficient, and
  // true of every layout that slicing, transposing and reversing a dense array can make.)
  Result<void> check_no_overlap(const Layout& layout, const Term& term) const {
    if (layout.element_count() == 0) return {};
    std::vector<std::pair<std::int64_t, std::int64_t>> axes;
    axes.reserve(layout.extents.size());
    for (int a = 0; a < layout.rank(); ++a)
      if (layout.extents[a] > 1) axes.emplace_back(std::abs(layout.strides[a]), layout.extents[a]);
    std::ranges::sort(axes);
    std::int64_t span = 0;
    for (auto [stride, extent] : axes) {
      if (stride <= span)
        return fail(fmt::format("the output given overlaps itself (strides {})",
                                fmt::join(layout.strides, ",")),
                    term.range);
      span += stride * (extent - 1);
    }
    return {};
  }

  struct Owner {
    int operand, axis;
  };
  const Expression& expression_;
  std::span<const Layout> inputs_;
  int ellipsis_axes_ = 0;
  std::vector<Owner> owner_;  // where a label's extent was first seen
  Bound bound_;
};

}  // namespace

Result<Bound> bind(const Expression& expression, std::span<const Layout> inputs,
                   const std::optional<Layout>& output) {
  return Binder(expression, inputs).run(output);
}

}  // namespace einjit
