// naive == interpreted loop IR == JIT, on random expressions and layouts.
#include <gtest/gtest.h>

#include "einjit/einjit.hpp"
#include "support/evaluate.hpp"

namespace einjit_test {
namespace {

using namespace einjit;

// Three engines: this machine's target as it is, with tiny caches, and a narrower instruction set.
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
  return which == 0 ? host : which == 1 ? tiny : narrow;
}

std::string check_jit(const RandomCase& c, const CaseData& data,
                      const std::vector<double>& expected, int which,
                      Specialization specialization) {
  TypedData arrays = typed(c, data);
  CompileOptions options;
  options.output = data.output;
  options.specialization = specialization;
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
  const int which = static_cast<int>(c.seed % 10 == 0 ? 2 : c.seed % 2);
  const Target target = engine(which).target();
  std::string wrong = interpret_case(c, data, target, arrays);
  if (wrong.empty()) wrong = difference(c, arrays, expected, "interpreter");
  const auto specialization = c.seed / 2 % 3 == 0   ? Specialization::automatic
                              : c.seed / 2 % 3 == 1 ? Specialization::never
                                                    : Specialization::always;
  if (wrong.empty()) wrong = check_jit(c, data, expected, which, specialization);
  return wrong;
}

TEST(RandomJit, NaiveEqualsInterpreterEqualsJit) {
  const char* given = std::getenv("EINJIT_CASES");
  const int count = given ? std::atoi(given) : 20000;
  EXPECT_EQ(run_random_cases(count, check_all), count);
}

}  // namespace
}  // namespace einjit_test
