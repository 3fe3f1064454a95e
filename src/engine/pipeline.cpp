#include "engine/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "load/open_codegen.hpp"
#include "lower/lower.hpp"
#include "schedule/alignment.hpp"

namespace einjit {
namespace {

// Measures the time between stages into a report.
class Stopwatch {
 public:
  explicit Stopwatch(CompileReport* report) : report_(report), last_(Clock::now()) {}
  void lap(const char* stage) {
    if (!report_) return;
    const auto now = Clock::now();
    const double took = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    auto it = std::ranges::find(report_->seconds, stage, &std::pair<std::string, double>::first);
    if (it == report_->seconds.end())
      report_->seconds.emplace_back(stage, took);
    else
      it->second += took;
  }

 private:
  using Clock = std::chrono::steady_clock;
  CompileReport* report_;
  Clock::time_point last_;
};

bool has_scratch(const Block& block) {
  return std::ranges::any_of(block, [](const Node& node) {
    if (const auto* loop = std::get_if<For>(&node.value)) return has_scratch(loop->body);
    if (const auto* ask = std::get_if<Ask>(&node.value)) return has_scratch(ask->body);
    return std::holds_alternative<Alloc>(node.value);
  });
}

// Sums of so few steps that the addresses of a tile cost as much as its arithmetic, if every one of
// them is computed.
bool has_short_sums(const Contraction& c) {
  constexpr std::int64_t kShortSum = 16;
  std::int64_t steps = 1;
  for (Label l = 0; l < c.label_count(); ++l) {
    if (c.is_reduced(l) && c.is_dynamic(l)) return false;
    if (c.is_reduced(l)) steps *= c.extents[l];
  }
  return c.in.size() > 1 && steps > 1 && steps <= kShortSum;
}

// Whether where the output lies decides on how pieces are cut or stored.
bool places_pieces(const Block& block) {
  return std::ranges::any_of(block, [](const Node& node) {
    if (const auto* alloc = std::get_if<Alloc>(&node.value)) return places_pieces(alloc->body);
    if (const auto* ask = std::get_if<Ask>(&node.value)) return places_pieces(ask->body);
    if (std::holds_alternative<Drain>(node.value)) return true;
    const auto* loop = std::get_if<For>(&node.value);
    return loop && (loop->is_aligned || loop->is_carried || places_pieces(loop->body));
  });
}

UnitShape unit_shape(const LoopNest& nest, double seconds, Specialization specialization) {
  if (places_pieces(nest.body)) return UnitShape::argument;
  const bool has_dynamic =
      std::ranges::find(nest.contraction.dynamic, true) != nest.contraction.dynamic.end();
  const UnitShape special = has_dynamic ? UnitShape::dynamic : UnitShape::constant;
  switch (specialization) {
    case Specialization::always:
      return special;
    case Specialization::never:
      return UnitShape::argument;
    case Specialization::automatic:
      break;
  }
  const bool pays = seconds < kSpecializeSeconds || has_short_sums(nest.contraction);
  return pays && !has_scratch(nest.body) ? special : UnitShape::argument;
}

std::string header(const Program& program, std::size_t step) {
  if (program.steps.size() == 1) return "";
  return fmt::format("# step {}\n", step);
}

// At a stage below the path's.
std::string text_of(const LoweredStep& step, const Target& target, Stage stage) {
  if (stage == Stage::schedule) return to_string(step.schedule, step.contraction);
  if (stage == Stage::loops) return step.nest.to_string();
  const Plan plan = make_plan(step.nest, step.shape);
  const Codegen& codegen = open_codegen(target);
  std::string text;
  auto add = [&](const Unit& unit) {
    text +=
        fmt::format("; unit {}\n{}", unit.key(),
                    stage == Stage::llvm ? codegen.llvm_text(unit) : codegen.assembly_text(unit));
  };
  for (const PlanCall& call : plan.calls)
    for (const PlanCall::Variant& variant : call.variants) add(variant.unit);
  for (const PlanDrain& drain : plan.drains) add(drain.unit);
  return text;
}

}  // namespace

Result<Bound> bind_expression(const Expression& expression, std::span<const Layout> inputs,
                              const CompileOptions& options) {
  Result<Bound> bound = bind(expression, inputs, options.output);
  if (!bound) return bound;
  if (options.scaling == Scaling::alpha_beta) {
    bound->contraction.alpha = Alpha::runtime;
    bound->contraction.beta = Beta::runtime;
  }
  return bound;
}

Path path_of(const CompileOptions& options) {
  return options.schedule.empty() ? options.path : Path::one_nest;
}

Result<LoweredStep> lower_step(const Contraction& contraction, const Target& target,
                               const CompileOptions& options, const Choice* chosen) {
  Choice choice;
  if (chosen) {
    choice = *chosen;
  } else if (options.schedule.empty()) {
    choice = choose_schedule(contraction, target);
  } else {
    Result<Schedule> given = parse_schedule(options.schedule, contraction);
    if (!given) return std::unexpected(given.error());
    if (auto valid = check(*given, contraction); !valid) return std::unexpected(valid.error());
    choice = {std::move(*given), {}, predicted_seconds(contraction, target, 0)};
  }
  LoopNest nest = lower(contraction, choice.schedule, target);
  if (auto proof = verify(nest); !proof) return std::unexpected(proof.error());
  const UnitShape shape = unit_shape(nest, choice.seconds, options.specialization);
  return LoweredStep{contraction, std::move(choice.schedule), std::move(nest), shape,
                     choice.seconds};
}

Result<std::optional<LoweredStep>> lower_elsewhere(const LoweredStep& step, const Target& target,
                                                   const CompileOptions& options) {
  const Contraction& c = step.contraction;
  if (step.schedule.store != Store::streaming || c.has_sum() || !options.schedule.empty() ||
      !c.dynamic.empty() || depends_on_place(step.schedule, c))
    return std::nullopt;
  const Choice choice = choose_schedule(c, target, Placement::anywhere);
  Result<LoweredStep> lowered = lower_step(c, target, options, &choice);
  if (!lowered) return std::unexpected(lowered.error());
  return std::move(*lowered);
}

Result<std::shared_ptr<const Executable>> build_executable(
    const Contraction& canonical, const Target& target, const CompileOptions& options,
    UnitProvider& units, CompileReport* report, std::span<const Choice> chosen,
    const Program* planned) {
  auto made = std::make_shared<Executable>();
  if (canonical.output_is_empty()) return made;
  Stopwatch watch(report);
  const Program program = planned ? *planned : plan_path(canonical, target, path_of(options));
  watch.lap("path");
  if (!options.schedule.empty() && program.steps.size() > 1)
    return std::unexpected(Diagnostic{"a schedule describes one loop nest, of up to 8 operands"});
  for (const Temporary& temporary : program.temporaries)
    if (temporary.elements >= kMostTemporaryElements)
      return std::unexpected(
          Diagnostic{fmt::format("every order found needs a temporary of more than {:.2g} elements",
                                 static_cast<double>(kMostTemporaryElements))});
  for (const Temporary& temporary : program.temporaries)
    made->temporary_offsets.push_back(temporary.offset * size_of(canonical.dtype));
  made->workspace_bytes = program.workspace_elements * size_of(canonical.dtype);
  for (const Step& step : program.steps) {
    const Choice* choice = chosen.empty() ? choice_of(step) : &chosen[made->steps.size()];
    Result<LoweredStep> lowered = lower_step(step.contraction, target, options, choice);
    if (!lowered) return std::unexpected(lowered.error());
    watch.lap("schedule");
    ExecutableStep ready{make_plan(lowered->nest, lowered->shape), {}};
    auto number = [&](int operand) {
      return operand < program.input_count
                 ? 1 + operand
                 : Executable::kFirstTemporary + operand - program.input_count;
    };
    ready.operands.push_back(step.result == kOutput ? 0 : number(step.result));
    for (int operand : step.operands) ready.operands.push_back(number(operand));
    watch.lap("plan");
    made->predicted_seconds += lowered->seconds;
    // A product that is packed is multiplied once for many uses, and what is factored out with
    // sums.
    double factors = static_cast<double>(step.contraction.in.size()) -
                     std::popcount(lowered->schedule.factored_out);
    for (const auto& item : lowered->schedule.outer)
      if (const auto* pack = std::get_if<PackSpec>(&item); pack && pack->factor >= 0) --factors;
    made->flops += step.contraction.point_count() * factors;
    if (step.result == kOutput) {
      Result<std::optional<LoweredStep>> elsewhere = lower_elsewhere(*lowered, target, options);
      if (!elsewhere) return std::unexpected(elsewhere.error());
      if (*elsewhere) ready.elsewhere = make_plan((*elsewhere)->nest, (*elsewhere)->shape);
    }
    made->steps.push_back(std::move(ready));
  }
  std::vector<Plan*> plans;
  for (ExecutableStep& step : made->steps) {
    plans.push_back(&step.plan);
    if (step.elsewhere) plans.push_back(&*step.elsewhere);
  }
  load_units(plans, units, default_executor());
  watch.lap("code");
  if (report) report->predicted_seconds = made->predicted_seconds;
  return made;
}

Result<std::string> explain_stage(const Expression& expression, std::span<const Layout> inputs,
                                  const Target& target, const CompileOptions& options,
                                  Stage stage) {
  if (stage == Stage::expression) return expression.to_string() + "\n";
  Result<Bound> bound = bind_expression(expression, inputs, options);
  if (!bound) return std::unexpected(bound.error());
  const Contraction whole = canonical(bound->contraction);
  if (whole.output_is_empty()) return std::string("the output is empty: nothing is computed\n");
  const Program program = plan_path(whole, target, path_of(options));
  std::string text;
  if (stage == Stage::index) {
    text = whole.to_string();
    if (whole.in.size() > 1) text += program.to_string();
    return text;
  }
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    text += header(program, s);
    Result<LoweredStep> step = lower_step(program.steps[s].contraction, target, options);
    if (!step) return std::unexpected(step.error());
    text += text_of(*step, target, stage);
    if (program.steps[s].result != kOutput) continue;
    Result<std::optional<LoweredStep>> elsewhere = lower_elsewhere(*step, target, options);
    if (!elsewhere) return std::unexpected(elsewhere.error());
    if (*elsewhere)
      text += "# where the output does not begin at a cache line\n" +
              text_of(**elsewhere, target, stage);
  }
  return text;
}

}  // namespace einjit
