// The f32 and f64 cases of the conformance list, strided views as they are, through the C++ API.
#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "einjit/einjit.hpp"
#include "support/naive.hpp"

namespace einjit_test {
namespace {

using namespace einjit;
using nlohmann::json;
using Wide = unsigned __int128;

// The list's input generator: PCG64 (XSL RR 128/64) seeded by splitmix64.
class Generator {
 public:
  Generator(std::uint64_t seed, std::uint64_t operand) : counter_(seed * 0x100000001B3u + operand) {
    const std::uint64_t a = split(), b = split(), c = split(), d = split();
    state_ = Wide{a} << 64 | b;
    increment_ = (Wide{c} << 64 | d) | 1;
  }
  std::uint64_t draw() {
    constexpr Wide kMultiplier = Wide{0x2360ED051FC65DA4u} << 64 | 0x4385DF649FCCF645u;
    state_ = state_ * kMultiplier + increment_;
    const auto folded =
        static_cast<std::uint64_t>(state_ >> 64) ^ static_cast<std::uint64_t>(state_);
    return std::rotr(folded, static_cast<int>(state_ >> 122));
  }

 private:
  std::uint64_t split() {
    counter_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = counter_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint64_t counter_;
  Wide state_, increment_;
};

double normal(Generator& g) {
  double u[4];
  for (double& x : u) x = static_cast<double>(g.draw() >> 11) * 0x1p-53;
  return ((u[0] + u[1]) + (u[2] + u[3]) - 2.0) * 1.7320508075688772;
}

template <class T>
T special(Generator& g, int shift) {
  const T z = static_cast<T>(normal(g));
  using Limits = std::numeric_limits<T>;
  const T tiny = Limits::denorm_min();
  switch (g.draw() >> shift) {
    case 0:
      return Limits::quiet_NaN();
    case 1:
      return Limits::infinity();
    case 2:
      return -Limits::infinity();
    case 3:
      return T(-0.0);
    case 4:
      return T(0);
    case 5:
      return tiny;
    case 6:
      return -tiny;
    case 7:
      return Limits::min() - tiny;
    case 8:
      return -Limits::min();
    default:
      return z;
  }
}

template <class T>
std::vector<T> fill(const json& c, std::size_t operand, std::int64_t count) {
  Generator g(c["seed"], operand);
  const std::string how = c["fill"];
  const std::int64_t lo = c.value("lo", -3), hi = c.value("hi", 3);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) {
    if (how == "int")
      value = static_cast<T>(
          static_cast<std::int64_t>((g.draw() >> 32) % static_cast<std::uint64_t>(hi - lo + 1)) +
          lo);
    else if (how == "normal")
      value = static_cast<T>(normal(g));
    else
      value = special<T>(g, how == "special" ? 60 : 58);
  }
  return values;
}

template <class T>
struct Operands {
  std::vector<std::vector<T>> buffers;
  std::vector<std::int64_t> offsets;
  std::vector<Layout> layouts;
};

template <class T>
Operands<T> make_operands(const json& c) {
  Operands<T> made;
  for (std::size_t k = 0; k < c["shapes"].size(); ++k) {
    Layout layout = Layout::row_major(dtype_of<T>, c["shapes"][k].get<std::vector<std::int64_t>>());
    std::int64_t count = layout.element_count(), offset = 0;
    if (c.contains("strides") && !c["strides"][k].is_null()) {
      layout.strides = c["strides"][k].get<std::vector<std::int64_t>>();
      if (c.contains("offset") && !c["offset"][k].is_null()) offset = c["offset"][k];
      if (c.contains("base_size") && !c["base_size"][k].is_null()) count = c["base_size"][k];
    }
    made.buffers.push_back(fill<T>(c, k, count));
    made.offsets.push_back(offset);
    made.layouts.push_back(layout);
  }
  return made;
}

// numpy's componentwise bound, see the list's README ("gamma"), in double (f32) or with the naive
// double sum widened by its own error (f64).
template <class T>
bool within_bound(double got, double reference, double magnitude, double terms) {
  if (std::isnan(reference) || std::isnan(got)) return std::isnan(reference) == std::isnan(got);
  if (std::isinf(static_cast<T>(reference)) || std::isinf(got))
    return static_cast<T>(reference) == static_cast<T>(got);
  const double u = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  const double gamma = terms * u >= 0.5 ? 2 * terms * u : terms * u / (1 - terms * u);
  const double own = std::is_same_v<T, double> ? 2 : 1;  // the reference sums in double too
  return std::abs(got - reference) <=
         own * gamma * magnitude + terms * std::numeric_limits<T>::denorm_min();
}

template <class T>
std::string run_case(const json& c) {
  const std::string expression = c["expr"];
  const Operands<T> operands = make_operands<T>(c);
  const Result<Kernel> kernel = Engine::standard().try_compile(expression, operands.layouts);
  if (c["expect"].contains("error"))
    return kernel ? "accepted" : kernel.error().message.empty() ? "no message" : "";
  if (!kernel) return kernel.error().render();
  if (kernel->output().extents != c["expect"]["shape"].get<std::vector<std::int64_t>>())
    return "another shape";
  std::vector<T> out(
      static_cast<std::size_t>(std::max<std::int64_t>(kernel->output().element_count(), 1)));
  std::vector<void*> pointers{out.data()};
  std::vector<std::vector<double>> wide;
  std::vector<NaiveOperand> naive;
  for (std::size_t k = 0; k < operands.buffers.size(); ++k) {
    pointers.push_back(const_cast<T*>(operands.buffers[k].data()) + operands.offsets[k]);
    wide.emplace_back(operands.buffers[k].begin(), operands.buffers[k].end());
  }
  for (std::size_t k = 0; k < operands.buffers.size(); ++k)
    naive.push_back({wide[k].data() + operands.offsets[k], operands.layouts[k].extents,
                     operands.layouts[k].strides});
  if (kernel->run(pointers.data()) != Status::ok) return "out of memory";
  // Networks that one nest over all labels cannot reach are checked by run_cases.py.
  if (c.value("needs_path", false)) return "";
  const NaiveResult expected = naive_einsum(expression, naive);
  const std::string rule = c["expect"]["tol"];
  const double terms = c.value("terms", expected.terms) + static_cast<double>(naive.size());
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const T value = static_cast<T>(expected.values[i]);
    bool good = within_bound<T>(out[i], expected.values[i], expected.magnitude[i], terms);
    if (rule == "exact") good = out[i] == value;
    // "copy": bit for bit; 0 + x in the naive sum loses the sign of zero, so signs are
    // run_cases.py's.
    if (rule == "copy") good = out[i] == value || (std::isnan(out[i]) && std::isnan(value));
    if (!good)
      return "element " + std::to_string(i) + " is " + std::to_string(out[i]) + ", expected " +
             std::to_string(value);
  }
  return "";
}

TEST(Conformance, AllF32AndF64Cases) {
  std::ifstream file(EINJIT_CONFORMANCE);
  if (!file) GTEST_SKIP() << "the conformance list is not at " << EINJIT_CONFORMANCE;
  int run = 0, other_types = 0, unchecked = 0;
  for (std::string line; std::getline(file, line);) {
    const json c = json::parse(line);
    const std::string type = c.value("dtype", "mixed");
    if (type != "float32" && type != "float64") {
      ++other_types;
      continue;
    }
    ++run;
    unchecked += c.value("needs_path", false);
    const std::string wrong = type == "float32" ? run_case<float>(c) : run_case<double>(c);
    EXPECT_EQ(wrong, "") << c["id"] << " " << c["expr"];
  }
  std::printf(
      "%d cases run (%d of them checked by run_cases.py only), %d of other types left out\n", run,
      unchecked, other_types);
  EXPECT_EQ(run, 502);
}

}  // namespace
}  // namespace einjit_test
