// The REPL: named tensors, expressions over them, and every stage of what they become.
//
// In: a line. Out: what it prints. A line is a command (":help"), an assignment ("C = ij,jk->ik A
// B") or a value to print. Mistakes come back as errors and change nothing.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/tensor.hpp"
#include "einjit/einjit.hpp"

namespace einjit {

class Repl {
 public:
  // What the line prints, with a newline at its end unless empty. Throws Error for mistakes.
  std::string execute(const std::string& line);
  bool is_done() const { return is_done_; }
  // Names that may stand next, for completion.
  std::vector<std::string> names() const;

 private:
  // The last expression run: what :emit, :schedule and :time speak of.
  struct Last {
    std::string expression;
    std::vector<Tensor> operands;
    Scale scale;
    Tensor result;
  };

  std::string run_command(const std::string& text);
  std::string show_time();
  std::string show_cache() const;
  std::string change_schedule(const std::string& text);
  const Last& last() const;
  // What the user's schedules go by, and the options with the one given for an expression, if any.
  static std::string schedule_key(const Last& of);
  CompileOptions options_for(const Last& of) const;
  std::vector<Layout> last_layouts() const;

  // A value: einsum application, scaled value, function call, literal or name.
  struct Value {
    std::optional<Tensor> tensor;
    std::string text;  // of values that are no tensors: shapes, booleans
  };
  Value evaluate_value(const std::string& text);
  std::optional<Value> evaluate_einsum(const std::string& text, double scale);
  Tensor tensor_value(const std::string& text);

  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> schedules_;  // by expression and layouts
  std::optional<Last> last_;
  DType dtype_ = DType::f64;
  std::uint64_t seed_ = 0;
  int depth_ = 0;  // of the value being evaluated
  bool is_done_ = false;
};

}  // namespace einjit
