#include "einjit/engine.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "engine/dynamic.hpp"
#include "engine/pipeline.hpp"
#include "engine/prebuilt_units.hpp"
#include "engine/single_flight_cache.hpp"
#include "engine/specializer.hpp"
#include "index_ir/key_text.hpp"
#include "load/unit_library.hpp"

namespace einjit {
namespace {

constexpr double kCompileSeconds = 2e-3;  // of a small kernel, in the background
constexpr double kCallSeconds = 100e-9;   // of a call beside its work

// Everything beside the contraction that decides what code is made. A given schedule speaks of the
// labels by their names.
std::string options_key(const CompileOptions& options, const Contraction& contraction) {
  KeyText text(16);
  text.add(static_cast<int>(options.scaling), " ", static_cast<int>(options.specialization), " ",
           static_cast<int>(options.path));
  std::string key = text.take();
  if (!options.schedule.empty())
    key += fmt::format(" {} {}", fmt::join(contraction.names, ","), options.schedule);
  return key;
}

Layout output_layout(const Bound& bound, const CompileOptions& options) {
  return options.output.value_or(Layout::row_major(bound.contraction.dtype, bound.output_extents));
}

// Carries a diagnostic through the cache, which knows of exceptions only.
struct Failure {
  Diagnostic diagnostic;
};

}  // namespace

std::optional<Stage> stage_named(std::string_view name) {
  const auto it = std::ranges::find(kStageNames, name);
  if (it == std::end(kStageNames)) return std::nullopt;
  return static_cast<Stage>(it - std::begin(kStageNames));
}

struct Engine::Impl {
  Impl(const Target& target, const EngineOptions& options)
      : target(target),
        cache_directory(options.cache_directory),
        executables(options.most_kernels),
        calls(options.most_kernels) {}

  // Made when the first kernel needs code: it looks at directories.
  std::shared_ptr<UnitLibrary> unit_library() {
    std::call_once(units_once, [&] {
      owned_library = make_unit_library(
          target,
          [target = target, directory = cache_directory] { return open_cache(target, directory); },
          prebuilt_units(target));
      library = owned_library.get();
    });
    return owned_library;
  }
  UnitLibrary& units() { return *unit_library(); }

  // Without a safe directory there is no cache; nobody is bothered with why.
  static std::unique_ptr<const ObjectCache> open_cache(const Target& target,
                                                       const std::optional<std::string>& given) {
    std::string why_not;
    const std::string directory = given ? *given : ObjectCache::standard_directory(why_not);
    if (directory.empty()) return nullptr;
    return ObjectCache::open(directory, unit_identity(target), why_not);
  }

  // The kernel of a tuned executable, which takes the place of the one in the cache.
  Result<Kernel> tuned_kernel_for(const Expression& expression, std::span<const Layout> inputs,
                                  const CompileOptions& options, const TuneOptions& limits,
                                  TuneReport* report) {
    if (!options.schedule.empty())
      return std::unexpected(Diagnostic{"a schedule is given: there is nothing to tune"});
    Result<Bound> bound = bind_expression(expression, inputs, options);
    if (!bound) return std::unexpected(bound.error());
    const Contraction whole = canonical(bound->contraction);
    auto winners = tune_steps(whole, target, options, units(), limits, report);
    if (!winners) return std::unexpected(winners.error());
    auto made = build_executable(whole, target, options, units(), nullptr, *winners);
    if (!made) return std::unexpected(made.error());
    executables.put(whole.key() + '\n' + options_key(options, whole), *made);
    calls.clear();
    auto state = std::make_shared<KernelState>();
    state->executable = *made;
    state->inputs.assign(inputs.begin(), inputs.end());
    state->output = output_layout(*bound, options);
    return Kernel(std::move(state));
  }

  Result<Kernel> kernel_for(const Expression& expression, std::span<const Layout> inputs,
                            const CompileOptions& options, CompileReport* report) {
    const auto start = std::chrono::steady_clock::now();
    Result<Bound> bound = bind_expression(expression, inputs, options);
    if (!bound) return std::unexpected(bound.error());
    const Contraction whole = canonical(bound->contraction);
    auto state = std::make_shared<KernelState>();
    state->inputs.assign(inputs.begin(), inputs.end());
    state->output = output_layout(*bound, options);
    bool built = false;
    try {
      state->executable = executables.get(whole.key() + '\n' + options_key(options, whole), [&] {
        built = true;
        auto made = build_executable(whole, target, options, units(), report);
        if (!made) throw Failure{made.error()};
        return *made;
      });
    } catch (const Failure& failure) {
      Diagnostic diagnostic = failure.diagnostic;
      return std::unexpected(std::move(diagnostic));
    } catch (const std::exception& error) {
      return std::unexpected(
          Diagnostic{fmt::format("cannot compile: {}", error.what()), expression.text});
    }
    if (report) report->was_cached = !built;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (built) plan_nanoseconds += static_cast<std::int64_t>(took.count() * 1e9);
    return Kernel(std::move(state));
  }

  // What a one-shot call runs at once: units that are there, with sizes as arguments; where they
  // are not, the same as compile() makes.
  std::shared_ptr<const Call> first_call(std::string_view text, std::span<const Layout> layouts) {
    const Expression expression = value_or_throw(parse(text));
    CompileOptions options;
    options.output = layouts[0];
    auto call = std::make_shared<Call>();
    if (auto ready = ready_kernel(expression, layouts.subspan(1), options)) {
      call->kernel = std::move(*ready);
      const double seconds = call->kernel.predicted_seconds() + kCallSeconds;
      // Larger kernels keep their sizes as arguments.
      if (seconds < kSpecializeSeconds)
        call->pays_after =
            std::max<std::int64_t>(1, static_cast<std::int64_t>(kCompileSeconds / seconds));
    } else {
      call->kernel = value_or_throw(kernel_for(expression, layouts.subspan(1), options, nullptr));
    }
    return call;
  }

  // Nothing if something would have to be compiled, or has been.
  std::optional<Kernel> ready_kernel(const Expression& expression, std::span<const Layout> inputs,
                                     const CompileOptions& options) {
    struct ReadyUnits final : UnitProvider {
      explicit ReadyUnits(UnitLibrary& library) : library(library) {}
      std::shared_ptr<const CompiledUnit> find(const std::string& key) override {
        return library.find(key);
      }
      std::shared_ptr<const CompiledUnit> get(const Unit& unit, const std::string& key) override {
        return library.get_ready(unit, key);
      }
      UnitLibrary& library;
    } ready(units());
    CompileOptions shared = options;
    shared.specialization = Specialization::never;
    const Bound bound = value_or_throw(bind_expression(expression, inputs, shared));
    const Contraction whole = canonical(bound.contraction);
    if (executables.find(whole.key() + '\n' + options_key(options, whole))) return std::nullopt;
    try {
      auto state = std::make_shared<KernelState>();
      state->executable =
          executables.get(whole.key() + '\n' + options_key(shared, whole) + " ready", [&] {
            auto made = build_executable(whole, target, shared, ready, nullptr);
            if (!made) throw Failure{made.error()};
            return *made;
          });
      state->inputs.assign(inputs.begin(), inputs.end());
      state->output = output_layout(bound, options);
      return Kernel(std::move(state));
    } catch (const NeedsCodegen&) {
      return std::nullopt;
    } catch (const Failure&) {  // said again, with its text, by whoever compiles it
      return std::nullopt;
    }
  }

  // In the background: the kernel that compile() makes takes the call's place.
  void specialize(std::string key, const Kernel& kernel, std::size_t text_size) {
    specializer.add([this, key = std::move(key), kernel, text_size] {
      units().open_codegen();
      stop_specializers_at_exit();
      const Expression expression =
          value_or_throw(parse(std::string_view(key).substr(0, text_size)));
      CompileOptions options;
      options.output = kernel.output();
      auto call = std::make_shared<Call>();
      call->kernel = value_or_throw(kernel_for(expression, kernel.inputs(), options, nullptr));
      calls.put(key, std::move(call));
    });
  }

  const Target target;
  const std::optional<std::string> cache_directory;
  std::once_flag units_once;
  std::shared_ptr<UnitLibrary> owned_library;
  std::atomic<UnitLibrary*> library = nullptr;  // for statistics(), at any time
  SingleFlightCache<Executable> executables;    // by canonical contraction
  SingleFlightCache<Call> calls;                // by the raw text and layouts of one-shot calls
  std::atomic<std::int64_t> plan_nanoseconds = 0;
  Specializer specializer;  // last: its thread uses all of the above
};

Engine::Engine(const Target& target, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(target, options)) {}
Engine::~Engine() = default;

Engine& Engine::standard() {
  // Never destroyed: kernels in static storage may outlive any order of destruction.
  static Engine* engine = new Engine();
  return *engine;
}

Result<Kernel> Engine::try_compile(std::string_view text, std::span<const Layout> inputs,
                                   const CompileOptions& options, CompileReport* report) {
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  return impl_->kernel_for(*expression, inputs, options, report);
}

Result<Kernel> Engine::try_compile(std::span<const std::vector<int>> inputs,
                                   const std::vector<int>& output, std::span<const Layout> layouts,
                                   const CompileOptions& options) {
  if (inputs.empty())
    return std::unexpected(Diagnostic{"an expression needs at least one operand"});
  Result<Expression> expression = from_labels(inputs, output);
  if (!expression) return std::unexpected(expression.error());
  return impl_->kernel_for(*expression, layouts, options, nullptr);
}

Result<Kernel> Engine::try_tune(std::string_view text, std::span<const Layout> inputs,
                                const CompileOptions& options, const TuneOptions& limits,
                                TuneReport* report) {
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  try {
    return impl_->tuned_kernel_for(*expression, inputs, options, limits, report);
  } catch (const std::exception& error) {
    return std::unexpected(
        Diagnostic{fmt::format("cannot tune: {}", error.what()), std::string(text)});
  }
}

Result<DynamicKernel> Engine::try_compile_dynamic(std::string_view text,
                                                  std::span<const std::string> labels,
                                                  std::span<const Layout> inputs,
                                                  const CompileOptions& options) {
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  try {
    auto made =
        make_dynamic(*expression, labels, inputs, options, impl_->target, impl_->unit_library());
    if (!made) return std::unexpected(made.error());
    return DynamicKernel(*made);
  } catch (const std::exception& error) {
    return std::unexpected(
        Diagnostic{fmt::format("cannot compile: {}", error.what()), std::string(text)});
  }
}

Engine::CallKey::CallKey(std::string_view expression)
    : buffer_([]() -> std::string& {
        thread_local std::string buffer;
        return buffer;
      }()),
      text_size_(expression.size()) {
  buffer_.assign(expression);
  add_number(static_cast<std::int64_t>(text_size_));
}

Kernel Engine::find(const CallKey& key) {
  if (auto call = impl_->calls.find(key.bytes())) {
    if (call->pays_now())
      impl_->specialize(std::string(key.bytes()), call->kernel, key.text_size());
    return call->kernel;
  }
  // The layouts stand in the key: output first.
  const std::string bytes(key.bytes());
  const std::string_view text(bytes.data(), key.text_size());
  const std::size_t first = key.text_size() + sizeof(std::int64_t);
  std::vector<Layout> layouts;
  auto number = [&, at = first]() mutable {
    std::int64_t value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    at += sizeof value;
    return value;
  };
  for (std::size_t read = first; read < bytes.size();) {
    const std::int64_t head = number();
    Layout layout{static_cast<DType>(head >> 32)};
    const std::int64_t rank = head & 0xffffffff;
    for (std::int64_t r = 0; r < rank; ++r) {
      layout.extents.push_back(number());
      layout.strides.push_back(number());
    }
    read += static_cast<std::size_t>(1 + 2 * rank) * sizeof(std::int64_t);
    layouts.push_back(std::move(layout));
  }
  return impl_->calls.get(bytes, [&] { return impl_->first_call(text, layouts); })->kernel;
}

Result<Layout> Engine::try_result_layout(std::string_view text,
                                         std::span<const Layout> inputs) const {
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  Result<Bound> bound = einjit::bind(*expression, inputs);
  if (!bound) return std::unexpected(bound.error());
  return output_layout(*bound, {});
}

Result<std::string> Engine::try_explain(std::string_view text, std::span<const Layout> inputs,
                                        Stage stage, const CompileOptions& options) const {
  Result<Expression> expression = parse(text);
  if (!expression) return std::unexpected(expression.error());
  return explain_stage(*expression, inputs, impl_->target, options, stage);
}

const Target& Engine::target() const { return impl_->target; }

EngineStatistics Engine::statistics() const {
  const auto counts = impl_->executables.counts();
  const auto calls = impl_->calls.counts();
  EngineStatistics statistics;
  statistics.kernels = counts.size;
  statistics.hits = counts.hits + calls.hits;
  statistics.misses = counts.misses;
  statistics.evictions = counts.evictions;
  statistics.plan_seconds = static_cast<double>(impl_->plan_nanoseconds) * 1e-9;
  if (const UnitLibrary* library = impl_->library) {
    const UnitStatistics units = library->statistics();
    statistics.units_compiled = units.compiled;
    statistics.units_prebuilt = units.prebuilt;
    statistics.units_loaded = units.loaded;
    statistics.units_shared = units.found;
    statistics.code_bytes = units.code_bytes;
    statistics.compile_seconds = units.compile_seconds;
    statistics.plan_seconds -= units.compile_seconds;
  }
  return statistics;
}

void Engine::wait_for_specialization() { impl_->specializer.wait(); }

void Engine::clear_cache() {
  impl_->calls.clear();
  impl_->executables.clear();
}

}  // namespace einjit
