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
  bool chance(unsigned one_in) { return random_() % one_in == 0; }

 private:
  std::mt19937 random_{2026};
};

struct Family {
  std::string expression;
  int samples;
  double most_elements;  // of the largest operand
  bool is_covered = false;
};

}  // namespace

std::vector<Sample> corpus() {
  const Family families[] = {
      {"ij,jk->ik", 160, 8e6, true},
      {"ij,kj->ik", 80, 8e6},
      {"ji,jk->ik", 80, 8e6},
      {"bij,bjk->bik", 60, 8e6},
      {"bij,bkj->bik", 60, 8e6},
      {"bhid,bhjd->bhij", 30, 8e6},
      {"bhij,bhjd->bhid", 30, 8e6},
      {"ij,j->i", 40, 3e7},
      {"ij,i->j", 40, 3e7},
      {"ij->ji", 60, 3e7},
      {"ijk->ikj", 30, 3e7},
      {"ijk->kji", 30, 3e7},
      {"ijk->jik", 30, 3e7},
      {"ijkl->ikjl", 20, 3e7},
      {"ijkl->ljik", 20, 3e7},
      {"ij->", 10, 3e7},
      {"ij->i", 30, 3e7},
      {"ij->j", 30, 3e7},
      {"ijk->j", 20, 3e7},
      {"ijk->ik", 20, 3e7},
      {"ij,ij->ij", 20, 3e7},
      {"i,j->ij", 20, 3e7},
      {"ij,i->ij", 20, 3e7},
      {"ij,j->ij", 20, 3e7},
      {"i,i->", 10, 3e7},
      {"ij,ij->", 10, 3e7},
      {"ij,ij->i", 20, 3e7},
      {"abc,cd->abd", 30, 8e6},
      {"abc,bd->adc", 30, 8e6},
      {"abcd,de->abce", 20, 8e6},
      {"abcd,ebd->ace", 20, 8e6},
      {"ijk,jr,kr->ir", 10, 8e6},
      {"ik,jkl,il->ij", 10, 8e6},
  };
  Sizes sizes;
  std::vector<Sample> samples;
  for (const Family& family : families)
    for (int s = 0; s < family.samples; ++s) {
      Sample sample{family.expression, {{}}, family.is_covered};
      std::map<char, std::int64_t> extents;
      for (char c : family.expression.substr(0, family.expression.find('-'))) {
        if (c == ',') {
          sample.shapes.emplace_back();
          continue;
        }
        if (!extents.contains(c)) extents[c] = sizes.any(8, sizes.chance(3) ? 4096 : 512);
        sample.shapes.back().push_back(extents[c]);
      }
      double largest = 0;
      for (const auto& shape : sample.shapes) {
        double elements = 1;
        for (std::int64_t extent : shape) elements *= static_cast<double>(extent);
        largest = std::max(largest, elements);
      }
      if (largest <= family.most_elements) samples.push_back(std::move(sample));
    }
  return samples;
}

}  // namespace einjit
