// Floors 1 and 2: parsing, binding, canonical form and their diagnostics.
#include <gtest/gtest.h>

#include "index_ir/contraction.hpp"

namespace einjit {
namespace {

Contraction contraction(const std::string& text,
                        const std::vector<std::vector<std::int64_t>>& shapes) {
  std::vector<Layout> layouts;
  for (const auto& shape : shapes) layouts.push_back(Layout::row_major(DType::f32, shape));
  return canonical(value_or_throw(einjit::bind(value_or_throw(parse(text)), layouts)).contraction);
}

std::string error_of(const std::string& text,
                     const std::vector<std::vector<std::int64_t>>& shapes) {
  try {
    contraction(text, shapes);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Parse, ImplicitOutputIsInAsciiOrder) {
  EXPECT_EQ(value_or_throw(parse("ba")).to_string(), "ba->ab");
  EXPECT_EQ(value_or_throw(parse("bA,Ac")).to_string(), "bA,Ac->bc");
  EXPECT_EQ(value_or_throw(parse("i...j,j")).to_string(), "i...j,j->...i");
}

TEST(Parse, BlanksAndEmptyTerms) {
  EXPECT_EQ(value_or_throw(parse(" b h i d , b h j d -> b h i j ")).to_string(), "bhid,bhjd->bhij");
  EXPECT_EQ(value_or_throw(parse("")).to_string(), "->");
  EXPECT_EQ(value_or_throw(parse(",")).inputs.size(), 2u);
}

TEST(Parse, ErrorsPointAtTheCharacter) {
  EXPECT_EQ(parse("ij,jk-ik").error().where, (SourceRange{5, 6}));
  EXPECT_EQ(parse("i1->i").error().where, (SourceRange{1, 2}));
  EXPECT_EQ(parse("i..j->i").error().where, (SourceRange{1, 2}));
  EXPECT_EQ(parse("ij->ii").error().where, (SourceRange{5, 6}));
  EXPECT_EQ(parse("ij->k").error().where, (SourceRange{4, 5}));
  EXPECT_FALSE(parse("i->i->i"));
  EXPECT_FALSE(parse("i->i,j"));
  EXPECT_FALSE(parse("i\tj->ij"));
  EXPECT_FALSE(parse("......"));
}

TEST(Parse, LabelsAsIntegersHaveNoLimit) {
  std::vector<std::vector<int>> inputs{{}};
  for (int l = 0; l < 200; ++l) inputs[0].push_back(1000 + l);
  const Expression expression = value_or_throw(from_labels(inputs, {1199, 1000}));
  EXPECT_EQ(expression.names.size(), 200u);
  EXPECT_FALSE(from_labels(inputs, {7}));
  EXPECT_FALSE(from_labels(inputs, {1000, 1000}));
}

TEST(Bind, DiagnosticNamesOperandAxisLabelAndSizes) {
  EXPECT_EQ(error_of("ij,jk->ik", {{4, 5}, {6, 7}}),
            "error: label 'j' has extent 5 in operand 0 (axis 1) and 6 in operand 1 (axis 0)\n"
            "  ij,jk->ik\n"
            "     ^\n"
            "  note: extents must agree, or be 1 to broadcast");
  EXPECT_EQ(error_of("i->i", {{4, 5}}),
            "error: operand 0 has 2 axes (shape 4x5) but its term names 1 and has no '...'\n"
            "  i->i\n"
            "  ^");
}

TEST(Bind, OtherMistakes) {
  EXPECT_NE(error_of("ii->i", {{4, 1}}).find("repeats in operand 0"), std::string::npos);
  EXPECT_NE(error_of("ij,jk->ik", {{4, 5}}).find("2 terms but 1 operand is given"),
            std::string::npos);
  EXPECT_NE(error_of("...i->i", {{4, 5}}).find("lacks '...'"), std::string::npos);
  EXPECT_NE(error_of("...,...->...", {{4, 5}, {3}}).find("ellipsis axis 0"), std::string::npos);
}

TEST(Bind, OutputLayoutIsChecked) {
  const Expression expression = value_or_throw(parse("ij->ij"));
  const std::vector<Layout> in{Layout::row_major(DType::f32, {4, 5})};
  EXPECT_TRUE(einjit::bind(expression, in, Layout{DType::f32, {4, 5}, {-5, 1}}));
  EXPECT_FALSE(einjit::bind(expression, in, Layout{DType::f32, {5, 4}, {4, 1}}));
  EXPECT_FALSE(einjit::bind(expression, in, Layout{DType::f32, {4, 5}, {0, 1}}));
  EXPECT_FALSE(einjit::bind(expression, in, Layout{DType::f32, {4, 5}, {2, 1}}));
  EXPECT_FALSE(einjit::bind(expression, in, Layout{DType::f64, {4, 5}, {5, 1}}));
}

TEST(Bind, LayoutsThatAreNoneAreRefused) {
  const Expression expression = value_or_throw(parse("ij->ij"));
  auto binds = [&](Layout layout) {
    return einjit::bind(expression, std::vector<Layout>{layout}).has_value();
  };
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  EXPECT_TRUE(binds({DType::f32, {3, 4}, {4, 1}}));
  EXPECT_FALSE(binds({DType::f32, {3, 4}, {}}));
  EXPECT_FALSE(binds({DType::f32, {3, -4}, {4, 1}}));
  EXPECT_FALSE(binds({DType::f32, {kHuge, kHuge}, {0, 0}}));
  EXPECT_FALSE(binds({DType::f32, {kHuge, 2}, {kHuge, 1}}));
  EXPECT_FALSE(binds(Layout::row_major(DType::f32, {0, INT64_MAX})));
  // 2^64 + 1 elements wrap to 1.
  EXPECT_FALSE(binds(Layout::row_major(DType::f32, {274177, 67280421310721})));
  const std::vector<Layout> vectors(3, Layout::row_major(DType::f32, {1 << 22}));
  EXPECT_FALSE(einjit::bind(value_or_throw(parse("i,j,k->ijk")), vectors));
  EXPECT_FALSE(einjit::bind(expression, std::vector<Layout>{Layout::row_major(DType::f32, {3, 4})},
                            Layout{DType::f32, {3, 4}}));
}

TEST(Canonical, RenamedLabelsHaveOneKey) {
  EXPECT_EQ(contraction("ij,jk->ik", {{4, 5}, {5, 6}}).key(),
            contraction("xa,ab->xb", {{4, 5}, {5, 6}}).key());
  EXPECT_EQ(contraction("...ij,...jk->...ik", {{7, 4, 5}, {7, 5, 6}}).key(),
            contraction("nij,njk->nik", {{7, 4, 5}, {7, 5, 6}}).key());
  EXPECT_NE(contraction("ij,jk->ik", {{4, 5}, {5, 6}}).key(),
            contraction("ij,jk->ki", {{4, 5}, {5, 6}}).key());
}

TEST(Canonical, FusesWhatMovesTogether) {
  EXPECT_EQ(contraction("ijkl->ijkl", {{2, 3, 4, 5}}).extents, (std::vector<std::int64_t>{120}));
  EXPECT_EQ(contraction("ijk,kl->ijl", {{2, 3, 4}, {4, 5}}).extents,
            (std::vector<std::int64_t>{6, 5, 4}));
  EXPECT_EQ(contraction("ii->i", {{5, 5}}).in[0].strides, (std::vector<std::int64_t>{6}));
  EXPECT_EQ(contraction("ij,ij->", {{1, 5}, {3, 1}}).extents.size(), 2u);
}

TEST(Canonical, EmptySumsReadNothing) {
  const Contraction c = contraction("ij,jk->ik", {{4, 0}, {0, 6}});
  EXPECT_TRUE(c.in.empty());
  EXPECT_EQ(c.extents, (std::vector<std::int64_t>{24, 0}));
  EXPECT_TRUE(contraction("ij->ij", {{0, 5}}).output_is_empty());
}

}  // namespace
}  // namespace einjit
