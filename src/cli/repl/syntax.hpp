// Cutting a REPL line into pieces: blanks, commas and brackets.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace einjit {

std::string trimmed(const std::string& text);
bool is_name(const std::string& text);

// Words separated by blanks outside brackets and quotes, with their positions.
struct ReplWord {
  std::string text;
  std::size_t begin;
};
std::vector<ReplWord> split_words(const std::string& text);

// The parts between commas outside brackets and quotes, trimmed; "" has none.
std::vector<std::string> split_commas(const std::string& text);

// "name(arguments)" or "value[arguments]" with the closing bracket at the end.
struct Bracketed {
  std::string head, inside;
};
std::optional<Bracketed> match_brackets(const std::string& text, char open);

// "NAME = rest"; null if the line is no assignment.
struct Assignment {
  std::string name, value;
};
std::optional<Assignment> match_assignment(const std::string& text);

// "2.5 * rest"; null if the text does not begin with a number and '*'.
struct Scaled {
  double factor;
  std::string rest;
};
std::optional<Scaled> match_scaled(const std::string& text);

// Operands an einsum expression takes: one more than its commas.
std::size_t count_terms(const std::string& text);

}  // namespace einjit
