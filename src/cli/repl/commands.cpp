// The REPL's commands: what begins with ':'.
#include "cli/commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/repl/functions.hpp"
#include "cli/repl/repl.hpp"
#include "cli/repl/syntax.hpp"
#include "measure/peaks.hpp"

namespace einjit {
namespace {

constexpr const char* kHelp = R"(values
  A = rand(4, 5)               rand, randint(lo, hi, ...), arange(n), zeros, ones, load("x.npy"),
                               [[1, 2], [3, 4]], 2.5, f32(A), f64(A)
  transpose(A, 1, 0)           views: transpose, reshape(A, 2, -1), A[0, 1], as_strided(A, [..], [..]),
                               sliding_window(A, 3, 3)
  C = ij,jk->ik A B            any einsum expression, then its tensors
  S = 0.25 * ij,kj->ik Q K     scaled
  softmax(S, -1)   allclose(A, B)   A.shape   save("x.npy", A)
commands
  :emit STAGE                  the last expression as expression, index, schedule, loops, llvm, asm
  :schedule                    show it;  :schedule edit TEXT (lines or ';'), :schedule reset
  :time                        time the last expression against the machine's limit
  :cache                       kernels, units, hits and misses
  :dtype f32|f64               of new tensors
  :help   :quit
)";

// The bytes an expression must move at least, and the multiply-adds it must do.
struct Work {
  double bytes, flops;
};
Work work_of(const std::vector<Tensor>& operands, const Tensor& result, const Kernel& kernel) {
  double elements = static_cast<double>(result.layout.element_count());
  for (const Tensor& operand : operands)
    elements +=
        static_cast<double>(std::min(operand.layout.element_count(), operand.layout.footprint()));
  return {elements * static_cast<double>(size_of(result.dtype())),
          static_cast<double>(kernel.flop_count())};
}

}  // namespace

std::string Repl::run_command(const std::string& text) {
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string name = text.substr(0, end), rest = trimmed(text.substr(end));
  if (name == "help") return kHelp;
  if (name == "quit" || name == "q" || name == "exit") {
    is_done_ = true;
    return "";
  }
  if (name == "emit") {
    const std::optional<Stage> stage = stage_named(rest);
    if (!stage)
      throw Error({fmt::format(":emit: '{}' is none of {}", rest, fmt::join(kStageNames, ", "))});
    return value_or_throw(Engine::standard().try_explain(last().expression, last_layouts(), *stage,
                                                         options_for(last())));
  }
  if (name == "schedule") return change_schedule(rest);
  if (name == "time") return show_time();
  if (name == "cache") return show_cache();
  if (name == "dtype") {
    if (rest != "f32" && rest != "f64") throw Error({":dtype: f32 or f64"});
    dtype_ = rest == "f32" ? DType::f32 : DType::f64;
    return "";
  }
  throw Error({fmt::format("':{}' is no command; :help lists them", name)});
}

std::string Repl::change_schedule(const std::string& text) {
  const std::string key = schedule_key(last());
  const auto given = schedules_.find(key);
  Engine& engine = Engine::standard();
  if (text.empty()) {
    if (given != schedules_.end()) return given->second + "\n";
    return value_or_throw(engine.try_explain(last().expression, last_layouts(), Stage::schedule));
  }
  if (text == "reset") {
    if (given != schedules_.end()) schedules_.erase(given);
    return "the scheduler chooses again\n";
  }
  if (!text.starts_with("edit "))
    throw Error({":schedule, :schedule edit TEXT or :schedule reset"});
  CompileOptions options;
  options.schedule = trimmed(text.substr(5));
  const Tensor result = evaluate(last().expression, last().operands, last().scale, options);
  last_->result = result;
  schedules_[key] = options.schedule;
  return "used for this expression from now on\n";
}

std::string Repl::show_time() {
  const Last& of = last();
  const Kernel kernel = Engine::standard().compile(of.expression, last_layouts(), options_for(of));
  const Tensor out = Tensor::zeros(kernel.output().dtype, kernel.output().extents);
  std::vector<void*> pointers{out.data()};
  for (const Tensor& operand : of.operands) pointers.push_back(operand.data());
  const double seconds = median_seconds([&] { (void)kernel.run(pointers.data(), of.scale); }, 0.3);
  const Work work = work_of(of.operands, out, kernel);
  const double peak = measure_fma_peak(out.dtype());
  const double bandwidth = measure_bandwidth(
      Traffic::copy, std::max<std::int64_t>(static_cast<std::int64_t>(work.bytes), 1 << 12));
  const double gflops = work.flops / seconds * 1e-9, gbs = work.bytes / seconds * 1e-9;
  std::string text = fmt::format("{:.4g} us", seconds * 1e6);
  // Bound by whichever would take longer at the machine's limit.
  if (work.flops / peak > work.bytes / bandwidth)
    text += fmt::format("   {:.4g} GFLOP/s   {:.0f} % of the FMA peak ({:.4g} GFLOP/s)", gflops,
                        gflops / peak * 100, peak);
  else
    text += fmt::format("   {:.4g} GB/s   {:.0f} % of the copy bandwidth ({:.4g} GB/s)", gbs,
                        gbs / bandwidth * 100, bandwidth);
  return text + "\n";
}

std::string Repl::show_cache() const {
  const EngineStatistics s = Engine::standard().statistics();
  return fmt::format(
      "kernels {}   hits {}   misses {}   evictions {}\n"
      "units prebuilt {}   from disk {}   compiled {}   shared {}   code {} bytes\n"
      "planning {:.3f} ms   compiling {:.3f} ms\n",
      s.kernels, s.hits, s.misses, s.evictions, s.units_prebuilt, s.units_loaded, s.units_compiled,
      s.units_shared, s.code_bytes, s.plan_seconds * 1e3, s.compile_seconds * 1e3);
}

}  // namespace einjit
