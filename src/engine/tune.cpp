// Tuning: the model's best schedules, measured. Whoever asks for it trades bits that are a function
// of the shape alone for the last few per cent.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "einjit/executor.hpp"
#include "engine/pipeline.hpp"
#include "plan/arena.hpp"

namespace einjit {
namespace {

constexpr double kHopeless = 2;  // times the best so far: not measured again

// An operand's memory, filled with small numbers.
class Buffer {
 public:
  Buffer(const Contraction& c, const Access& access) {
    std::int64_t lowest = 0, highest = 0;
    for (Label l = 0; l < c.label_count(); ++l) {
      const std::int64_t reach = (c.extents[l] - 1) * access.strides[l];
      (reach < 0 ? lowest : highest) += c.extents[l] > 0 ? reach : 0;
    }
    const std::int64_t count = highest - lowest + 1, size = size_of(c.dtype);
    memory_.reset(static_cast<char*>(
        std::aligned_alloc(64, static_cast<std::size_t>((count * size + 63) / 64 * 64))));
    if (!memory_) throw std::bad_alloc();
    first_ = memory_.get() - lowest * size;
    for (std::int64_t i = 0; i < count; ++i) {
      const double value = static_cast<double>(i % 17) / 16 - 0.5;
      if (c.dtype == DType::f32)
        reinterpret_cast<float*>(memory_.get())[i] = static_cast<float>(value);
      else
        reinterpret_cast<double*>(memory_.get())[i] = value;
    }
  }
  char* first() const { return first_; }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> memory_;
  char* first_;
};

struct Trial {
  Choice choice;
  Plan plan;
  std::vector<double> samples;

  double seconds() {
    std::ranges::sort(samples);
    return samples[samples.size() / 2];
  }
};

class StepTuner {
 public:
  StepTuner(const Contraction& c, const TuneOptions& limits) : c_(c), limits_(limits) {
    buffers_.emplace_back(c, c.out);
    for (const Access& access : c.in) buffers_.emplace_back(c, access);
    for (const Buffer& buffer : buffers_) operands_.push_back(buffer.first());
  }

  // The best first round decides who runs in the later ones.
  Trial& run(std::vector<Trial>& trials) {
    for (Trial& trial : trials) trial.samples.push_back(measure(trial.plan));
    double best = HUGE_VAL;
    for (Trial& trial : trials) best = std::min(best, trial.samples[0]);
    for (int round = 1; round < limits_.rounds; ++round)
      for (Trial& trial : trials)
        if (trial.samples[0] < kHopeless * best) trial.samples.push_back(measure(trial.plan));
    return *std::ranges::min_element(trials, {}, &Trial::seconds);
  }

 private:
  double measure(const Plan& plan) {
    using Clock = std::chrono::steady_clock;
    auto once = [&](int times) {
      const auto start = Clock::now();
      for (int i = 0; i < times; ++i)
        if (!einjit::run(plan, operands_.data(), scale_, default_executor(),
                         Arena::of_this_thread()))
          throw std::bad_alloc();
      return std::chrono::duration<double>(Clock::now() - start).count() / times;
    };
    const double first = once(1);
    const double wanted = std::clamp(limits_.seconds / std::max(first, 1e-8), 1.0, 1e6);
    return once(static_cast<int>(wanted));
  }

  const Contraction& c_;
  const TuneOptions& limits_;
  std::vector<Buffer> buffers_;
  std::vector<char*> operands_;
  double scale_[2] = {1, 0};
};

}  // namespace

Result<std::vector<Choice>> tune_steps(const Contraction& canonical, const Target& target,
                                       const CompileOptions& options, UnitProvider& units,
                                       const TuneOptions& limits, TuneReport* report) {
  std::vector<Choice> winners;
  if (canonical.output_is_empty()) return winners;
  const Program program = plan_path(canonical, target, path_of(options));
  for (const Step& step : program.steps) {
    std::vector<Trial> trials;
    for (Choice& choice : best_schedules(
             step.contraction, target, static_cast<std::size_t>(std::max(1, limits.candidates)))) {
      Result<LoweredStep> lowered = lower_step(step.contraction, target, options, &choice);
      if (!lowered) return std::unexpected(lowered.error());
      trials.push_back({std::move(choice), make_plan(lowered->nest, lowered->shape), {}});
      load_units(std::array{&trials.back().plan}, units, default_executor());
    }
    Trial& winner = StepTuner(step.contraction, limits).run(trials);
    if (report)
      for (Trial& trial : trials)
        report->trials.push_back({static_cast<int>(winners.size()),
                                  to_string(trial.choice.schedule, step.contraction),
                                  trial.choice.seconds, trial.seconds(), &trial == &winner});
    winners.push_back(std::move(winner.choice));
  }
  return winners;
}

}  // namespace einjit
