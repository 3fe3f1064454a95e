// Floor 2: the index IR. A Contraction is every label with its extent and its stride in every
// operand; nothing else of the expression is left.
//
//     out[...] = alpha * sum over reduced labels of (in0[...] * in1[...] * ...) + beta * out[...]
//
// Repeated labels in one operand (diagonals) are one stride, size-1 broadcasts are stride 0, an
// ellipsis is ordinary labels, extents of 1 are gone, labels that move together are fused.
//
//   contraction f32  alpha 1 beta 0
//     label  extent  out  in0  in1  class
//     i          64   32  128    .  m
//     k          32    1    .    1  n
//     j         128    .    1   32  k
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "einjit/layout.hpp"
#include "expression/expression.hpp"

namespace einjit {

// One operand's strides in elements, indexed by label; 0: absent or broadcast.
struct Access {
  std::vector<std::int64_t> strides;
  bool operator==(const Access&) const = default;
};

// What happens to the old output and to the sum: which factors are known to be trivial.
enum class Alpha : std::uint8_t { one, runtime };
enum class Beta : std::uint8_t { zero, runtime };

struct Contraction {
  DType dtype = DType::f32;
  Alpha alpha = Alpha::one;
  Beta beta = Beta::zero;
  std::vector<std::int64_t> extents;  // per label
  std::vector<std::string> names;     // per label, for printing only
  Access out;
  std::vector<Access> in;
  // Per label: its extent is one of many that the same code must serve. Empty: none is.
  std::vector<bool> dynamic;

  bool is_dynamic(Label label) const { return label >= 0 && !dynamic.empty() && dynamic[label]; }
  int label_count() const { return static_cast<int>(extents.size()); }
  bool is_reduced(Label label) const { return out.strides[label] == 0; }
  bool has_sum() const;  // some label is reduced
  // The output has no elements.
  bool output_is_empty() const;
  // Some reduced label has extent 0, so that the sum is empty.
  bool sum_is_empty() const;
  // Multiply-adds of one loop nest over all labels.
  double point_count() const;
  std::string to_string() const;
  // All that can change the generated code, and no names: equal keys mean equal kernels.
  std::string key() const;

  bool operator==(const Contraction&) const = default;
};

// A bound expression: the contraction over all operands, and the result's shape.
struct Bound {
  Contraction contraction;
  std::vector<std::int64_t> output_extents;
};

// Resolves labels against the operands' layouts. Without `output` the result is row-major. Errors:
// rank, extent or repetition mismatches; an output whose shape differs or whose elements overlap.
Result<Bound> bind(const Expression& expression, std::span<const Layout> inputs,
                   const std::optional<Layout>& output = std::nullopt);

// The labels of a contraction that became each label of another, outermost first.
using LabelGroups = std::vector<std::vector<Label>>;

// Drops labels of extent 1, fuses labels that move together in every operand and orders what is
// left: output labels by falling output stride, then reduced labels by falling stride. The result
// does not depend on the labels' names or order. Dynamic labels are neither dropped nor fused.
Contraction canonical(const Contraction& contraction, LabelGroups* groups = nullptr);

// What canonical() made of `like`'s source, made of the same source with other extents of dynamic
// labels: the same labels in the same order. Nothing if the strides do not allow it.
std::optional<Contraction> regrouped(const Contraction& contraction, const LabelGroups& groups,
                                     const Contraction& like);

// Whether whole runs of the contiguous label `run` lie end to end in the output along another one
// and are better written as one: those of copies and products. (Sums of few steps would wait for
// the shuffles.)
bool is_written_joined(const Contraction& contraction, Label run, Label along);

// The longest label whose values are taken apart in registers one by one; more are transposed as
// blocks.
inline constexpr std::int64_t kMostInterleaved = 3;

// Whether an array holds a value for each position of a short label `among`, position after
// position of `along`: as the channels of pixels lie, or the parts of complex numbers.
bool is_interleaved(const Contraction& contraction, const Access& access, Label along, Label among);

// The operands that contain the label, as a bit set; bit 0 is the output, bit 1 + i input i.
std::uint64_t operand_set(const Contraction& contraction, Label label);

}  // namespace einjit
