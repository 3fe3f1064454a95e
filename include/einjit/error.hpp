// Errors as values: a Diagnostic names what is wrong and where in the expression it stands.
//
// In: an expression's text and a source range. Out: a message a user can act on.
//
//   error: label 'j' has extent 5 in operand 0 (axis 1) and 6 in operand 1 (axis 0)
//     ij,jk->ik
//        ^
#pragma once

#include <expected>
#include <stdexcept>
#include <string>
#include <vector>

namespace einjit {

// A half-open range of byte positions in an expression's text; empty ranges point at a position.
struct SourceRange {
  int begin = 0;
  int end = 0;
  bool operator==(const SourceRange&) const = default;
};

// One user mistake. `expression` is empty where no text is at fault.
struct Diagnostic {
  std::string message;
  std::string expression = {};
  SourceRange where = {};
  std::vector<std::string> notes = {};

  // The message, the expression with a caret line under it, then the notes; no final newline.
  std::string render() const;
};

template <class T>
using Result = std::expected<T, Diagnostic>;

// What the throwing API throws; what() is the rendered diagnostic.
class Error : public std::runtime_error {
 public:
  explicit Error(Diagnostic diagnostic)
      : std::runtime_error(diagnostic.render()), diagnostic_(std::move(diagnostic)) {}
  const Diagnostic& diagnostic() const { return diagnostic_; }

 private:
  Diagnostic diagnostic_;
};

// Unwraps a result, throwing Error where it holds a diagnostic.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw Error(std::move(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace einjit
