// Writes INDEX and CODE for an instruction set: einjit_prebuild ISA INDEX CODE
//
// Plans every contraction of the corpus for machines of that set, and compiles the units that take
// their sizes as arguments. Runs when the project is built.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>

#include "engine/pipeline.hpp"
#include "expression/expression.hpp"
#include "load/object_loader.hpp"
#include "load/open_codegen.hpp"
#include "load/prebuilt.hpp"
#include "load/unit_library.hpp"
#include "prebuilt/corpus.hpp"

namespace einjit {
namespace {

// The machines of an instruction set whose schedules differ.
std::vector<Target> machines_of(Isa isa) {
  Target server = Target::generic(isa);
  server.l1_bytes = 48 << 10;
  server.l2_bytes = isa == Isa::x86_64_v4 ? 1 << 20 : 512 << 10;
  server.l3_bytes = 32 << 20;
  std::vector<Target> machines{server};
  if (isa == Isa::x86_64_v4) {
    Target large = server;
    large.l2_bytes = 2 << 20;
    large.describe_mesh();
    machines.push_back(large);
    Target narrow = server;  // 512 bits in two halves
    narrow.l1_bytes = 32 << 10;
    narrow.fma_per_cycle = narrow.loads_per_cycle = 1;
    narrow.datapath_bytes = 32;
    machines.push_back(narrow);
  }
  return machines;
}

// Gathers the units of plans instead of compiling them.
class Collector {
 public:
  void add(const Sample& sample, DType dtype, const Target& target) {
    std::vector<Layout> layouts;
    for (const auto& shape : sample.shapes) layouts.push_back(Layout::row_major(dtype, shape));
    const Expression expression = value_or_throw(parse(sample.expression));
    CompileOptions options;
    const Bound bound = value_or_throw(bind_expression(expression, layouts, options));
    const Program program = plan_path(canonical(bound.contraction), target);
    for (const Step& step : program.steps) {
      const LoweredStep lowered =
          value_or_throw(lower_step(step.contraction, target, options, choice_of(step)));
      add(lowered, sample);
      if (const auto elsewhere = value_or_throw(lower_elsewhere(lowered, target, options)))
        add(*elsewhere, sample);
    }
  }
  // Units that several samples share.
  std::map<std::string, Unit> units() const {
    std::map<std::string, Unit> units;
    for (const auto& [key, wanted] : units_)
      if (wanted.samples >= kFewSamples) units.emplace(key, wanted.unit);
    return units;
  }

 private:
  void add(const LoweredStep& step, const Sample& sample) {
    if (step.shape != UnitShape::argument) return;
    const Plan plan = sample.is_common ? make_plan(step.nest, step.shape)
                                       : make_covering_plan(step.nest, Cover::all_labels);
    std::set<std::string> seen;
    auto add_unit = [&](const Unit& unit) {
      const std::string key = unit.key();
      if (!seen.insert(key).second) return;
      Wanted& wanted = units_[key];
      wanted.unit = unit;
      wanted.samples += sample.is_common ? kFewSamples : 1;
    };
    for (const PlanCall& call : plan.calls)
      for (const PlanCall::Variant& variant : call.variants) add_unit(variant.unit);
    for (const PlanDrain& drain : plan.drains) add_unit(drain.unit);
  }

  static constexpr int kFewSamples = 2;
  struct Wanted {
    Unit unit;
    int samples = 0;
  };
  std::map<std::string, Wanted> units_;
};

void write(const char* path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error(fmt::format("cannot write {}", path));
}

void prebuild(const std::string& name, const char* index, const char* code) {
  Target target;
  bool is_known = false;
  for (Isa isa : {Isa::x86_64_v3, Isa::x86_64_v4})
    if (name == name_of(isa)) {
      target = Target::generic(isa);
      is_known = true;
    }
  if (!is_known) throw std::runtime_error("the ISA is x86-64-v3 or x86-64-v4");
  Collector collector;
  for (const Target& machine : machines_of(target.isa))
    for (DType dtype : {DType::f32, DType::f64})
      for (const Sample& sample : corpus()) collector.add(sample, dtype, machine);
  Codegen& codegen = open_codegen(target);
  CodeMemory memory;
  std::string bytes;
  std::vector<PrebuiltUnits::Unit> units;
  for (const auto& [key, unit] : collector.units()) {
    bytes.resize((bytes.size() + 63) / 64 * 64, '\xcc');
    const LoadedObject loaded = load_object(codegen.object(unit), kUnitSymbol, memory);
    const auto entry =
        static_cast<std::uint64_t>(static_cast<char*>(loaded.entry) - loaded.block.executable);
    units.push_back({key, bytes.size() + entry});
    bytes.append(loaded.block.writable, loaded.block.size);
    memory.free(loaded.block);
  }
  write(index, PrebuiltUnits::make_index(units, unit_identity(target)));
  write(code, bytes);
  fmt::print("{}: {} units, {} bytes\n", name, units.size(), bytes.size());
}

}  // namespace
}  // namespace einjit

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::runtime_error("usage: einjit_prebuild ISA INDEX CODE");
    einjit::prebuild(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "einjit_prebuild: {}\n", error.what());
    return 1;
  }
}
