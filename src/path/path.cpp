#include "path/path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cost/problem.hpp"
#include "path/order.hpp"

namespace einjit {
namespace {

constexpr double kElementCost = 2.0;     // of moving an element, in vector multiply-adds
constexpr double kStepSeconds = 100e-9;  // of one more kernel call
constexpr std::size_t kMostFused = 8;    // operands of one loop nest
constexpr double kLeastReuse = 8;        // of a product that is packed
constexpr double kEvicted =
    1.05;                   // times a time whose workspace leaves the caches: others lose theirs
constexpr double kFar = 8;  // the scheduler is asked about ways whose rough times are nearer

// Sizes stop at kMostTemporaryElements, which no machine has: the program is refused then.
std::int64_t bounded_product(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(
      std::min(static_cast<__int128>(a) * b, static_cast<__int128>(kMostTemporaryElements)));
}

// One operand on its way: the number it goes by, and its strides.
struct Tensor {
  int number;
  Access access;
};

class PathPlanner {
 public:
  PathPlanner(const Contraction& c, const Target& target, Path path = Path::automatic)
      : c_(c), target_(target), path_(path) {
    program_.input_count = static_cast<int>(c.in.size());
    for (std::size_t k = 0; k < c.in.size(); ++k) {
      tensors_.push_back({static_cast<int>(k), c.in[k]});
      alive_.push_back(static_cast<int>(k));
    }
  }

  Program run() {
    if (c_.in.size() < 2) {
      finish();
    } else {
      program_.fused_seconds = seconds(c_);
      const bool is_one = path_ == Path::one_nest && c_.in.size() <= kMostFused;
      if (!is_one) sum_alone();
      const bool summed_some = !program_.steps.empty();
      if (!is_one && (c_.in.size() > 2 || summed_some)) choose(summed_some);
      finish();
    }
    plan_workspace();
    for (std::size_t s = 0; s < choices_.size(); ++s)
      program_.steps[s].choice = std::move(choices_[s]);
    return std::move(program_);
  }

  std::optional<Program> replay(const Program& like) {
    for (const Step& step : like.steps) {
      std::vector<int> group;
      for (int number : step.operands)
        for (std::size_t t = 0; t < tensors_.size(); ++t)
          if (tensors_[t].number == number) group.push_back(static_cast<int>(t));
      add_step(group, &step);
    }
    plan_workspace();
    program_.fused_seconds = like.fused_seconds;
    program_.pairwise_seconds = like.pairwise_seconds;
    if (!can_replay_) return std::nullopt;
    return std::move(program_);
  }

 private:
  // The predicted time of one nest: multiply-adds or bytes, and the call.
  double seconds(const Contraction& c) const {
    const double factors = std::max<double>(1, static_cast<double>(c.in.size()) - 1);
    const double cycles =
        c.point_count() * factors / (target_.lanes(c.dtype) * target_.fma_per_cycle * 0.7);
    return predicted_seconds(c, target_, cycles) + kStepSeconds;
  }

  std::vector<Label> labels_of(const Access& a) const {
    std::vector<Label> labels;
    for (Label l = 0; l < c_.label_count(); ++l)
      if (a.strides[l] != 0) labels.push_back(l);
    return labels;
  }

  bool is_needed_elsewhere(Label l, const std::vector<int>& group) const {
    if (c_.out.strides[l] != 0) return true;
    return std::ranges::any_of(alive_, [&](int i) {
      return std::ranges::find(group, i) == group.end() && tensors_[i].access.strides[l] != 0;
    });
  }

  // The contraction of a group of tensors: onto the program's output if nothing else is left, else
  // onto a new temporary. Labels that no operand moves in stay with the last step.
  Contraction contraction_of(const std::vector<int>& group, bool is_last) const {
    Contraction step{c_.dtype,
                     is_last ? c_.alpha : Alpha::one,
                     is_last ? c_.beta : Beta::zero,
                     c_.extents,
                     c_.names,
                     c_.out,
                     {},
                     c_.dynamic};
    for (int i : group) step.in.push_back(tensors_[i].access);
    drop_summed(step);
    if (is_last) return step;
    step.out.strides.assign(c_.extents.size(), 0);
    std::vector<Label> kept;
    for (Label l = 0; l < c_.label_count(); ++l) {
      const bool moves =
          std::ranges::any_of(step.in, [&](const Access& a) { return a.strides[l] != 0; });
      if (!moves) drop(step, l);
      if (moves && is_needed_elsewhere(l, group)) kept.push_back(l);
    }
    order_for_consumer(kept);
    std::int64_t stride = 1;
    for (auto l = kept.rbegin(); l != kept.rend(); ++l) {
      step.out.strides[*l] = stride;
      stride = bounded_product(stride, c_.extents[*l]);
    }
    return step;
  }

  // Labels an earlier step has summed are gone. (One that moves in no input at all is a factor, its
  // extent, and stays for the last step.)
  void drop_summed(Contraction& step) const {
    for (Label l = 0; l < c_.label_count(); ++l) {
      auto moves = [&](const Access& a) { return a.strides[l] != 0; };
      if (std::ranges::any_of(c_.in, moves) && std::ranges::none_of(step.in, moves)) drop(step, l);
    }
  }
  static void drop(Contraction& step, Label l) {
    step.extents[l] = 1;
    if (!step.dynamic.empty()) step.dynamic[l] = false;
  }

  // Output labels first, in their order there; then the ones still to be summed, so that the next
  // step finds its sum contiguous.
  void order_for_consumer(std::vector<Label>& kept) const {
    std::ranges::stable_sort(kept, [&](Label a, Label b) {
      const auto out_a = std::abs(c_.out.strides[a]), out_b = std::abs(c_.out.strides[b]);
      return out_a > out_b;
    });
  }

  // Adds the step for the group, like another one or as is best; returns the new tensor's index.
  int add_step(const std::vector<int>& group, const Step* like = nullptr) {
    const bool is_last = alive_.size() == group.size();
    const Contraction full = contraction_of(group, is_last);
    Step step{{}, {}, {}, kOutput, {}};
    if (!like) {
      step.contraction = canonical(full, &step.groups);
    } else if (auto made = regrouped(full, like->groups, like->contraction)) {
      step.contraction = std::move(*made);
      step.groups = like->groups;
    } else {
      can_replay_ = false;
    }
    for (int i : group) step.operands.push_back(tensors_[i].number);
    // An empty sum reads nothing.
    if (step.contraction.in.empty() && can_replay_) step.operands.clear();
    for (int i : group) std::erase(alive_, i);
    if (!is_last) {
      step.result = program_.input_count + static_cast<int>(program_.temporaries.size());
      std::int64_t elements = 1;
      for (Label l = 0; l < c_.label_count(); ++l)
        if (full.out.strides[l] != 0) elements = bounded_product(elements, c_.extents[l]);
      program_.temporaries.push_back({elements, 0});
      tensors_.push_back({step.result, full.out});
      alive_.push_back(static_cast<int>(tensors_.size()) - 1);
    }
    program_.steps.push_back(std::move(step));
    return static_cast<int>(tensors_.size()) - 1;
  }

  // Sums operands over labels nobody else has, where the others' labels would repeat that work.
  void sum_alone() {
    const double points = c_.point_count();
    if (points == 0) return;
    const std::vector<int> inputs = alive_;
    for (int i : inputs) {
      double alone = 1;
      for (Label l : labels_of(tensors_[i].access))
        if (!is_needed_elsewhere(l, {i})) alone *= static_cast<double>(c_.extents[l]);
      const double elements = element_count(c_, tensors_[i].access);
      if (alone > 1 && points > 2 * (elements + points / alone)) add_step({i});
    }
  }

  Network network() const {
    Network network{{}, labels_of(c_.out), c_.extents};
    for (int i : alive_) network.operands.push_back(labels_of(tensors_[i].access));
    return network;
  }

  // Pairwise in the best order, or what is left as one nest, whichever is predicted faster: by
  // rough times where they are far apart, else by what the scheduler makes of both.
  void choose(bool summed_some) {
    if (alive_.size() < 3) return;
    const Network net = network();
    const bool exact = alive_.size() <= kMostOptimalOperands && c_.label_count() <= 64;
    const ContractionOrder order = exact ? optimal_order(net, kElementCost) : greedy_order(net);
    PathPlanner trial = *this;
    double pairwise = trial.follow(order);
    trial.finish();
    trial.plan_workspace();
    const bool can_fuse = alive_.size() <= kMostFused;
    double fused = can_fuse ? rough_seconds_of_one_nest() : HUGE_VAL;
    if (path_ == Path::automatic && c_.point_count() > 0 && fused < kFar * pairwise &&
        pairwise < kFar * fused) {
      const std::size_t before = program_.steps.size();
      pairwise = trial.ask_from(before);
      PathPlanner one = *this;
      one.finish();
      fused = one.ask_from(before);
      choices_ = is_one_nest_better(fused, pairwise, trial) ? one.choices_ : trial.choices_;
    }
    program_.pairwise_seconds = pairwise;
    program_.pairwise_elements = trial.program_.workspace_elements;
    if (!summed_some && can_fuse) program_.fused_seconds = fused;
    if (path_ == Path::automatic && is_one_nest_better(fused, pairwise, trial)) return;
    follow(order);
  }

  bool is_one_nest_better(double fused, double pairwise, const PathPlanner& pairs) const {
    const bool leaves_caches =
        pairs.program_.workspace_elements * size_of(c_.dtype) > target_.l2_bytes;
    return fused <= pairwise * (leaves_caches ? kEvicted : 1);
  }

  // Has the steps from number `first` on scheduled; their predicted time.
  double ask_from(std::size_t first) {
    choices_.assign(program_.steps.size(), std::nullopt);
    double total = 0;
    for (std::size_t s = first; s < program_.steps.size(); ++s) {
      choices_[s] = choose_schedule(program_.steps[s].contraction, target_);
      total += choices_[s]->seconds + kStepSeconds;
    }
    return total;
  }

  // Two of the last three operands can be multiplied while they are packed for the third.
  double rough_seconds_of_one_nest() const {
    double fused = seconds(contraction_of(alive_, true));
    for (const auto& [a, b] : {std::pair{0, 1}, {0, 2}, {1, 2}})
      if (const double multiplied = seconds_of_product(a, b); multiplied > 0)
        fused = std::min(fused, multiplied);
    return fused;
  }

  // The time of the last three operands if two of them are only multiplied, and what that makes is
  // used again and again: then no array of it is needed. Else 0.
  double seconds_of_product(int a, int b) const {
    if (alive_.size() != 3) return 0;
    PathPlanner trial = *this;
    const std::vector<int> group{alive_[a], alive_[b]};
    const Contraction product = canonical(trial.contraction_of(group, false));
    if (product.has_sum()) return 0;
    trial.add_step(group);
    const Contraction rest = canonical(trial.contraction_of(trial.alive_, true));
    if (!rest.has_sum() ||  // without one there is no panel
        rest.point_count() < kLeastReuse * product.point_count())
      return 0;
    return seconds(rest);
  }

  // Takes the order's pairs but the last, which finish() does; the predicted time of all.
  double follow(const ContractionOrder& order) {
    std::vector<int> number = alive_;
    double total = 0;
    for (std::size_t p = 0; p < order.size(); ++p) {
      const std::vector<int> group{number[order[p].first], number[order[p].second]};
      const bool is_last = p + 1 == order.size();
      total += seconds(canonical(contraction_of(group, is_last)));
      if (!is_last) number.push_back(add_step(group));
    }
    return total;
  }

  void finish() { add_step(std::vector<int>(alive_)); }

  // Gives temporaries places in one workspace: first fit among those alive at the same time.
  void plan_workspace() {
    const int first = program_.input_count;
    std::vector<int> last_use(program_.temporaries.size(), 0);
    for (std::size_t s = 0; s < program_.steps.size(); ++s)
      for (int operand : program_.steps[s].operands)
        if (operand >= first) last_use[operand - first] = static_cast<int>(s);
    std::vector<int> alive;
    int made = 0;
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      std::erase_if(alive, [&](int t) { return last_use[t] < static_cast<int>(s); });
      if (program_.steps[s].result == kOutput) continue;
      place(made, alive);
      alive.push_back(made++);
    }
  }

  void place(int made, const std::vector<int>& alive) {
    std::vector<Temporary> taken;
    for (int t : alive) taken.push_back(program_.temporaries[t]);
    std::ranges::sort(taken, {}, &Temporary::offset);
    Temporary& temporary = program_.temporaries[made];
    constexpr std::int64_t kAlign = 16;  // elements: a line of f32
    const std::int64_t size = (temporary.elements + kAlign - 1) / kAlign * kAlign;
    std::int64_t offset = 0;
    for (const Temporary& other : taken) {
      if (offset + size <= other.offset) break;
      offset = std::max(offset, (other.offset + other.elements + kAlign - 1) / kAlign * kAlign);
    }
    temporary.offset = offset;
    program_.workspace_elements = std::max(program_.workspace_elements, offset + size);
  }

  const Contraction& c_;
  const Target& target_;
  Path path_;
  Program program_;
  std::vector<Tensor> tensors_;
  std::vector<int> alive_;  // indices into tensors_
  bool can_replay_ = true;
  std::vector<std::optional<Choice>> choices_;  // of the steps, if the scheduler was asked
};

}  // namespace

Program plan_path(const Contraction& contraction, const Target& target, Path path) {
  return PathPlanner(contraction, target, path).run();
}

std::optional<Program> replay_path(const Contraction& contraction, const Target& target,
                                   const Program& like) {
  return PathPlanner(contraction, target).replay(like);
}

std::string Program::to_string() const {
  auto name = [&](int operand) {
    if (operand == kOutput) return std::string("out");
    return operand < input_count ? fmt::format("in{}", operand)
                                 : fmt::format("t{}", operand - input_count);
  };
  std::string text;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    text += fmt::format("step {}  {} =", s, name(steps[s].result));
    for (std::size_t k = 0; k < steps[s].operands.size(); ++k)
      text += (k ? " * " : " ") + name(steps[s].operands[k]);
    if (steps[s].operands.empty()) text += " 0";
    text += fmt::format("   {:.3g} multiply-adds\n", steps[s].contraction.point_count());
  }
  const auto item = steps.empty() ? 0 : size_of(steps.front().contraction.dtype);
  if (!temporaries.empty()) text += fmt::format("workspace {} bytes\n", workspace_elements * item);
  if (pairwise_seconds > 0)
    text += fmt::format(
        "predicted: pairwise {:.3g} us with a workspace of {} bytes, one nest {:.3g} us with "
        "none\n",
        pairwise_seconds * 1e6, pairwise_elements * item, fused_seconds * 1e6);
  return text;
}

}  // namespace einjit
