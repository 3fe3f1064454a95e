// Floor 1: the text of an einsum expression, parsed.
//
// In: "ij,jk->ik". Out: an Expression: labels as integers, per term in order, with the source range
// of each, for diagnostics. Nothing is known of shapes here. The grammar is numpy.einsum's: terms
// of letters with at most one "..." each, blanks anywhere but inside "->" and "...", explicit or
// implicit output (labels that occur once, in ASCII order, after the ellipsis).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "einjit/error.hpp"

namespace einjit {

using Label = int;

// One operand's or the output's labels. `ellipsis` is the position in `labels` before which "..."
// stands, or -1.
struct Term {
  std::vector<Label> labels;
  std::vector<SourceRange> ranges;  // per label
  int ellipsis = -1;
  SourceRange ellipsis_range = {};
  SourceRange range = {};
};

struct Expression {
  std::string text;
  std::vector<Term> inputs;
  Term output;                     // spelled out where the text leaves it implicit
  std::vector<std::string> names;  // per label, for printing

  // "ij,jk->ik", output explicit, blanks dropped.
  std::string to_string() const;
};

// Parses the text; the error points at the offending characters.
Result<Expression> parse(std::string_view text);

// The same from integer labels (any non-negative values, more than 52 if need be).
Result<Expression> from_labels(std::span<const std::vector<int>> inputs,
                               const std::vector<int>& output);

}  // namespace einjit
