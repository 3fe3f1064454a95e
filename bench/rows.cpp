#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "conformance_rows.hpp"

namespace einjit_bench {
namespace {

using einjit::DType;
using einjit::Layout;
using Shape = std::vector<std::int64_t>;

constexpr DType kBoth[] = {DType::f32, DType::f64};

Row dense(std::string suite, std::string name, std::string expression, DType dtype,
          const std::vector<Shape>& shapes) {
  Row row{std::move(suite),
          fmt::format("{} {}", name, name_of(dtype)),
          std::move(expression),
          dtype,
          {}};
  for (const Shape& shape : shapes) row.operands.push_back(Layout::row_major(dtype, shape));
  return row;
}

std::vector<Row> gemm() {
  std::vector<Row> rows;
  for (DType type : kBoth)
    for (std::int64_t n :
         {4, 5, 8, 16, 23, 32, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1000, 1024, 2048})
      rows.push_back(dense("gemm", fmt::format("{}", n), "ij,jk->ik", type, {{n, n}, {n, n}}));
  return rows;
}

// The examples of the well-known einsum tutorials, at the sizes they use.
std::vector<Row> small() {
  struct Example {
    const char *name, *expression;
    std::vector<Shape> shapes;
  };
  const Example examples[] = {
      {"matmul 4x5x6", "ij,jk->ik", {{4, 5}, {5, 6}}},
      {"matmul 64", "ij,jk->ik", {{64, 64}, {64, 64}}},
      {"A B^T", "ij,kj->ik", {{5, 32}, {10, 32}}},
      {"A B^T 64", "ij,kj->ik", {{64, 64}, {64, 64}}},
      {"batched matmul", "nij,njk->nik", {{10, 4, 5}, {10, 5, 6}}},
      {"ellipsis matmul", "...ij,...jk->...ik", {{10, 20, 30, 4, 5}, {10, 20, 30, 5, 6}}},
      {"e,ke->k", "e,ke->k", {{32}, {10, 32}}},
      {"ne,nke->nk", "ne,nke->nk", {{100, 32}, {100, 10, 32}}},
      {"matvec", "ij,j->i", {{100, 100}, {100}}},
      {"vecmat", "i,ij->j", {{100}, {100, 100}}},
      {"dot", "i,i->", {{1000}, {1000}}},
      {"trace", "ii->", {{100, 100}}},
      {"diagonal", "ii->i", {{100, 100}}},
      {"sum", "ij->", {{100, 100}}},
      {"row sums", "ij->i", {{100, 100}}},
      {"column sums", "ij->j", {{100, 100}}},
      {"transpose", "ij->ji", {{100, 100}}},
      {"permutation", "ijk->kji", {{20, 30, 40}}},
      {"Hadamard", "ij,ij->ij", {{100, 100}, {100, 100}}},
      {"Frobenius", "ij,ij->", {{100, 100}, {100, 100}}},
      {"outer", "i,j->ij", {{100}, {100}}},
      {"outer transposed", "i,j->ji", {{100}, {100}}},
      {"outer of three", "i,j,k->kji", {{10}, {20}, {30}}},
      {"bilinear", "ik,jkl,il->ij", {{10, 20}, {15, 20, 25}, {10, 25}}},
      {"row scaling", "i,ij->ij", {{100}, {100, 100}}},
      {"quadratic form", "i,ij,j->", {{100}, {100, 100}, {100}}},
      {"QK", "bimd,bind->bimn", {{4, 12, 128, 64}, {4, 12, 128, 64}}},
      {"QK with blanks", "b h i d , b h j d -> b h i j", {{2, 4, 32, 16}, {2, 4, 32, 16}}},
      {"attention V", "bhij,bhjd->bhid", {{2, 4, 32, 32}, {2, 4, 32, 16}}},
      {"projection", "bnd,dhe->bhne", {{2, 32, 64}, {64, 4, 16}}},
      {"out projection", "bhne,hed->bnd", {{2, 4, 32, 16}, {4, 16, 64}}},
  };
  std::vector<Row> rows;
  for (const Example& e : examples)
    rows.push_back(dense("small", e.name, e.expression, DType::f64, e.shapes));
  // A 3x3 window over an image, and the gradient of a convolution, as views.
  Row window{"small", "3x3 window f64", "xyij,ij->xy", DType::f64, {}};
  window.operands.push_back({DType::f64, {62, 62, 3, 3}, {64, 1, 64, 1}});
  window.operands.push_back(Layout::row_major(DType::f64, {3, 3}));
  rows.push_back(window);
  Row gradient{"small", "convolution gradient f64", "nijkde,node->oijk", DType::f64, {}};
  gradient.operands.push_back(
      {DType::f64, {8, 3, 3, 3, 30, 30}, {3 * 32 * 32, 32 * 32, 32, 1, 32, 1}});
  gradient.operands.push_back(Layout::row_major(DType::f64, {8, 4, 30, 30}));
  rows.push_back(gradient);
  return rows;
}

std::vector<Row> batched() {
  std::vector<Row> rows;
  for (DType type : kBoth) {
    for (std::int64_t b : {4, 64}) {
      rows.push_back(dense("batched", fmt::format("heads b={}", b), "bimd,bind->bimn", type,
                           {{b, 12, 128, 64}, {b, 12, 128, 64}}));
      rows.push_back(dense("batched", fmt::format("interleaved heads b={}", b), "bihd,bjhd->bhij",
                           type, {{b, 128, 12, 64}, {b, 128, 12, 64}}));
    }
    rows.push_back(dense("batched", "ne,nke->nk", "ne,nke->nk", type, {{100, 32}, {100, 10, 32}}));
    for (std::int64_t n : {4, 8, 16})
      rows.push_back(dense("batched", fmt::format("{0}x{0}", n), "bij,bjk->bik", type,
                           {{10000, n, n}, {10000, n, n}}));
    rows.push_back(dense("batched", "8x8 from memory", "bij,bjk->bik", type,
                         {{100000, 8, 8}, {100000, 8, 8}}));
  }
  return rows;
}

std::vector<Row> skinny() {
  std::vector<Row> rows;
  for (DType type : kBoth)
    for (auto [m, k, n] : {std::tuple{4096, 4096, 8},
                           {8, 4096, 4096},
                           {4096, 8, 4096},
                           {1, 4096, 4096},
                           {4096, 4096, 1}}) {
      const Shape a{m, k}, b{k, n}, at{k, m}, bt{n, k};
      const std::string name = fmt::format("{}x{}x{}", m, k, n);
      rows.push_back(dense("skinny", name, "ij,jk->ik", type, {a, b}));
      rows.push_back(dense("skinny", name + " A^T", "ji,jk->ik", type, {at, b}));
      rows.push_back(dense("skinny", name + " B^T", "ij,kj->ik", type, {a, bt}));
    }
  for (DType type : kBoth) {
    for (std::int64_t i : {3, 16}) {
      Row row{"skinny",
              fmt::format("convolution gradient i={} {}", i, name_of(type)),
              "nijkde,node->oijk",
              type,
              {}};
      row.operands.push_back({type, {8, i, 3, 3, 30, 30}, {i * 1024, 1024, 32, 1, 32, 1}});
      row.operands.push_back(Layout::row_major(type, {8, 16, 30, 30}));
      rows.push_back(row);
    }
    Row row{"skinny", fmt::format("convolution {}", name_of(type)), "nixyde,oide->noxy", type, {}};
    row.operands.push_back({type, {8, 64, 54, 54, 3, 3}, {64 * 3136, 3136, 56, 1, 56, 1}});
    row.operands.push_back(Layout::row_major(type, {64, 64, 3, 3}));
    rows.push_back(row);
  }
  return rows;
}

// C-A-B, the first index contiguous; extents of a, b, c, ... (Springer and Bientinesi's TCCG).
std::vector<Row> tccg() {
  struct Entry {
    const char* expression;
    Shape extents;
  };
  const Entry entries[] = {{"abcde-efbad-cf", {48, 36, 24, 36, 48, 36}},
                           {"abcde-efcad-bf", {48, 24, 36, 36, 48, 36}},
                           {"abcd-dbea-ec", {96, 84, 24, 96, 96}},
                           {"abcde-ecbfa-fd", {48, 36, 36, 24, 48, 48}},
                           {"abcd-deca-be", {96, 24, 84, 96, 84}},
                           {"abc-bda-dc", {384, 384, 24, 384}},
                           {"abcd-ebad-ce", {96, 84, 24, 84, 96}},
                           {"abcdef-dega-gfbc", {24, 20, 20, 24, 20, 20, 24}},
                           {"abcdef-dfgb-geac", {24, 20, 20, 24, 20, 20, 24}},
                           {"abcdef-degb-gfac", {24, 20, 20, 24, 20, 20, 24}},
                           {"abcdef-degc-gfab", {24, 20, 20, 24, 20, 20, 24}},
                           {"abc-dca-bd", {384, 24, 376, 384}},
                           {"abcd-ea-ebcd", {96, 84, 84, 84, 96}},
                           {"abcd-eb-aecd", {96, 84, 84, 84, 96}},
                           {"abcd-ec-abed", {96, 84, 84, 84, 96}},
                           {"abc-adec-ebd", {96, 84, 84, 84, 96}},
                           {"ab-cad-dcb", {384, 376, 384, 384}},
                           {"ab-acd-dbc", {384, 376, 376, 384}},
                           {"abc-acd-db", {384, 376, 376, 384}},
                           {"abc-adc-bd", {384, 384, 376, 376}},
                           {"ab-ac-cb", {3624, 3620, 3624}},
                           {"abcd-aebf-fdec", {48, 42, 42, 42, 42, 48}},
                           {"abcd-eafd-fbec", {48, 42, 42, 42, 48, 48}},
                           {"abcd-aebf-dfce", {48, 42, 42, 48, 42, 42}}};
  std::vector<Row> rows;
  for (DType type : kBoth) {
    int number = 0;
    for (const Entry& entry : entries) {
      const std::string text = entry.expression;
      const std::size_t first = text.find('-'), second = text.find('-', first + 1);
      std::string terms[3] = {text.substr(0, first), text.substr(first + 1, second - first - 1),
                              text.substr(second + 1)};
      std::vector<Shape> shapes;
      for (std::string& term : terms) {
        std::ranges::reverse(term);
        Shape shape;
        for (char l : term) shape.push_back(entry.extents[static_cast<std::size_t>(l - 'a')]);
        shapes.push_back(shape);
      }
      rows.push_back(dense("tccg", fmt::format("{} {}", ++number, text),
                           fmt::format("{},{}->{}", terms[1], terms[2], terms[0]), type,
                           {shapes[1], shapes[2]}));
    }
  }
  return rows;
}

std::vector<Row> memory() {
  std::vector<Row> rows;
  for (DType type : kBoth) {
    auto add = [&](const char* name, const char* expression, std::vector<Shape> shapes) {
      rows.push_back(dense("memory", name, expression, type, shapes));
    };
    add("transpose 256", "ij->ji", {{256, 256}});
    add("transpose 700", "ij->ji", {{700, 700}});
    add("transpose 1024", "ij->ji", {{1024, 1024}});
    add("transpose 4096", "ij->ji", {{4096, 4096}});
    add("transpose 8192", "ij->ji", {{8192, 8192}});
    add("permutation 3-d", "ijk->kji", {{200, 200, 200}});
    add("permutation 4-d", "ijkl->ljik", {{64, 48, 64, 64}});
    add("permutation 5-d", "ijklm->mkjil", {{24, 40, 16, 32, 40}});
    add("permutation 6-d", "ijklmn->ljnimk", {{16, 12, 24, 16, 16, 20}});
    add("odd transpose", "ij->ji", {{3000, 2500}});
    add("odd permutation 3-d", "ijk->jki", {{225, 224, 65}});
    add("odd permutation 4-d", "ijkl->jlik", {{50, 36, 13, 500}});
    add("odd small transposes", "ijk->ikj", {{5000, 49, 50}});
    add("transpose 4096 off lines", "ij->ji", {{4096, 4096}});
    rows.back().output_shift = 16;
    add("permutation 4-d off lines", "ijkl->ljik", {{64, 48, 64, 64}});
    rows.back().output_shift = 16;
    add("short fast label", "ijkl->ikjl", {{64, 256, 256, 3}});
    add("channels apart", "ij->ji", {{4 << 20, 3}});
    add("channels together", "ji->ij", {{3, 4 << 20}});
    add("dots of 3-vectors", "ij,ij->i", {{4 << 20, 3}, {4 << 20, 3}});
    add("tall row sums", "ij->i", {{400000, 58}});
    add("tall column sums", "ij->j", {{400000, 25}});
    add("sum of transposes", "ikj->jk", {{75, 128, 512}});
    add("batched matvec", "bij,bj->bi", {{20000, 16, 58}, {20000, 58}});
    add("row sums 256", "ij->i", {{256, 256}});
    add("row sums 4096", "ij->i", {{4096, 4096}});
    add("column sums 256", "ij->j", {{256, 256}});
    add("column sums 4096", "ij->j", {{4096, 4096}});
    add("sum 4096", "ij->", {{4096, 4096}});
    add("dot 1e4", "i,i->", {{10000}, {10000}});
    add("dot 1e7", "i,i->", {{10000000}, {10000000}});
    add("turned dot", "ij,ji->", {{3000, 4000}, {4000, 3000}});
    add("Frobenius 4096", "ij,ij->", {{4096, 4096}, {4096, 4096}});
    add("matvec 4096", "ij,j->i", {{4096, 4096}, {4096}});
    add("vecmat 4096", "ji,j->i", {{4096, 4096}, {4096}});
    add("trace 4096", "ii->", {{4096, 4096}});
    add("Hadamard 4096", "ij,ij->ij", {{4096, 4096}, {4096, 4096}});
    add("turned Hadamard", "ij,ji->ij", {{3000, 4000}, {4000, 3000}});
    add("outer 4096", "i,j->ij", {{4096}, {4096}});
    add("row scaling 4096", "i,ij->ij", {{4096}, {4096, 4096}});
    add("MTTKRP 256", "ijk,jr,kr->ir", {{256, 256, 256}, {256, 32}, {256, 32}});
    for (std::int64_t n : {128, 256, 512})
      add(fmt::format("bilinear {}", n).c_str(), "ik,jkl,il->ij", {{n, n}, {n, n, n}, {n, n}});
    for (std::int64_t w : {3, 5}) {
      Row row{"memory",
              fmt::format("{0}x{0} window 224 {1}", w, name_of(type)),
              "xyij,ij->xy",
              type,
              {}};
      row.operands.push_back({type, {225 - w, 225 - w, w, w}, {224, 1, 224, 1}});
      row.operands.push_back(Layout::row_major(type, {w, w}));
      rows.push_back(row);
    }
  }
  return rows;
}

// What is compiled cold: the tutorials' examples and a few of each other suite.
std::vector<Row> compile() {
  std::vector<Row> rows = small();
  for (const auto& suite : {gemm(), tccg(), memory(), batched()})
    rows.insert(rows.end(), suite.begin(), suite.end());
  for (Row& row : rows) row.suite = "compile";
  return rows;
}

}  // namespace

std::vector<Row> rows_of(const std::string& suite) {
  const std::map<std::string, std::vector<Row> (*)()> suites{
      {"gemm", gemm}, {"small", small},   {"batched", batched}, {"skinny", skinny},
      {"tccg", tccg}, {"memory", memory}, {"compile", compile}, {"conformance", conformance}};
  const auto it = suites.find(suite);
  if (it == suites.end())
    throw std::invalid_argument(
        fmt::format("no suite '{}': there are {}", suite, fmt::join(kSuites, ", ")));
  return it->second();
}

}  // namespace einjit_bench
