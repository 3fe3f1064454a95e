#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "cli/commands.hpp"

namespace einjit {
namespace {

// "64x128,128x32" to layouts; an empty entry or "scalar" is 0-d.
std::vector<Layout> parse_shapes(const std::string& text, DType dtype) {
  std::vector<Layout> layouts;
  auto fail = [&](std::size_t at) {
    throw Error({"--shape: expected extents like 64x128,128x32",
                 text,
                 {static_cast<int>(at), static_cast<int>(at) + 1}});
  };
  for (std::size_t p = 0;; ++p) {
    const std::size_t end = std::min(text.find(',', p), text.size());
    std::vector<std::int64_t> extents;
    if (text.compare(p, end - p, "scalar") != 0) {
      while (p < end) {
        std::int64_t extent;
        const auto [stop, error] = std::from_chars(text.data() + p, text.data() + end, extent);
        if (error != std::errc() || extent < 0) fail(p);
        extents.push_back(extent);
        p = static_cast<std::size_t>(stop - text.data());
        if (p < end && (text[p] != 'x' || p + 1 == end)) fail(p);
        if (p < end) ++p;
      }
    }
    layouts.push_back(Layout::row_major(dtype, std::move(extents)));
    p = end;
    if (p == text.size()) return layouts;
  }
}

DType parse_dtype(const std::string& name) {
  for (DType type : {DType::f32, DType::f64})
    if (name == name_of(type)) return type;
  throw Error({fmt::format("--dtype: '{}' is neither f32 nor f64", name)});
}

Target parse_target(const std::string& name) {
  if (name.empty() || name == "native") return Target::host();
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64})
    if (name == name_of(isa)) return Target::generic(isa);
  throw Error({fmt::format(
      "--target: '{}' is none of native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64", name)});
}

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
  Engine engine(parse_target(arguments.target));
  fmt::print("{}",
             value_or_throw(engine.try_explain(arguments.expression, layouts, *stage, options)));
  if (arguments.timings) print_timings(engine, arguments, layouts, options);
  return 0;
}

}  // namespace einjit
