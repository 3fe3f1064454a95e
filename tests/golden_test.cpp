// Goldens: index IR, schedule and loop IR as text, for fixed targets. EINJIT_UPDATE_GOLDENS=1
// rewrites them; CI refuses that.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "lower/lower.hpp"
#include "path/path.hpp"
#include "schedule/choose.hpp"

namespace einjit {
namespace {

struct Golden {
  const char *name, *expression;
  std::vector<std::vector<std::int64_t>> shapes;
  DType dtype;
  Isa isa;
  bool has_mesh = false;
};

const Golden kGoldens[] = {
    {"matmul_small", "ij,jk->ik", {{4, 5}, {5, 6}}, DType::f64, Isa::x86_64_v4},
    {"matmul_64", "ij,jk->ik", {{64, 64}, {64, 64}}, DType::f32, Isa::x86_64_v3},
    {"matmul_1000", "ij,jk->ik", {{1000, 1000}, {1000, 1000}}, DType::f32, Isa::x86_64_v4},
    {"attention_scores",
     "bimd,bind->bimn",
     {{4, 12, 128, 64}, {4, 12, 128, 64}},
     DType::f32,
     Isa::x86_64_v4},
    {"batched_matvec", "ne,nke->nk", {{100, 32}, {100, 10, 32}}, DType::f32, Isa::x86_64_v4},
    {"transpose", "ij->ji", {{100, 100}}, DType::f32, Isa::x86_64_v3},
    {"transpose_on_mesh", "ij->ji", {{8192, 8192}}, DType::f64, Isa::x86_64_v4, true},
    {"matvec_on_mesh", "ij,j->i", {{4096, 4096}, {4096}}, DType::f32, Isa::x86_64_v4, true},
    {"trace", "ii->", {{100, 100}}, DType::f64, Isa::x86_64_v4},
    {"column_sums", "ij->j", {{100, 100}}, DType::f64, Isa::x86_64_v3},
    {"column_sums_from_memory", "ij->j", {{9000, 4096}}, DType::f32, Isa::x86_64_v4},
    {"tall_column_sums", "ij->j", {{100000, 25}}, DType::f32, Isa::x86_64_v4},
    {"turned_dot", "ij,ji->", {{1000, 1500}, {1500, 1000}}, DType::f64, Isa::x86_64_v4},
    {"sum_of_transposes", "ikj->jk", {{75, 128, 512}}, DType::f32, Isa::x86_64_v4, true},
    {"turned_product", "ij,ji->ij", {{1000, 1500}, {1500, 1000}}, DType::f32, Isa::x86_64_v4, true},
    {"bilinear", "ik,jkl,il->ij", {{10, 20}, {15, 20, 25}, {10, 25}}, DType::f64, Isa::x86_64_v4},
    {"outer_of_three", "i,j,k->kji", {{10}, {20}, {30}}, DType::f64, Isa::x86_64_v3},
    {"tccg_1", "dabfe,fc->edcba", {{36, 48, 36, 36, 48}, {36, 24}}, DType::f32, Isa::x86_64_v4},
};

std::string dump(const Golden& golden) {
  std::vector<Layout> layouts;
  for (const auto& shape : golden.shapes) layouts.push_back(Layout::row_major(golden.dtype, shape));
  Target target = Target::generic(golden.isa);
  if (golden.has_mesh) {
    target.l1_bytes = 48 << 10;
    target.l2_bytes = 2 << 20;
    target.describe_mesh();
  }
  const Expression expression = value_or_throw(parse(golden.expression));
  const Contraction whole =
      canonical(value_or_throw(einjit::bind(expression, layouts)).contraction);
  const Program program = plan_path(whole, target);
  std::string text =
      std::string(golden.expression) + "   " + target.to_string() + "\n\n" + whole.to_string();
  text += program.to_string();
  for (const Step& step : program.steps) {
    const Choice choice = choose_schedule(step.contraction, target);
    text += "\n" + to_string(choice.schedule, step.contraction);
    text += "\n" + lower(step.contraction, choice.schedule, target).to_string();
  }
  return text;
}

class Goldens : public testing::TestWithParam<Golden> {};

TEST_P(Goldens, AreUnchanged) {
  const std::string path = std::string(EINJIT_GOLDENS) + "/" + GetParam().name + ".txt";
  const std::string text = dump(GetParam());
  if (std::getenv("EINJIT_UPDATE_GOLDENS")) {
    ASSERT_FALSE(std::getenv("CI")) << "CI does not rewrite goldens";
    std::ofstream(path) << text;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing: EINJIT_UPDATE_GOLDENS=1 writes it";
  std::stringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(text, expected.str());
}

INSTANTIATE_TEST_SUITE_P(All, Goldens, testing::ValuesIn(kGoldens),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace einjit
