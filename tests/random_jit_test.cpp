// naive == interpreted loop IR == JIT, on random expressions and layouts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "einjit/einjit.hpp"
#include "support/evaluate.hpp"

namespace einjit_test {
namespace {

using namespace einjit;

// Four engines: this machine's target as it is, with tiny caches, and narrower instruction sets
// (the last one only where this machine is wider).
Engine& engine(int which) {
  static Engine host(Target::host());
  static Engine tiny([] {
    Target target = Target::host();
    target.l1_bytes = 512;
    target.l2_bytes = 2048;
    target.l3_bytes = 8192;
    return target;
  }());
  static Engine narrow(tiny_target(Isa::x86_64_v2));
  static Engine middle(Target::host().isa == Isa::x86_64_v4 ? tiny_target(Isa::x86_64_v3)
                                                            : Target::host());
  return which == 0 ? host : which == 1 ? tiny : which == 2 ? narrow : middle;
}

std::string check_jit(const RandomCase& c, const CaseData& data,
                      const std::vector<double>& expected, int which,
                      Specialization specialization) {
  TypedData arrays = typed(c, data);
  CompileOptions options;
  options.output = data.output;
  options.specialization = specialization;
  options.path = static_cast<Path>(c.seed / 6 % 3);
  if (c.scaled) options.scaling = Scaling::alpha_beta;
  Result<Kernel> kernel = engine(which).try_compile(c.expression(), data.layouts, options);
  if (!kernel) return kernel.error().render();
  if (kernel->run(arrays.pointers.data(), {data.alpha, data.beta}) != Status::ok)
    return "out of memory";
  return difference(c, arrays, expected, "JIT on engine " + std::to_string(which));
}

std::string check_all(const RandomCase& c) {
  const CaseData data = make_data(c);
  const std::vector<double> expected = expected_buffer(c, data);
  TypedData arrays = typed(c, data);
  // Each case goes through one target and one kind of unit; the others take turns.
  const int which = static_cast<int>(c.seed % 10 == 0 ? 2 : c.seed % 10 == 1 ? 3 : c.seed % 2);
  const Target target = engine(which).target();
  std::string wrong = interpret_case(c, data, target, arrays);
  if (wrong.empty()) wrong = difference(c, arrays, expected, "interpreter");
  const auto specialization = c.seed / 2 % 3 == 0   ? Specialization::automatic
                              : c.seed / 2 % 3 == 1 ? Specialization::never
                                                    : Specialization::always;
  if (wrong.empty()) wrong = check_jit(c, data, expected, which, specialization);
  return wrong;
}

int tried = 0, replayed = 0;  // dynamic kernels, and those that needed no code of their own

// A kernel compiled for row-major arrays of other extents of some labels, at the case's layouts.
std::string check_dynamic(const RandomCase& c) {
  const CaseData data = make_data(c);
  const std::vector<double> expected = expected_buffer(c, data);
  TypedData arrays = typed(c, data);
  RandomCase typical = c;
  std::vector<std::string> labels;
  for (auto& [label, extent] : typical.extents) {
    // Digits are ellipsis axes, and letters that every operand broadcasts have no extent of theirs.
    bool is_free = std::isalpha(static_cast<unsigned char>(label)) != 0;
    for (std::size_t k = 0; k < c.terms.size(); ++k)
      for (std::size_t a = 0; a < c.terms[k].size(); ++a)
        is_free &= c.terms[k][a] != label || !c.is_one[k][a];
    if (!is_free || (c.seed + static_cast<std::uint64_t>(label)) % 2) continue;
    labels.emplace_back(1, label);
    extent = 2 + static_cast<std::int64_t>((c.seed / 7 + static_cast<std::uint64_t>(label)) % 40);
  }
  if (labels.empty()) return {};
  if (std::ranges::any_of(typical.extents, [](const auto& e) { return e.second == 0; })) return {};
  std::vector<Layout> layouts;
  for (std::size_t k = 0; k < c.terms.size(); ++k)
    layouts.push_back(Layout::row_major(c.dtype, typical.operand_extents(k)));
  CompileOptions options;
  options.path = static_cast<Path>(c.seed / 2 % 3);
  if (c.scaled) options.scaling = Scaling::alpha_beta;
  const auto dynamic = engine(static_cast<int>(c.seed % 2))
                           .try_compile_dynamic(c.expression(), labels, layouts, options);
  if (!dynamic) return dynamic.error().render();
  const Result<Kernel> kernel = dynamic->try_at(data.layouts, data.output);
  if (!kernel) return kernel.error().render();
  ++tried;
  replayed += dynamic->compiled_count() == 0;
  if (kernel->run(arrays.pointers.data(), {data.alpha, data.beta}) != Status::ok)
    return "out of memory";
  return difference(c, arrays, expected, "dynamic kernel");
}

TEST(RandomJit, DynamicExtents) {
  const char* given = std::getenv("EINJIT_CASES");
  const int count = given ? std::atoi(given) / 10 : 500;
  EXPECT_EQ(run_random_cases(count, check_dynamic), count);
  // The others are broadcasts, empty, or strided as nothing row-major is.
  EXPECT_GT(replayed * 4, tried) << replayed << " of " << tried;
  std::printf("%d of %d cases with dynamic labels ran on their code\n", replayed, tried);
}

TEST(RandomJit, NaiveEqualsInterpreterEqualsJit) {
  const char* given = std::getenv("EINJIT_CASES");
  const int count = given ? std::atoi(given) : 20000;
  EXPECT_EQ(run_random_cases(count, check_all), count);
}

}  // namespace
}  // namespace einjit_test
