#include "cli/repl/syntax.hpp"

#include <algorithm>
#include <cstdlib>

namespace einjit {
namespace {

// Follows brackets and quotes along a text.
struct Depth {
  int open = 0;
  bool quoted = false;
  void see(char c) {
    if (c == '"') quoted = !quoted;
    if (quoted) return;
    open += (c == '(' || c == '[') - (c == ')' || c == ']');
  }
  bool is_outside() const { return open <= 0 && !quoted; }
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool is_name(const std::string& text) {
  return !text.empty() && is_letter(text[0]) &&
         std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c); });
}

std::vector<ReplWord> split_words(const std::string& text) {
  std::vector<ReplWord> words;
  Depth depth;
  bool in_word = false;
  for (std::size_t p = 0; p < text.size(); ++p) {
    if (text[p] == ' ' && depth.is_outside()) {
      in_word = false;
      continue;
    }
    if (!in_word) words.push_back({"", p});
    in_word = true;
    words.back().text += text[p];
    depth.see(text[p]);
  }
  return words;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  if (trimmed(text).empty()) return parts;
  Depth depth;
  parts.emplace_back();
  for (char c : text) {
    if (c == ',' && depth.is_outside())
      parts.emplace_back();
    else
      parts.back() += c;
    depth.see(c);
  }
  for (std::string& part : parts) part = trimmed(part);
  return parts;
}

std::optional<Bracketed> match_brackets(const std::string& text, char open) {
  if (text.empty() || text.back() != (open == '(' ? ')' : ']')) return std::nullopt;
  // The bracket that the last one closes.
  int depth = 0;
  bool quoted = false;
  for (std::size_t p = text.size(); p-- > 0;) {
    if (text[p] == '"') quoted = !quoted;
    if (quoted) continue;
    depth += (text[p] == ')' || text[p] == ']') - (text[p] == '(' || text[p] == '[');
    if (depth > 0) continue;
    if (text[p] != open || p == 0) return std::nullopt;
    return Bracketed{text.substr(0, p), text.substr(p + 1, text.size() - p - 2)};
  }
  return std::nullopt;
}

std::optional<Assignment> match_assignment(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return std::nullopt;
  const std::string name = trimmed(text.substr(0, equals));
  if (!is_name(name)) return std::nullopt;
  return Assignment{name, trimmed(text.substr(equals + 1))};
}

std::optional<Scaled> match_scaled(const std::string& text) {
  char* end = nullptr;
  // Not everything strtod takes is a number here: "inf" and "nan" are labels.
  if (text.empty() || !(is_digit(text[0]) || text[0] == '-' || text[0] == '.')) return std::nullopt;
  const double factor = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return std::nullopt;
  const std::string rest = trimmed(end);
  if (rest.empty() || rest[0] != '*') return std::nullopt;
  return Scaled{factor, trimmed(rest.substr(1))};
}

std::size_t count_terms(const std::string& text) {
  Depth depth;
  std::size_t count = 1;
  for (char c : text) {
    count += c == ',' && depth.is_outside();
    depth.see(c);
  }
  return count;
}

}  // namespace einjit
