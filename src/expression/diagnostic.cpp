#include <algorithm>

#include "einjit/error.hpp"

namespace einjit {

std::string Diagnostic::render() const {
  std::string text = "error: " + message;
  if (!expression.empty() || where.end > where.begin) {
    // Control characters would move the caret: shown as '?'.
    std::string shown = expression;
    for (char& c : shown)
      if (static_cast<unsigned char>(c) < 0x20) c = '?';
    text += "\n  " + shown + "\n  " + std::string(static_cast<std::size_t>(where.begin), ' ');
    text += std::string(static_cast<std::size_t>(std::max(1, where.end - where.begin)), '^');
  }
  for (const std::string& note : notes) text += "\n  note: " + note;
  return text;
}

}  // namespace einjit
