// The REPL's functions over tensors: rand, arange, transpose, reshape, softmax, ...
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/tensor.hpp"

namespace einjit {

// An argument: a tensor, an integer or real number, a list of integers, or text in quotes.
struct Argument {
  enum class Kind { tensor, number, list, text } kind;
  Tensor tensor = {};
  double number = 0;
  std::vector<std::int64_t> list = {};
  std::string text = {};
};

struct CallContext {
  DType dtype;          // of new tensors
  std::uint64_t& seed;  // advanced by rand and randint
};

// Either a tensor or text ("true").
struct CallResult {
  std::optional<Tensor> tensor;
  std::string text = {};
};

// Calls the function; throws Error for unknown names and wrong arguments.
CallResult call_function(const std::string& name, const std::vector<Argument>& arguments,
                         CallContext context);
std::vector<std::string> function_names();

// A[i, j]: integer indices of the first axes, negative ones from the end.
Tensor index_tensor(const Tensor& tensor, const std::vector<std::int64_t>& at);

// [[1, 2], [3, 4]] or a number.
Tensor parse_literal(const std::string& text, DType dtype);

}  // namespace einjit
