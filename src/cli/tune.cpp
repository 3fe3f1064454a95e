#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.hpp"

namespace einjit {

int run_tune(const TuneArguments& arguments) {
  const std::vector<Layout> layouts = parse_shapes(arguments.shapes, parse_dtype(arguments.dtype));
  CompileOptions options;
  options.path = parse_path(arguments.path);
  TuneReport report;
  Engine engine;
  value_or_throw(
      engine.try_tune(arguments.expression, layouts, options, arguments.limits, &report));
  int step = -1;
  for (TuneReport::Trial& trial : report.trials) {
    if (trial.step != step && report.trials.back().step > 0) fmt::print("# step {}\n", trial.step);
    step = trial.step;
    std::ranges::replace(trial.schedule, '\n', ';');
    fmt::print("{} {:10.3f} us  predicted {:10.3f} us  {}\n", trial.won ? '*' : ' ',
               trial.seconds * 1e6, trial.predicted_seconds * 1e6, trial.schedule);
  }
  return 0;
}

}  // namespace einjit
