#include "cli/repl/repl.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/commands.hpp"
#include "cli/repl/functions.hpp"
#include "cli/repl/syntax.hpp"

namespace einjit {
namespace {

constexpr int kDeepest = 100;  // values in values

// "'x' is no tensor", with a hint at what is.
[[noreturn]] void unknown_name(const std::string& name) {
  throw Error({fmt::format("there is no tensor '{}'", name),
               {},
               {},
               {fmt::format("make one: {} = rand(4, 5)", is_name(name) ? name : "A")}});
}

std::optional<double> as_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool looks_numeric =
      !text.empty() && (text[0] == '-' || text[0] == '.' || (text[0] >= '0' && text[0] <= '9'));
  if (!looks_numeric || *end != '\0') return std::nullopt;
  return value;
}

std::vector<std::int64_t> as_integers(const std::string& text) {
  std::vector<std::int64_t> list;
  for (const std::string& part : split_commas(text)) {
    const std::optional<double> value = as_number(part);
    if (!value || *value != static_cast<double>(static_cast<std::int64_t>(*value)))
      throw Error({fmt::format("expected an integer, not '{}'", part)});
    list.push_back(static_cast<std::int64_t>(*value));
  }
  return list;
}

}  // namespace

std::string Repl::execute(const std::string& line) {
  const std::string text = trimmed(line);
  if (text.empty() || text[0] == '#') return "";
  if (text[0] == ':') return run_command(text.substr(1));
  if (const std::optional<Assignment> assignment = match_assignment(text)) {
    const Value value = evaluate_value(assignment->value);
    if (!value.tensor) throw Error({fmt::format("'{}' is no tensor", assignment->value)});
    tensors_.insert_or_assign(assignment->name, *value.tensor);
    return fmt::format("{}: ({}) {}\n", assignment->name,
                       fmt::join(value.tensor->layout.extents, ", "),
                       name_of(value.tensor->dtype()));
  }
  const Value value = evaluate_value(text);
  return (value.tensor ? value.tensor->to_string() : value.text) + "\n";
}

std::vector<std::string> Repl::names() const {
  std::vector<std::string> names = function_names();
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

Tensor Repl::tensor_value(const std::string& text) {
  Value value = evaluate_value(text);
  if (!value.tensor) throw Error({fmt::format("'{}' is no tensor", text)});
  return std::move(*value.tensor);
}

Repl::Value Repl::evaluate_value(const std::string& given) {
  // Values nest in values; a line cannot ask for more stack than there is.
  struct Depth {
    int& depth;
    explicit Depth(int& d) : depth(d) { ++depth; }
    ~Depth() { --depth; }
  } depth(depth_);
  if (depth_ > kDeepest) throw Error({"the value is nested too deep"});
  const std::string text = trimmed(given);
  if (text.empty()) throw Error({"a value is missing"});
  if (tensors_.contains(text)) return {tensors_.at(text), ""};
  if (as_number(text) || text[0] == '[') return {parse_literal(text, dtype_), ""};
  if (text.ends_with(".shape") && is_name(text.substr(0, text.size() - 6))) {
    const Tensor tensor = tensor_value(text.substr(0, text.size() - 6));
    return {std::nullopt, fmt::format("({})", fmt::join(tensor.layout.extents, ", "))};
  }
  if (const auto scaled = match_scaled(text)) {
    if (auto value = evaluate_einsum(scaled->rest, scaled->factor)) return *value;
    // A scaled tensor is an einsum of one term.
    return {evaluate("...->...", {tensor_value(scaled->rest)}, {scaled->factor, 0}), ""};
  }
  if (const auto call = match_brackets(text, '('); call && is_name(call->head)) {
    std::vector<Argument> arguments;
    for (const std::string& part : split_commas(call->inside)) {
      if (const auto number = as_number(part))
        arguments.push_back({Argument::Kind::number, {}, *number});
      else if (part.size() >= 2 && part.front() == '"' && part.back() == '"')
        arguments.push_back({Argument::Kind::text, {}, 0, {}, part.substr(1, part.size() - 2)});
      else if (part.front() == '[')
        arguments.push_back(
            {Argument::Kind::list, {}, 0, as_integers(part.substr(1, part.size() - 2))});
      else
        arguments.push_back({Argument::Kind::tensor, tensor_value(part)});
    }
    CallResult result = call_function(call->head, arguments, {dtype_, seed_});
    return {std::move(result.tensor), std::move(result.text)};
  }
  if (const auto index = match_brackets(text, '['); index && split_words(text).size() == 1)
    return {index_tensor(tensor_value(index->head), as_integers(index->inside)), ""};
  if (auto value = evaluate_einsum(text, 1)) return *value;
  unknown_name(text);
}

// The last words are the operands, as many as the expression has terms; the rest is the expression.
std::optional<Repl::Value> Repl::evaluate_einsum(const std::string& text, double scale) {
  const std::vector<ReplWord> words = split_words(text);
  const std::size_t terms = count_terms(text);
  const bool looks_like_one = text.find("->") != std::string::npos || terms > 1 || words.size() > 1;
  if (!looks_like_one) return std::nullopt;
  if (words.size() <= terms)
    throw Error({fmt::format("the expression has {} term{}: name as many tensors after it", terms,
                             terms == 1 ? "" : "s"),
                 text,
                 {static_cast<int>(text.size()), static_cast<int>(text.size())}});
  const std::size_t first = words.size() - terms;
  Last made{trimmed(text.substr(0, words[first].begin)), {}, {scale, 0}, {}};
  value_or_throw(Engine::standard().try_explain(made.expression, {}, Stage::expression));
  for (std::size_t w = first; w < words.size(); ++w)
    made.operands.push_back(tensor_value(words[w].text));
  made.result = evaluate(made.expression, made.operands, made.scale, options_for(made));
  last_ = made;
  return Value{made.result, ""};
}

const Repl::Last& Repl::last() const {
  if (!last_) throw Error({"no expression has run yet: C = ij,jk->ik A B"});
  return *last_;
}

std::string Repl::schedule_key(const Last& of) {
  std::string key = of.expression + (of.scale.alpha != 1 ? " scaled" : "");
  for (const Tensor& operand : of.operands) key += '\n' + operand.layout.to_string();
  return key;
}

CompileOptions Repl::options_for(const Last& of) const {
  CompileOptions options;
  if (of.scale.alpha != 1) options.scaling = Scaling::alpha_beta;
  const auto given = schedules_.find(schedule_key(of));
  if (given != schedules_.end()) options.schedule = given->second;
  return options;
}

std::vector<Layout> Repl::last_layouts() const {
  std::vector<Layout> layouts;
  for (const Tensor& operand : last().operands) layouts.push_back(operand.layout);
  return layouts;
}

}  // namespace einjit
