// Floor 4: contraction orders and the workspace.
#include "path/path.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "path/order.hpp"

namespace einjit {
namespace {

Contraction contraction(const std::string& text,
                        const std::vector<std::vector<std::int64_t>>& shapes) {
  std::vector<Layout> layouts;
  for (const auto& shape : shapes) layouts.push_back(Layout::row_major(DType::f64, shape));
  return canonical(value_or_throw(einjit::bind(value_or_throw(parse(text)), layouts)).contraction);
}

double cost(const Program& program) {
  double total = 0;
  for (const Step& step : program.steps) total += step.contraction.point_count();
  return total;
}

TEST(Path, MatrixChainIsOptimal) {
  // The textbook chain (CLRS 15.2): 30x35, 35x15, 15x5, 5x10, 10x20, 20x25 takes 15125.
  const Contraction c = contraction("ab,bc,cd,de,ef,fg->ag",
                                    {{30, 35}, {35, 15}, {15, 5}, {5, 10}, {10, 20}, {20, 25}});
  const std::vector<std::int64_t> extents(c.extents);
  Network network{{}, {}, extents};
  for (const Access& a : c.in) {
    std::vector<Label> labels;
    for (Label l = 0; l < c.label_count(); ++l)
      if (a.strides[l]) labels.push_back(l);
    network.operands.push_back(labels);
  }
  for (Label l = 0; l < c.label_count(); ++l)
    if (c.out.strides[l]) network.output.push_back(l);
  const ContractionOrder order = optimal_order(network, 0);
  // The cost of an order, from its pairs alone.
  std::vector<std::vector<Label>> operands = network.operands;
  std::vector<bool> used(operands.size());
  double total = 0;
  for (auto [a, b] : order) {
    std::vector<Label> both, kept;
    std::ranges::set_union(operands[a], operands[b], std::back_inserter(both));
    used[a] = used[b] = true;
    double points = 1;
    for (Label l : both) {
      points *= static_cast<double>(extents[l]);
      bool elsewhere = std::ranges::count(network.output, l) > 0;
      for (std::size_t i = 0; i < operands.size(); ++i)
        elsewhere |= !used[i] && std::ranges::count(operands[i], l) > 0;
      if (elsewhere) kept.push_back(l);
    }
    total += points;
    operands.push_back(kept);
    used.push_back(false);
  }
  EXPECT_EQ(total, 15125);
}

TEST(Path, SumsAloneFirst) {
  const Program program =
      plan_path(contraction("ij,k->k", {{300, 400}, {500}}), Target::generic(Isa::x86_64_v4));
  EXPECT_EQ(program.steps.size(), 2u);
  EXPECT_LT(cost(program), 300.0 * 400 + 600);
}

TEST(Path, LongChainsAreGreedyAndShareTheWorkspace) {
  std::string text;
  std::vector<std::vector<std::int64_t>> shapes;
  for (int i = 0; i < 26; ++i) {
    text += (i ? "," : "") +
            std::string{static_cast<char>('a' + i), static_cast<char>(i < 25 ? 'b' + i : 'A')};
    shapes.push_back({10, 10});
  }
  const Program program =
      plan_path(contraction(text + "->aA", shapes), Target::generic(Isa::x86_64_v4));
  EXPECT_EQ(program.steps.size(), 25u);
  std::int64_t all = 0;
  for (const Temporary& t : program.temporaries) all += t.elements;
  EXPECT_LT(program.workspace_elements, all);
  // Temporaries that live at once do not overlap: each step's operands and result are disjoint.
  for (const Step& step : program.steps)
    for (int operand : step.operands) {
      if (operand < program.input_count || step.result == kOutput) continue;
      const Temporary& a = program.temporaries[operand - program.input_count];
      const Temporary& b = program.temporaries[step.result - program.input_count];
      EXPECT_TRUE(a.offset + a.elements <= b.offset || b.offset + b.elements <= a.offset);
    }
}

TEST(Path, SmallProductsOfManyStayOneNest) {
  const Program program =
      plan_path(contraction("i,j,k->ijk", {{4}, {5}, {6}}), Target::generic(Isa::x86_64_v4));
  EXPECT_EQ(program.steps.size(), 1u);
}

TEST(Path, CanBeAskedFor) {
  const Contraction chain = contraction("ij,jk,kl->il", {{40, 30}, {30, 50}, {50, 20}});
  const Contraction factored = contraction("ij,k->k", {{300, 400}, {500}});
  const Contraction mttkrp = contraction("ijk,jr,kr->ir", {{64, 64, 64}, {64, 32}, {64, 32}});
  const Target target = Target::generic(Isa::x86_64_v4);
  for (const Contraction* c : {&chain, &factored, &mttkrp}) {
    EXPECT_EQ(plan_path(*c, target, Path::pairwise).steps.size(), 2u) << c->to_string();
    EXPECT_EQ(plan_path(*c, target, Path::one_nest).steps.size(), 1u) << c->to_string();
  }
  EXPECT_EQ(plan_path(chain, target).steps.size(), 2u);
  EXPECT_EQ(plan_path(mttkrp, target).steps.size(), 1u);
}

// Whichever two operands are multiplied while they are packed.
TEST(Path, ProductsOfTwoNeedNoTemporary) {
  const Target target = Target::generic(Isa::x86_64_v4);
  for (const char* expression : {"ik,jkl,il->ij", "jkl,ik,il->ij", "ik,il,jkl->ij"}) {
    std::vector<std::vector<std::int64_t>> shapes(3, {128, 128});
    shapes[static_cast<std::size_t>(std::string(expression).find("jkl") / 3)] = {128, 128, 128};
    const Program program = plan_path(contraction(expression, shapes), target);
    EXPECT_EQ(program.steps.size(), 1u) << expression;
    EXPECT_EQ(program.workspace_elements, 0) << expression;
  }
}

}  // namespace
}  // namespace einjit
