#include "support/random_case.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace einjit_test {
namespace {

using Random = std::mt19937_64;

std::int64_t pick(Random& random, std::int64_t lo, std::int64_t hi) {
  return lo + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(hi - lo + 1));
}
bool chance(Random& random, int percent) { return pick(random, 1, 100) <= percent; }

std::int64_t random_extent(Random& random) {
  if (chance(random, 2)) return 0;
  if (chance(random, 10)) return 1;
  constexpr std::int64_t kExtents[] = {2,  3,  4,  5,  6,  7,  8,  9,  12, 15,
                                       16, 17, 20, 31, 32, 33, 48, 65, 100};
  return kExtents[pick(random, 0, std::size(kExtents) - 1)];
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

double points(const RandomCase& c) {
  double product = 1;
  for (auto [l, n] : c.extents) product *= static_cast<double>(std::max<std::int64_t>(n, 1));
  return product;
}

// Digits in a term stand for "...", which expands from the right in falling order.
std::string with_ellipsis(const std::string& labels) {
  std::string text;
  bool done = false;
  for (char l : labels) {
    if (!is_digit(l))
      text += l;
    else if (!std::exchange(done, true))
      text += "...";
  }
  return text;
}

einjit::Layout place(Random& random, const RandomCase& c, std::vector<std::int64_t> extents,
                     Placement placement) {
  einjit::Layout layout = einjit::Layout::row_major(c.dtype, extents);
  const std::size_t rank = extents.size();
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  if (placement != Placement::row_major) std::shuffle(order.begin(), order.end(), random);
  std::int64_t stride = placement == Placement::padded ? pick(random, 1, 3) : 1;
  for (std::size_t a : order) {
    layout.strides[a] = stride;
    stride *= std::max<std::int64_t>(extents[a], 1);
    if (placement == Placement::padded) stride += pick(random, 0, 4);
  }
  for (std::size_t a = 0; a < rank; ++a) {
    if (placement == Placement::negative && chance(random, 60)) layout.strides[a] *= -1;
    if (placement == Placement::broadcast && chance(random, 40)) layout.strides[a] = 0;
    if (placement == Placement::window && chance(random, 50))
      layout.strides[a] = pick(random, 1, 3);
  }
  return layout;
}

}  // namespace

std::string RandomCase::expression() const {
  std::string text;
  for (std::size_t k = 0; k < terms.size(); ++k) text += (k ? "," : "") + with_ellipsis(terms[k]);
  return text + "->" + with_ellipsis(output);
}

std::vector<std::int64_t> RandomCase::operand_extents(std::size_t k) const {
  std::vector<std::int64_t> result;
  for (std::size_t a = 0; a < terms[k].size(); ++a)
    result.push_back(is_one[k][a] ? 1 : extents.at(terms[k][a]));
  return result;
}

std::vector<std::int64_t> RandomCase::output_extents() const {
  std::vector<std::int64_t> result;
  for (char l : output) {
    // Broadcast in every operand: the result has extent 1.
    std::int64_t extent = 1;
    for (std::size_t k = 0; k < terms.size(); ++k)
      for (std::size_t a = 0; a < terms[k].size(); ++a)
        if (terms[k][a] == l && !is_one[k][a]) extent = extents.at(l);
    result.push_back(extent);
  }
  return result;
}

std::string RandomCase::to_string() const {
  std::string text = fmt::format("seed {} {} {} ", seed, name_of(dtype), expression());
  for (auto [l, n] : extents) text += fmt::format(" {}={}", l, n);
  for (Placement p : placements) text += fmt::format(" {}", static_cast<int>(p));
  return text + (scaled ? " scaled" : "");
}

RandomCase make_random_case(std::uint64_t seed) {
  Random random(seed);
  RandomCase c;
  c.seed = seed;
  c.dtype = chance(random, 50) ? einjit::DType::f32 : einjit::DType::f64;
  const int operands =
      static_cast<int>(std::max<std::int64_t>(1, std::min<std::int64_t>(pick(random, 0, 4), 4)));
  const int labels = static_cast<int>(pick(random, 1, 6));
  const int ellipsis = chance(random, 15) ? static_cast<int>(pick(random, 1, 2)) : 0;
  for (int l = 0; l < labels; ++l)
    c.extents[static_cast<char>((l % 2 ? 'a' : 'A') + l)] = random_extent(random);
  for (int e = 0; e < ellipsis; ++e) c.extents[static_cast<char>('0' + e)] = random_extent(random);
  while (points(c) > 20000)
    for (auto& [l, n] : c.extents)
      if (points(c) > 20000) n = std::max<std::int64_t>(n / 2, std::min<std::int64_t>(n, 2));
  std::string letters, digits;
  for (auto [l, n] : c.extents) (is_digit(l) ? digits : letters).insert(0, 1, l);
  for (int k = 0; k < operands; ++k) {
    std::string term;
    for (char l : letters)
      if (chance(random, 55)) term += l;
    if (!term.empty() && chance(random, 12))
      term += term[pick(random, 0, static_cast<std::int64_t>(term.size()) - 1)];
    std::shuffle(term.begin(), term.end(), random);
    if (!digits.empty() && (k == 0 || chance(random, 60)))
      term.insert(
          pick(random, 0, static_cast<std::int64_t>(term.size())),
          digits.substr(k == 0 ? 0 : pick(random, 0, static_cast<std::int64_t>(digits.size()))));
    c.terms.push_back(term);
  }
  std::string used;
  for (const std::string& term : c.terms)
    for (char l : term)
      if (used.find(l) == std::string::npos) used += l;
  std::erase_if(c.extents,
                [&](const auto& item) { return used.find(item.first) == std::string::npos; });
  for (char l : letters)
    if (used.find(l) != std::string::npos && chance(random, 55)) c.output += l;
  std::shuffle(c.output.begin(), c.output.end(), random);
  c.output.insert(pick(random, 0, static_cast<std::int64_t>(c.output.size())), digits);
  for (const std::string& term : c.terms) {
    c.is_one.emplace_back();
    for (char l : term)
      c.is_one.back().push_back(chance(random, 5) && std::ranges::count(term, l) == 1);
    c.placements.push_back(static_cast<Placement>(pick(random, 0, 5)));
  }
  c.placements.push_back(static_cast<Placement>(pick(random, 0, 3)));
  c.scaled = chance(random, 15);
  return c;
}

CaseData make_data(const RandomCase& c) {
  Random random(c.seed ^ 0x9E3779B97F4A7C15u);
  CaseData data;
  auto add_buffer = [&](const einjit::Layout& layout) {
    data.offsets.push_back(-layout.lowest_offset());
    std::vector<double>& buffer =
        data.buffers.emplace_back(std::max<std::int64_t>(layout.footprint(), 1));
    for (double& value : buffer) value = static_cast<double>(pick(random, -3, 3));
  };
  for (std::size_t k = 0; k < c.terms.size(); ++k) {
    data.layouts.push_back(place(random, c, c.operand_extents(k), c.placements[k]));
    add_buffer(data.layouts.back());
  }
  data.output = place(random, c, c.output_extents(), c.placements.back());
  add_buffer(data.output);
  if (c.scaled) {
    data.alpha = static_cast<double>(pick(random, -2, 2));
    data.beta = static_cast<double>(pick(random, -2, 2));
  }
  return data;
}

std::vector<double> expected_buffer(const RandomCase& c, const CaseData& data) {
  std::vector<NaiveOperand> operands;
  for (std::size_t k = 0; k < data.layouts.size(); ++k)
    operands.push_back({data.buffers[k].data() + data.offsets[k], data.layouts[k].extents,
                        data.layouts[k].strides});
  const NaiveResult result = naive_einsum(c.expression(), operands);
  std::vector<double> buffer = data.buffers.back();
  std::vector<std::int64_t> index(result.extents.size(), 0);
  for (double value : result.values) {
    std::int64_t at = data.offsets.back();
    for (std::size_t a = 0; a < index.size(); ++a) at += index[a] * data.output.strides[a];
    buffer[at] = data.alpha * value + (data.beta == 0 ? 0 : data.beta * buffer[at]);
    for (std::size_t a = index.size(); a-- > 0;) {
      if (++index[a] < result.extents[a]) break;
      index[a] = 0;
    }
  }
  return buffer;
}

std::vector<RandomCase> smaller(const RandomCase& c) {
  std::vector<RandomCase> cases;
  for (auto [l, n] : c.extents)
    for (std::int64_t fewer : {std::int64_t{1}, n / 2, n - 1})
      if (fewer >= 1 && fewer < n) {
        cases.push_back(c);
        cases.back().extents[l] = fewer;
      }
  for (std::size_t k = 0; k < c.placements.size(); ++k)
    if (c.placements[k] != Placement::row_major) {
      cases.push_back(c);
      cases.back().placements[k] = Placement::row_major;
    }
  if (c.scaled) {
    cases.push_back(c);
    cases.back().scaled = false;
  }
  for (std::size_t k = 0; k + 1 < c.terms.size(); ++k) {
    RandomCase fewer = c;
    fewer.terms.erase(fewer.terms.begin() + static_cast<long>(k));
    fewer.is_one.erase(fewer.is_one.begin() + static_cast<long>(k));
    fewer.placements.erase(fewer.placements.begin() + static_cast<long>(k));
    std::string used;
    for (const std::string& term : fewer.terms) used += term;
    const bool is_valid = std::ranges::all_of(
        c.extents, [&](const auto& item) { return used.find(item.first) != std::string::npos; });
    if (is_valid) cases.push_back(fewer);
  }
  return cases;
}

int run_random_cases(int count, std::string (*check)(const RandomCase&)) {
  const char* given = std::getenv("EINJIT_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 20261120;
  fmt::print("random cases from seed {} (EINJIT_SEED)\n", seed);
  for (int i = 0; i < count; ++i) {
    RandomCase c = make_random_case(seed + static_cast<std::uint64_t>(i));
    std::string wrong = check(c);
    if (wrong.empty()) continue;
    for (bool shrunk = true; shrunk;) {
      shrunk = false;
      for (const RandomCase& candidate : smaller(c)) {
        const std::string still = check(candidate);
        if (still.empty()) continue;
        c = candidate;
        wrong = still;
        shrunk = true;
        break;
      }
    }
    ADD_FAILURE() << "case " << i << ", shrunk: " << c.to_string() << "\n" << wrong;
    return i;
  }
  return count;
}

}  // namespace einjit_test
