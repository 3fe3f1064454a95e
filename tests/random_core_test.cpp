// naive == interpreted loop IR, on random expressions and layouts, without LLVM.
#include <gtest/gtest.h>

#include "support/evaluate.hpp"

namespace einjit_test {
namespace {

std::string check_interpreter(const RandomCase& c) {
  const CaseData data = make_data(c);
  const std::vector<double> expected = expected_buffer(c, data);
  for (const auto isa : {einjit::Isa::x86_64_v4, einjit::Isa::x86_64_v2}) {
    TypedData arrays = typed(c, data);
    std::string wrong = interpret_case(c, data, tiny_target(isa), arrays);
    if (wrong.empty()) wrong = difference(c, arrays, expected, "interpreter");
    if (!wrong.empty()) return wrong;
  }
  return {};
}

TEST(RandomCore, NaiveEqualsInterpreter) {
  const char* given = std::getenv("EINJIT_CASES");
  const int count = given ? std::atoi(given) : 2000;
  EXPECT_EQ(run_random_cases(count, check_interpreter), count);
}

}  // namespace
}  // namespace einjit_test
