#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.hpp"

namespace einjit {
namespace {

void print_timings(Engine& engine, const ExplainArguments& arguments,
                   const std::vector<Layout>& layouts, const CompileOptions& options) {
  CompileReport report;
  value_or_throw(engine.try_compile(arguments.expression, layouts, options, &report));
  double total = 0;
  for (const auto& [stage, seconds] : report.seconds) {
    fmt::print("{:<10} {:8.3f} ms\n", stage, seconds * 1e3);
    total += seconds;
  }
  fmt::print("{:<10} {:8.3f} ms\n{:<10} {:8.3f} us\n", "total", total * 1e3, "predicted",
             report.predicted_seconds * 1e6);
}

}  // namespace

int run_explain(const ExplainArguments& arguments) {
  const std::optional<Stage> stage = stage_named(arguments.stage);
  if (!stage)
    throw Error(
        {fmt::format("--emit: '{}' is none of {}", arguments.stage, fmt::join(kStageNames, ", "))});
  const std::vector<Layout> layouts = parse_shapes(arguments.shapes, parse_dtype(arguments.dtype));
  CompileOptions options;
  options.schedule = arguments.schedule;
  options.path = parse_path(arguments.path);
  Engine engine(parse_target(arguments.target));
  fmt::print("{}",
             value_or_throw(engine.try_explain(arguments.expression, layouts, *stage, options)));
  if (arguments.timings) print_timings(engine, arguments, layouts, options);
  return 0;
}

}  // namespace einjit
