#include "prebuilt/corpus.hpp"

#include <cmath>
#include <map>
#include <random>

namespace einjit {
namespace {

// Sizes as people have them: small multiples of powers of two mostly, and any.
class Sizes {
 public:
  std::int64_t any(std::int64_t least, std::int64_t most) {
    const double exponent = std::uniform_real_distribution<>(
        std::log2(static_cast<double>(least)), std::log2(static_cast<double>(most)))(random_);
    auto size = static_cast<std::int64_t>(std::exp2(exponent));
    for (std::int64_t unit : {64, 16, 8})
      if (size >= 2 * unit && random_() % 2 == 0) size = size / unit * unit;
    return std::max<std::int64_t>(size, 1);
  }

 private:
  std::mt19937 random_{2026};
};

struct Family {
  std::string expression;
  int samples;
  std::int64_t least, most;  // extents
  double most_elements;      // of the largest operand
};

// Of the output.
double elements_of(const std::string& expression, const std::map<char, std::int64_t>& extents) {
  double elements = 1;
  for (char c : expression.substr(expression.find("->") + 2))
    elements *= static_cast<double>(extents.at(c));
  return elements;
}

}  // namespace

std::vector<Sample> corpus() {
  const Family families[] = {
      {"ij,jk->ik", 50, 32, 1024, 8e6},      {"ij,jk->ik", 100, 512, 8192, 7e7},
      {"ij,kj->ik", 50, 8, 4096, 3e7},       {"ji,jk->ik", 50, 8, 4096, 3e7},
      {"bij,bjk->bik", 30, 8, 512, 8e6},     {"bij,bkj->bik", 60, 8, 512, 8e6},
      {"bhid,bhjd->bhij", 20, 4, 512, 3e7},  {"bhij,bhjd->bhid", 20, 4, 512, 3e7},
      {"bihd,bjhd->bhij", 20, 4, 512, 3e7},  {"ij,j->i", 30, 64, 8192, 7e7},
      {"ij,i->j", 30, 64, 8192, 7e7},        {"ij->ji", 30, 64, 8192, 7e7},
      {"ijk->ikj", 15, 8, 1024, 7e7},        {"ijk->kji", 15, 8, 1024, 7e7},
      {"ijk->jik", 15, 8, 1024, 7e7},        {"ijkl->ikjl", 15, 2, 512, 7e7},
      {"ijkl->ljik", 15, 8, 256, 7e7},       {"ij->", 5, 64, 8192, 7e7},
      {"ij->i", 30, 64, 8192, 7e7},          {"ij->j", 40, 64, 8192, 7e7},
      {"ijk->j", 10, 8, 1024, 7e7},          {"ijk->ik", 10, 8, 1024, 7e7},
      {"ij,ij->ij", 10, 64, 8192, 7e7},      {"i,j->ij", 10, 64, 8192, 7e7},
      {"ij,i->ij", 10, 64, 8192, 7e7},       {"ij,j->ij", 10, 64, 8192, 7e7},
      {"i,i->", 5, 4096, 1 << 24, 7e7},      {"ij,ij->", 5, 64, 8192, 7e7},
      {"ij,ij->i", 10, 64, 8192, 7e7},       {"abc,cd->abd", 20, 8, 512, 7e7},
      {"abc,bd->adc", 20, 8, 512, 7e7},      {"acd,dbc->ab", 40, 8, 512, 7e7},
      {"abcd,de->abce", 20, 8, 128, 7e7},    {"abcd,ebd->ace", 20, 8, 128, 7e7},
      {"dbea,ec->abcd", 20, 16, 128, 7e7},   {"ebad,ce->abcd", 20, 16, 128, 7e7},
      {"aebf,fdec->abcd", 20, 16, 96, 7e7},  {"dega,gfbc->abcdef", 20, 8, 32, 7e7},
      {"ijk,jr,kr->ir", 20, 8, 512, 3e7},    {"ik,jkl,il->ij", 40, 16, 256, 2e7},
      {"adc,db->abc", 30, 16, 512, 7e7},     {"dca,bd->abc", 30, 16, 512, 7e7},
      {"acd,db->abc", 30, 16, 512, 7e7},     {"cad,dcb->ab", 50, 16, 512, 7e7},
      {"adec,ebd->abc", 50, 8, 128, 7e7},    {"eb,aecd->abcd", 30, 8, 128, 7e7},
      {"deca,be->abcd", 30, 8, 128, 7e7},    {"eafd,fbec->abcd", 50, 8, 64, 7e7},
      {"efbad,cf->abcde", 30, 8, 64, 7e7},   {"ecbfa,fd->abcde", 30, 8, 64, 7e7},
      {"dfgb,geac->abcdef", 30, 8, 32, 7e7}, {"degc,gfab->abcdef", 30, 8, 32, 7e7},
      {"degb,gfac->abcdef", 30, 8, 32, 7e7}, {"aebf,dfce->abcd", 30, 8, 64, 7e7},
      {"bda,dc->abc", 30, 16, 512, 7e7},     {"efcad,bf->abcde", 30, 8, 64, 7e7},
  };
  Sizes sizes;
  std::vector<Sample> samples;
  for (const Family& family : families)
    for (int s = 0; s < family.samples; ++s) {
      Sample sample{family.expression, {{}}};
      std::map<char, std::int64_t> extents;
      for (char c : family.expression.substr(0, family.expression.find('-'))) {
        if (c == ',') {
          sample.shapes.emplace_back();
          continue;
        }
        if (!extents.contains(c)) extents[c] = sizes.any(family.least, family.most);
        sample.shapes.back().push_back(extents[c]);
      }
      double largest = elements_of(family.expression, extents);
      for (const auto& shape : sample.shapes) {
        double elements = 1;
        for (std::int64_t extent : shape) elements *= static_cast<double>(extent);
        largest = std::max(largest, elements);
      }
      if (largest <= family.most_elements) samples.push_back(std::move(sample));
    }
  for (const char* expression : {"ij,jk->ik", "ij,kj->ik", "ji,jk->ik"})
    for (std::int64_t n :
         {128, 192,  200,  256,  300,  320,  384,  400,  500,  512,  600,  640,  700,  768, 800,
          900, 1000, 1024, 1200, 1280, 1500, 1536, 2000, 2048, 2500, 3000, 3072, 4000, 4096})
      samples.push_back({expression, {{n, n}, {n, n}}, true});
  return samples;
}

}  // namespace einjit
