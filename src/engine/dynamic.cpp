#include "engine/dynamic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "schedule/alignment.hpp"

namespace einjit {
namespace {

// Carries a diagnostic through the cache, which knows of exceptions only.
struct Failure {
  Diagnostic diagnostic;
};

// Marks the labels of that name.
Result<void> mark(Contraction& c, const Expression& expression,
                  std::span<const std::string> labels) {
  c.dynamic.assign(c.extents.size(), false);
  for (const std::string& name : labels) {
    const auto known = std::ranges::find(expression.names, name);
    if (known == expression.names.end())
      return std::unexpected(
          Diagnostic{fmt::format("there is no label '{}' to be dynamic", name), expression.text});
    c.dynamic[static_cast<std::size_t>(known - expression.names.begin())] = true;
  }
  return {};
}

std::string key_of(std::span<const Layout> inputs, const std::optional<Layout>& output) {
  std::string key;
  auto add = [&](std::int64_t number) {
    key.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  auto add_layout = [&](const Layout& layout) {
    add(static_cast<std::int64_t>(layout.dtype) << 32 | layout.rank());
    for (std::int64_t extent : layout.extents) add(extent);
    for (std::int64_t stride : layout.strides) add(stride);
  };
  for (const Layout& layout : inputs) add_layout(layout);
  if (output) add_layout(*output);
  return key;
}

// The program's steps for other extents, with the schedules it has; nothing if they do not hold.
std::shared_ptr<const Executable> replay(const DynamicState& state, const Contraction& bound) {
  const std::optional<Contraction> whole = regrouped(bound, state.groups, state.whole);
  if (!whole || std::ranges::find(whole->extents, 0) != whole->extents.end()) return nullptr;
  const std::optional<Program> program = replay_path(*whole, state.target, state.program);
  if (!program) return nullptr;
  std::vector<Choice> choices = state.choices;
  for (std::size_t s = 0; s < choices.size(); ++s) {
    Schedule& schedule = choices[s].schedule;
    if (check(schedule, program->steps[s].contraction)) continue;
    // Rows that are not whole lines are written through the caches.
    schedule = without_alignment(std::move(schedule), program->steps[s].contraction);
    if (!check(schedule, program->steps[s].contraction)) return nullptr;
  }
  auto made = build_executable(*whole, state.target, state.options, *state.units, nullptr, choices,
                               &*program);
  return made ? *made : nullptr;
}

// Other extents than compiled for are for dynamic labels only.
Result<void> check_static(const DynamicState& state, const Contraction& bound) {
  for (Label l = 0; l < bound.label_count(); ++l) {
    if (std::ranges::find(state.labels, bound.names[l]) != state.labels.end()) continue;
    const auto extents = state.static_extents;
    if (static_cast<std::size_t>(l) < extents.size() && extents[l] != bound.extents[l])
      return std::unexpected(Diagnostic{
          fmt::format("label '{}' has extent {}, but the kernel was compiled for {} and '{}' is "
                      "not dynamic",
                      bound.names[l], bound.extents[l], extents[l], bound.names[l]),
          state.expression.text});
  }
  return {};
}

Kernel kernel_at(DynamicState& state, std::span<const Layout> inputs,
                 const std::optional<Layout>& output) {
  CompileOptions options = state.options;
  options.output = output;
  Result<Bound> bound = bind_expression(state.expression, inputs, options);
  if (!bound) throw Failure{bound.error()};
  if (auto done = mark(bound->contraction, state.expression, state.labels); !done)
    throw Failure{done.error()};
  if (auto done = check_static(state, bound->contraction); !done) throw Failure{done.error()};
  auto kernel = std::make_shared<KernelState>();
  kernel->inputs.assign(inputs.begin(), inputs.end());
  kernel->output =
      output.value_or(Layout::row_major(bound->contraction.dtype, bound->output_extents));
  kernel->executable = replay(state, bound->contraction);
  if (!kernel->executable) {
    ++state.compiled;
    bound->contraction.dynamic.clear();
    auto made = build_executable(canonical(bound->contraction), state.target, state.options,
                                 *state.units, nullptr);
    if (!made) throw Failure{made.error()};
    kernel->executable = *made;
  }
  return Kernel(std::move(kernel));
}

}  // namespace

Result<std::shared_ptr<DynamicState>> make_dynamic(const Expression& expression,
                                                   std::span<const std::string> labels,
                                                   std::span<const Layout> inputs,
                                                   const CompileOptions& options,
                                                   const Target& target,
                                                   std::shared_ptr<UnitLibrary> units) {
  if (!options.schedule.empty() || options.output)
    return std::unexpected(Diagnostic{
        "a dynamic kernel chooses its schedule; outputs of other layouts are given at the call",
        expression.text});
  auto state = std::make_shared<DynamicState>();
  state->expression = expression;
  state->labels.assign(labels.begin(), labels.end());
  state->options = options;
  state->target = target;
  state->units = std::move(units);
  Result<Bound> bound = bind_expression(expression, inputs, options);
  if (!bound) return std::unexpected(bound.error());
  Contraction& c = bound->contraction;
  if (auto done = mark(c, expression, labels); !done) return std::unexpected(done.error());
  state->static_extents = c.extents;
  for (Label l = 0; l < c.label_count(); ++l)
    if (c.is_dynamic(l) && c.extents[l] < 2)
      return std::unexpected(Diagnostic{
          fmt::format("label '{}' is dynamic: compile for a typical extent, of at least 2",
                      c.names[l]),
          expression.text});
  if (std::ranges::find(c.extents, 0) != c.extents.end())
    return std::unexpected(Diagnostic{"an extent is 0: there is nothing to compile for"});
  state->whole = canonical(c, &state->groups);
  state->program = plan_path(state->whole, target, path_of(options));
  for (const Step& step : state->program.steps) {
    Choice choice = step.choice ? *step.choice : choose_schedule(step.contraction, target);
    Result<LoweredStep> lowered = lower_step(step.contraction, target, state->options, &choice);
    if (!lowered) return std::unexpected(lowered.error());
    state->covering.push_back(
        make_covering_plan(lowered->nest, Cover::dynamic_labels, lowered->shape));
    load_units(std::array{&state->covering.back()}, *state->units, default_executor());
    state->choices.push_back(std::move(choice));
  }
  return state;
}

DynamicKernel::DynamicKernel(std::shared_ptr<DynamicState> state) : state_(std::move(state)) {}

Result<Kernel> DynamicKernel::try_at(std::span<const Layout> inputs,
                                     const std::optional<Layout>& output) const {
  if (!state_) return std::unexpected(Diagnostic{"this kernel was never compiled"});
  DynamicState& state = *state_;
  try {
    return *state.kernels.get(key_of(inputs, output), [&] {
      return std::make_shared<const Kernel>(kernel_at(state, inputs, output));
    });
  } catch (const Failure& failure) {
    Diagnostic diagnostic = failure.diagnostic;
    return std::unexpected(std::move(diagnostic));
  } catch (const std::exception& error) {
    return std::unexpected(
        Diagnostic{fmt::format("cannot compile: {}", error.what()), state.expression.text});
  }
}

std::int64_t DynamicKernel::plan_count() const { return state_->kernels.counts().size; }
std::int64_t DynamicKernel::compiled_count() const { return state_->compiled; }

}  // namespace einjit
