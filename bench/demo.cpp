// ./run without arguments: the scores of multi-head attention, from the expression to the figures.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <random>
#include <vector>

#include "einjit/einjit.hpp"
#include "index_ir/contraction.hpp"
#include "measure/peaks.hpp"
#include "peers/contraction.hpp"

namespace {

constexpr const char* kExpression = "bimd,bind->bimn";  // batch, head, query, key, depth
constexpr std::int64_t kBatch = 4, kHeads = 12, kLength = 128, kDepth = 64;

std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// The largest error of a sample of scores against sums in double, over the bound gamma_n * |q||k|.
double worst_error(const std::vector<float>& q, const std::vector<float>& k,
                   const std::vector<float>& s) {
  double worst = 0;
  const double gamma = static_cast<double>(kDepth + 2) * 0x1p-24;
  for (std::size_t at = 0; at < s.size(); at += 97) {
    const std::size_t head = at / (kLength * kLength), m = at / kLength % kLength, n = at % kLength;
    double sum = 0, magnitude = 0;
    for (std::size_t d = 0; d < kDepth; ++d) {
      const double product = static_cast<double>(q[(head * kLength + m) * kDepth + d]) *
                             static_cast<double>(k[(head * kLength + n) * kDepth + d]);
      sum += product;
      magnitude += std::abs(product);
    }
    worst = std::max(worst, std::abs(sum - static_cast<double>(s[at])) / (gamma * magnitude));
  }
  return worst;
}

int run() {
  using namespace einjit;
  const std::vector<std::int64_t> shape{kBatch, kHeads, kLength, kDepth};
  const std::vector<Layout> layouts(2, Layout::row_major(DType::f32, shape));
  fmt::print("attention scores  {}   {}x{}x{}x{} f32\n\n", kExpression, kBatch, kHeads, kLength,
             kDepth);
  Engine& engine = Engine::standard();
  for (Stage stage : {Stage::index, Stage::schedule})
    fmt::print("{}\n", value_or_throw(engine.try_explain(kExpression, layouts, stage)));

  const auto start = std::chrono::steady_clock::now();
  const Kernel kernel = engine.compile(kExpression, layouts);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("compiled in {:.2f} ms (LLVM opened and all)\n", took.count() * 1e3);

  const std::int64_t count = kBatch * kHeads * kLength * kDepth;
  const std::vector<float> q = random_values(count, 1), k = random_values(count, 2);
  std::vector<float> scores(static_cast<std::size_t>(kBatch * kHeads * kLength * kLength));
  kernel(scores.data(), q.data(), k.data());
  const double error = worst_error(q, k, scores);
  fmt::print("checked against sums in double: error {:.2g} of the bound{}\n\n", error,
             error <= 1 ? "" : "  WRONG");

  const double peak = measure_fma_peak(DType::f32);
  const double flops = 2.0 * static_cast<double>(count) * kLength;
  const double seconds = median_seconds([&] { kernel(scores.data(), q.data(), k.data()); }, 1);
  auto print = [&](const std::string& name, double time, const std::string& how) {
    fmt::print("{:<10} {:8.1f} us   {:6.1f} GFLOP/s   {:3.0f}% of the FMA peak   {}\n", name,
               time * 1e6, flops / time * 1e-9, flops / time * 1e-9 / peak * 100, how);
  };
  print("einjit", seconds, "");
  const einjit_bench::PeerSet peers = einjit_bench::load_peers(1);
  const Expression expression = value_or_throw(parse(kExpression));
  const Contraction contraction =
      canonical(value_or_throw(einjit::bind(expression, layouts)).contraction);
  const std::vector<void*> operands{scores.data(), const_cast<float*>(q.data()),
                                    const_cast<float*>(k.data())};
  for (const auto& peer : peers.peers)
    if (const auto run = einjit_bench::peer_contraction(*peer, contraction, operands); run.run)
      print(peer->name, median_seconds(run.run, 1), fmt::format("{}, {}", run.how, peer->kernel));
  for (const std::string& missing : peers.missing) fmt::print("missing    {}\n", missing);
  return error <= 1 ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
