// Floor 8: the whole story, from an expression to something that runs.
#pragma once

#include <functional>
#include <string>

#include "einjit/engine.hpp"
#include "engine/executable.hpp"
#include "loop_ir/loop_nest.hpp"
#include "schedule/choose.hpp"

namespace einjit {

// Kernels predicted to be shorter than this get their sizes baked in: what that saves in a call is
// a part of the whole there, and their code is small.
inline constexpr double kSpecializeSeconds = 60e-6;

// Expression and layouts to the canonical contraction over all operands.
Result<Bound> bind_expression(const Expression& expression, std::span<const Layout> inputs,
                              const CompileOptions& options);

// The path an expression takes: a given schedule is that of one loop nest.
Path path_of(const CompileOptions& options);

// A step on its way down: everything but the code.
struct LoweredStep {
  Contraction contraction;
  Schedule schedule;
  LoopNest nest;
  UnitShape shape;
  double seconds;  // predicted
};
// The schedule is `chosen`, or else the one of the options, or else the model's.
Result<LoweredStep> lower_step(const Contraction& contraction, const Target& target,
                               const CompileOptions& options, const Choice* chosen = nullptr);

// The same for an output that does not begin at a cache line, if it had better be written otherwise
// then: a copy that is written past the caches as if it did.
Result<std::optional<LoweredStep>> lower_elsewhere(const LoweredStep& step, const Target& target,
                                                   const CompileOptions& options);

// What is known of a step's schedule; null if it is still to be chosen.
inline const Choice* choice_of(const Step& step) { return step.choice ? &*step.choice : nullptr; }

// Everything below binding. `report` may be null; `chosen` has a schedule for every step, or none;
// `planned`, if not null, is the program to build.
Result<std::shared_ptr<const Executable>> build_executable(
    const Contraction& canonical, const Target& target, const CompileOptions& options,
    UnitProvider& units, CompileReport* report, std::span<const Choice> chosen = {},
    const Program* planned = nullptr);

// Measures the best few schedules of every step of a contraction on buffers of its own; the winners
// in the order of the steps. `report` may be null.
Result<std::vector<Choice>> tune_steps(const Contraction& canonical, const Target& target,
                                       const CompileOptions& options, UnitProvider& units,
                                       const TuneOptions& limits, TuneReport* report);

// The expression as it looks at a stage.
Result<std::string> explain_stage(const Expression& expression, std::span<const Layout> inputs,
                                  const Target& target, const CompileOptions& options, Stage stage);

}  // namespace einjit
