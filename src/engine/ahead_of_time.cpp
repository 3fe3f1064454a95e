// Kernels as object files with a C header, for programs that have neither einjit nor LLVM.
#include "einjit/ahead_of_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/pipeline.hpp"
#include "load/open_codegen.hpp"
#include "plan/kernel_source.hpp"
#include "schedule/alignment.hpp"

namespace einjit {
namespace {

// C17's and C++'s that a short name is likely to meet.
constexpr std::string_view kKeywords[] = {
    "auto",     "break",   "bool",     "case",     "char",     "class",    "const",
    "continue", "default", "delete",   "do",       "double",   "else",     "enum",
    "extern",   "float",   "for",      "friend",   "goto",     "if",       "inline",
    "int",      "long",    "new",      "operator", "register", "return",   "short",
    "signed",   "sizeof",  "static",   "struct",   "switch",   "template", "this",
    "typedef",  "union",   "unsigned", "using",    "void",     "volatile", "while"};

bool is_c_name(const std::string& name) {
  if (std::ranges::find(kKeywords, name) != std::end(kKeywords)) return false;
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) return false;
  for (char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') return false;
  return true;
}

Result<KernelSource> source_of(const Contraction& whole, const Target& target,
                               const CompileOptions& options, const std::string& name) {
  KernelSource source;
  source.symbol = name;
  source.is_scaled = options.scaling == Scaling::alpha_beta;
  if (whole.output_is_empty()) return source;
  const Program program = plan_path(whole, target, path_of(options));
  source.workspace_bytes = program.workspace_elements * size_of(whole.dtype);
  for (const Step& step : program.steps) {
    Result<LoweredStep> lowered = lower_step(step.contraction, target, options, choice_of(step));
    // What is decided at run time is left out: object files have loops of known lengths.
    if (lowered && depends_on_place(lowered->schedule, step.contraction)) {
      const Choice choice{
          without_alignment(lowered->schedule, step.contraction), {}, lowered->seconds};
      lowered = lower_step(step.contraction, target, options, &choice);
    }
    if (!lowered) return std::unexpected(lowered.error());
    KernelSource::Step made{make_plan(lowered->nest, lowered->shape), {}};
    auto operand = [&](int number) -> KernelSource::Operand {
      if (number == kOutput) return {0, 0};
      if (number < program.input_count) return {1 + number, 0};
      const auto temporary = static_cast<std::size_t>(number - program.input_count);
      return {-1, program.temporaries[temporary].offset * size_of(whole.dtype)};
    };
    made.operands.push_back(operand(step.result));
    for (int number : step.operands) made.operands.push_back(operand(number));
    source.steps.push_back(std::move(made));
  }
  return source;
}

std::string comment_of(std::string_view text) {
  std::string safe;
  for (char c : text) safe += c == '*' || c == '\\' || c == '\n' ? ' ' : c;
  return safe;
}

std::string header_of(const AheadOfTime& kernel, std::string_view expression,
                      std::span<const Layout> inputs, const Layout& output, bool is_scaled,
                      const Target& target) {
  const char* type = output.dtype == DType::f32 ? "float" : "double";
  std::string arguments = fmt::format("{}* out", type);
  std::string shapes = fmt::format("//   out  {}\n", output.to_string());
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    arguments += fmt::format(", const {}* in{}", type, k);
    shapes += fmt::format("//   in{}  {}\n", k, inputs[k].to_string());
  }
  if (is_scaled) arguments += ", double alpha, double beta";
  return fmt::format(
      "// {0} for {1}, made by einjit.\n"
      "//\n"
      "{2}"
      "//\n"
      "// Pointers are those of element (0, 0, ...); out may not overlap an input{3}.\n"
      "// `scratch`: {4}_scratch_bytes bytes on a 64-byte boundary, or anything if that is 0.\n"
      "// Any number of threads may call it, each with scratch of its own.\n"
      "#ifndef EINJIT_{4}_H\n"
      "#define EINJIT_{4}_H\n"
      "#define {4}_scratch_bytes {5}\n"
      "#ifdef __cplusplus\n"
      "extern \"C\"\n"
      "#endif\n"
      "void {4}({6}, void* scratch);\n"
      "#endif\n",
      comment_of(expression), name_of(target.isa), shapes,
      is_scaled ? "; out = alpha * result + beta * out, not read if beta is 0" : "", kernel.name,
      kernel.scratch_bytes, arguments);
}

}  // namespace

Result<AheadOfTime> try_compile_ahead_of_time(std::string_view text, std::span<const Layout> inputs,
                                              const std::string& name, const Target& target,
                                              const CompileOptions& options) {
  if (!is_c_name(name))
    return std::unexpected(Diagnostic{fmt::format("'{}' is not a name in C", name)});
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  Result<Bound> bound = bind_expression(*expression, inputs, options);
  if (!bound) return std::unexpected(bound.error());
  const Layout output =
      options.output.value_or(Layout::row_major(bound->contraction.dtype, bound->output_extents));
  try {
    Result<KernelSource> source = source_of(canonical(bound->contraction), target, options, name);
    if (!source) return std::unexpected(source.error());
    source->input_count = static_cast<int>(inputs.size());
    AheadOfTime made{name, open_codegen(target).kernel_object(*source), {}, scratch_bytes(*source)};
    made.header = header_of(made, text, inputs, output, source->is_scaled, target);
    return made;
  } catch (const std::exception& error) {
    return std::unexpected(
        Diagnostic{fmt::format("cannot compile: {}", error.what()), std::string(text)});
  }
}

}  // namespace einjit
