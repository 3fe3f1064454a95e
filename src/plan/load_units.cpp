#include <algorithm>
#include <exception>
#include <initializer_list>
#include <unordered_map>

#include "plan/plan.hpp"

namespace einjit {

void load_units(std::span<Plan* const> plans, UnitProvider& provider, const Executor& executor) {
  struct Missing {
    Unit unit;
    std::string key;
    std::vector<std::shared_ptr<const CompiledUnit>*> wanted_by;
    std::exception_ptr failure;
  };
  struct Work {
    UnitProvider& provider;
    std::vector<Missing> units;
  } work{provider, {}};
  std::unordered_map<std::string, std::size_t> places;  // of keys in work.units
  auto load = [&](const Unit& unit,
                  std::initializer_list<std::shared_ptr<const CompiledUnit>*> wanted_by) {
    std::string key = unit.key();
    auto place = places.find(key);
    if (place == places.end()) {
      if (const auto code = provider.find(key)) {
        for (auto* wanted : wanted_by) *wanted = code;
        return;
      }
      place = places.emplace(key, work.units.size()).first;
      work.units.push_back({unit, std::move(key), {}, {}});
    }
    auto& all = work.units[place->second].wanted_by;
    all.insert(all.end(), wanted_by);
  };
  auto load_variant = [&](PlanCall::Variant& variant) {
    if (variant.unit.old != Old::scale_by_beta)
      return load(variant.unit, {&variant.code[0], &variant.code[1]});
    load(variant.unit, {&variant.code[0]});
    Unit without_old = variant.unit;
    without_old.old = Old::ignore;
    load(without_old, {&variant.code[1]});
  };
  for (Plan* plan : plans) {
    for (PlanCall& call : plan->calls) std::ranges::for_each(call.variants, load_variant);
    for (PlanDrain& drain : plan->drains) load(drain.unit, {&drain.code});
  }
  auto body = [](void* argument, std::int64_t piece) {
    auto& work = *static_cast<Work*>(argument);
    Missing& missing = work.units[static_cast<std::size_t>(piece)];
    try {
      const auto code = work.provider.get(missing.unit, missing.key);
      for (auto* place : missing.wanted_by) *place = code;
    } catch (...) {
      missing.failure = std::current_exception();
    }
  };
  const auto count = static_cast<std::int64_t>(work.units.size());
  (count > 1 ? executor : serial_executor).run(executor.context, count, body, &work);
  for (const Missing& missing : work.units)
    if (missing.failure) std::rethrow_exception(missing.failure);
}

}  // namespace einjit
