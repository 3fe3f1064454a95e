#include "path/order.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <queue>
#include <set>
#include <tuple>

namespace einjit {
namespace {

// ---- dynamic programming over subsets, label sets as bit masks

struct Subsets {
  const Network& network;
  std::vector<std::uint64_t> labels;  // of each subset's result
  std::vector<double> cost;
  std::vector<unsigned> split;

  double size(std::uint64_t set) const {
    double product = 1;
    for (; set; set &= set - 1)
      product *= static_cast<double>(network.extents[std::countr_zero(set)]);
    return product;
  }

  static std::uint64_t mask_of(const std::vector<Label>& labels) {
    std::uint64_t mask = 0;
    for (Label l : labels) mask |= std::uint64_t{1} << l;
    return mask;
  }

  void find_labels() {
    const unsigned n = static_cast<unsigned>(network.operands.size());
    std::vector<std::uint64_t> all(std::size_t{1} << n, 0);
    for (unsigned s = 1; s < all.size(); ++s)
      all[s] = all[s & (s - 1)] | mask_of(network.operands[std::countr_zero(s)]);
    const unsigned whole = static_cast<unsigned>(all.size()) - 1;
    labels.resize(all.size());
    for (unsigned s = 1; s < all.size(); ++s)
      labels[s] = all[s] & (all[whole & ~s] | mask_of(network.output));
    // A single operand keeps its own labels until it meets another.
    for (unsigned i = 0; i < n; ++i) labels[1u << i] = mask_of(network.operands[i]);
  }

  void solve(double element_cost) {
    cost.assign(labels.size(), HUGE_VAL);
    split.assign(labels.size(), 0);
    std::vector<double> sizes(labels.size());
    for (std::size_t s = 1; s < labels.size(); ++s) sizes[s] = size(labels[s]);
    for (unsigned s = 1; s < labels.size(); ++s) {
      if (std::has_single_bit(s)) {
        cost[s] = 0;
        continue;
      }
      for (unsigned part = (s - 1) & s; part > (s ^ part); part = (part - 1) & s) {
        const unsigned rest = s ^ part;
        const double parts = cost[part] + cost[rest];
        if (parts >= cost[s]) continue;
        const double total = parts + size(labels[part] | labels[rest]) +
                             element_cost * (sizes[s] + sizes[part] + sizes[rest]);
        if (total < cost[s]) {
          cost[s] = total;
          split[s] = part;
        }
      }
    }
  }

  int emit(unsigned s, ContractionOrder& order) const {
    if (std::has_single_bit(s)) return std::countr_zero(s);
    const int a = emit(split[s], order), b = emit(s ^ split[s], order);
    order.emplace_back(a, b);
    return static_cast<int>(network.operands.size() + order.size()) - 1;
  }
};

// ---- greedy

class Greedy {
 public:
  explicit Greedy(const Network& network)
      : network_(network), labels_(network.operands), holders_(network.extents.size()) {
    for (Label l : network.output) is_output_.insert(l);
    for (std::size_t i = 0; i < labels_.size(); ++i) add_holder(static_cast<int>(i));
  }

  ContractionOrder run() {
    for (int i = 0; i < static_cast<int>(labels_.size()); ++i) push_neighbours(i);
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      if (alive_[best.a] && alive_[best.b]) merge(best.a, best.b);
    }
    join_rest();
    return std::move(order_);
  }

 private:
  struct Candidate {
    double growth;
    int a, b;
    // Least growth first; ties by the lower numbers, so that the order is the same everywhere.
    bool operator<(const Candidate& other) const {
      return std::tie(growth, a, b) > std::tie(other.growth, other.a, other.b);
    }
  };

  void add_holder(int i) {
    alive_.push_back(true);
    for (Label l : labels_[i]) holders_[l].insert(i);
  }

  double size(const std::vector<Label>& labels) const {
    double product = 1;
    for (Label l : labels) product *= static_cast<double>(network_.extents[l]);
    return product;
  }

  std::vector<Label> merged(int a, int b) const {
    std::vector<Label> both, kept;
    std::ranges::set_union(labels_[a], labels_[b], std::back_inserter(both));
    for (Label l : both) {
      const std::size_t inside = holders_[l].count(a) + holders_[l].count(b);
      if (is_output_.contains(l) || holders_[l].size() > inside) kept.push_back(l);
    }
    return kept;
  }

  void push_neighbours(int i) {
    std::set<int> neighbours;
    for (Label l : labels_[i]) {
      // A label many operands hold would make all of them neighbours: a few will do.
      int taken = 0;
      for (int other : holders_[l])
        if (other != i && ++taken <= 16) neighbours.insert(other);
    }
    for (int other : neighbours) {
      if (other > i && static_cast<std::size_t>(i) + 1 == labels_.size()) continue;
      push(std::min(i, other), std::max(i, other));
    }
  }

  void push(int a, int b) {
    queue_.push({size(merged(a, b)) - size(labels_[a]) - size(labels_[b]), a, b});
  }

  int merge(int a, int b) {
    std::vector<Label> kept = merged(a, b);
    for (int i : {a, b}) {
      alive_[i] = false;
      for (Label l : labels_[i]) holders_[l].erase(i);
    }
    labels_.push_back(std::move(kept));
    const int made = static_cast<int>(labels_.size()) - 1;
    add_holder(made);
    order_.emplace_back(a, b);
    push_neighbours(made);
    return made;
  }

  // What shares no label any more: smallest first.
  void join_rest() {
    auto larger = [&](int a, int b) {
      return std::pair(size(labels_[a]), a) > std::pair(size(labels_[b]), b);
    };
    std::priority_queue<int, std::vector<int>, decltype(larger)> rest(larger);
    for (int i = 0; i < static_cast<int>(labels_.size()); ++i)
      if (alive_[i]) rest.push(i);
    while (rest.size() > 1) {
      const int a = rest.top();
      rest.pop();
      const int b = rest.top();
      rest.pop();
      rest.push(merge(std::min(a, b), std::max(a, b)));
    }
  }

  const Network& network_;
  std::vector<std::vector<Label>> labels_;
  std::vector<std::set<int>> holders_;  // per label
  std::set<Label> is_output_;
  std::vector<bool> alive_;
  std::priority_queue<Candidate> queue_;
  ContractionOrder order_;
};

}  // namespace

ContractionOrder optimal_order(const Network& network, double element_cost) {
  Subsets subsets{network, {}, {}, {}};
  subsets.find_labels();
  subsets.solve(element_cost);
  ContractionOrder order;
  subsets.emit(static_cast<unsigned>(subsets.labels.size()) - 1, order);
  return order;
}

ContractionOrder greedy_order(const Network& network) { return Greedy(network).run(); }

}  // namespace einjit
