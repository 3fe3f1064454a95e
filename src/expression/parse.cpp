#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "expression/expression.hpp"

namespace einjit {
namespace {

constexpr std::size_t kUsualRank = 4;

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string spelled(char c) {
  if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e)
    return fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return fmt::format("'{}'", c);
}

// Parser over the text: position, and label numbers in order of first appearance.
class Parser {
 public:
  explicit Parser(std::string_view text) {
    expression_.text = std::string(text);
    expression_.inputs.reserve(static_cast<std::size_t>(std::ranges::count(text, ',')) + 1);
    expression_.names.reserve(2 * kUsualRank);
    labels_.fill(-1);
  }

  Result<Expression> run() {
    if (auto done = parse_inputs(); !done) return std::unexpected(done.error());
    if (at_end()) {
      imply_output();
    } else {
      position_ += 2;
      Result<Term> output = parse_term(kOutputTerm);
      if (!output) return std::unexpected(output.error());
      if (!at_end())
        return fail(text()[position_] == ',' ? "the output is one term: ',' cannot stand here"
                                             : "'->' stands twice",
                    {position_, position_ + 1});
      expression_.output = std::move(*output);
      if (auto done = check_output(); !done) return std::unexpected(done.error());
    }
    return std::move(expression_);
  }

 private:
  const std::string& text() const { return expression_.text; }
  bool at_end() const { return position_ >= static_cast<int>(text().size()); }

  std::unexpected<Diagnostic> fail(std::string message, SourceRange where) const {
    return std::unexpected(Diagnostic{std::move(message), text(), where});
  }

  Result<void> parse_inputs() {
    for (;;) {
      Result<Term> term = parse_term(static_cast<int>(expression_.inputs.size()));
      if (!term) return std::unexpected(term.error());
      expression_.inputs.push_back(std::move(*term));
      if (at_end() || text()[position_] != ',') return {};
      ++position_;
    }
  }

  static constexpr int kOutputTerm = -1;
  static std::string name_of_term(int number) {
    return number == kOutputTerm ? "the output" : fmt::format("operand {}", number);
  }

  // Reads up to ',', "->" or the end.
  Result<Term> parse_term(int number) {
    Term term;
    term.labels.reserve(kUsualRank);
    term.ranges.reserve(kUsualRank);
    term.range.begin = position_;
    for (; !at_end(); ++position_) {
      const char c = text()[position_];
      if (c == ' ') continue;
      if (is_letter(c)) {
        term.labels.push_back(label_of(c));
        term.ranges.push_back({position_, position_ + 1});
      } else if (c == '.') {
        if (auto done = parse_ellipsis(term, number); !done) return std::unexpected(done.error());
      } else if (c == ',') {
        break;
      } else if (c == '-') {
        if (text().compare(position_, 2, "->") == 0) break;
        return fail("'-' must be followed by '>' at once", {position_, position_ + 1});
      } else {
        return fail(fmt::format("{} cannot stand in {}: labels are letters a-z and A-Z", spelled(c),
                                name_of_term(number)),
                    {position_, position_ + 1});
      }
    }
    term.range.end = position_;
    return term;
  }

  Result<void> parse_ellipsis(Term& term, int number) {
    if (text().compare(position_, 3, "...") != 0)
      return fail(
          fmt::format("'.' in {} must be part of '...', without blanks", name_of_term(number)),
          {position_, position_ + 1});
    if (term.ellipsis >= 0)
      return fail(fmt::format("{} has '...' twice", name_of_term(number)),
                  {position_, position_ + 3});
    term.ellipsis = static_cast<int>(term.labels.size());
    term.ellipsis_range = {position_, position_ + 3};
    position_ += 2;
    return {};
  }

  Label label_of(char c) {
    Label& label = labels_[static_cast<std::size_t>(c)];
    if (label < 0) {
      label = static_cast<Label>(expression_.names.size());
      expression_.names.emplace_back(1, c);
    }
    return label;
  }

  void imply_output() {
    std::map<char, int> count;
    bool ellipsis = false;
    for (const Term& term : expression_.inputs) {
      ellipsis |= term.ellipsis >= 0;
      for (Label label : term.labels) ++count[expression_.names[label][0]];
    }
    const int end = static_cast<int>(text().size());
    expression_.output.range = {end, end};
    if (ellipsis) expression_.output.ellipsis = 0;
    for (auto [c, n] : count) {
      if (n != 1) continue;
      expression_.output.labels.push_back(label_of(c));
      expression_.output.ranges.push_back({end, end});
    }
  }

  Result<void> check_output() const {
    const Term& out = expression_.output;
    for (std::size_t p = 0; p < out.labels.size(); ++p) {
      const Label label = out.labels[p];
      const std::string& name = expression_.names[label];
      const bool known = std::ranges::any_of(expression_.inputs, [&](const Term& term) {
        return std::ranges::count(term.labels, label) > 0;
      });
      if (!known)
        return fail(fmt::format("output label '{}' is in no operand", name), out.ranges[p]);
      if (std::count(out.labels.begin(), out.labels.begin() + static_cast<long>(p), label) > 0)
        return fail(fmt::format("label '{}' stands twice in the output", name), out.ranges[p]);
    }
    return {};
  }

  Expression expression_;
  std::array<Label, 128> labels_;  // per letter; -1: not seen
  int position_ = 0;
};

std::string joined(const Term& term, const std::vector<std::string>& names) {
  std::string text;
  for (int p = 0; p <= static_cast<int>(term.labels.size()); ++p) {
    if (p == term.ellipsis) text += "...";
    if (p < static_cast<int>(term.labels.size())) text += names[term.labels[p]];
  }
  return text;
}

}  // namespace

Result<Expression> parse(std::string_view text) { return Parser(text).run(); }

Result<Expression> from_labels(std::span<const std::vector<int>> inputs,
                               const std::vector<int>& output) {
  Expression expression;
  std::map<int, Label> labels;
  // The text made for printing and for carets: "0 1,1 2->0 2".
  auto add = [&](const std::vector<int>& from) {
    Term term;
    term.range.begin = static_cast<int>(expression.text.size());
    for (int value : from) {
      if (!term.labels.empty()) expression.text += ' ';
      auto [it, added] = labels.try_emplace(value, static_cast<Label>(expression.names.size()));
      if (added) expression.names.push_back(fmt::format("{}", value));
      const int begin = static_cast<int>(expression.text.size());
      expression.text += fmt::format("{}", value);
      term.labels.push_back(it->second);
      term.ranges.push_back({begin, static_cast<int>(expression.text.size())});
    }
    term.range.end = static_cast<int>(expression.text.size());
    return term;
  };
  for (const std::vector<int>& input : inputs) {
    if (&input != inputs.data()) expression.text += ',';
    expression.inputs.push_back(add(input));
  }
  const std::size_t known = labels.size();
  expression.text += "->";
  expression.output = add(output);
  const Term& out = expression.output;
  for (std::size_t p = 0; p < out.labels.size(); ++p) {
    if (out.labels[p] >= static_cast<Label>(known))
      return std::unexpected(Diagnostic{fmt::format("output label {} is in no operand", output[p]),
                                        expression.text, out.ranges[p]});
    if (std::ranges::count(out.labels, out.labels[p]) > 1)
      return std::unexpected(
          Diagnostic{fmt::format("label {} stands twice in the output", output[p]), expression.text,
                     out.ranges[p]});
  }
  return expression;
}

std::string Expression::to_string() const {
  std::string text;
  for (const Term& term : inputs) {
    if (&term != inputs.data()) text += ',';
    text += joined(term, names);
  }
  return text + "->" + joined(output, names);
}

}  // namespace einjit
