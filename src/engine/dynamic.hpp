// Floor 8: kernels of dynamic extents: one program, its schedules and its code, replayed for the
// extents of a call.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "einjit/dynamic.hpp"
#include "engine/pipeline.hpp"
#include "engine/single_flight_cache.hpp"
#include "load/unit_library.hpp"

namespace einjit {

inline constexpr std::size_t kMostPlans = 1024;  // of one dynamic kernel, kept for extents seen

struct DynamicState {
  Expression expression;
  std::vector<std::string> labels;           // the dynamic ones
  std::vector<std::int64_t> static_extents;  // of all labels, as compiled for
  CompileOptions options;
  Target target;
  std::shared_ptr<UnitLibrary> units;
  // As compiled for; what other extents are replayed from.
  Contraction whole;
  LabelGroups groups;
  Program program;
  std::vector<Choice> choices;  // of each step
  std::vector<Plan> covering;   // hold the code of every piece there can be
  SingleFlightCache<Kernel> kernels{kMostPlans};
  std::atomic<std::int64_t> compiled = 0;
};

Result<std::shared_ptr<DynamicState>> make_dynamic(const Expression& expression,
                                                   std::span<const std::string> labels,
                                                   std::span<const Layout> inputs,
                                                   const CompileOptions& options,
                                                   const Target& target,
                                                   std::shared_ptr<UnitLibrary> units);

}  // namespace einjit
