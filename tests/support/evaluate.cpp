#include "support/evaluate.hpp"

#include <fmt/format.h>

#include <cstring>

#include "lower/lower.hpp"
#include "path/path.hpp"
#include "schedule/choose.hpp"

namespace einjit_test {

using namespace einjit;

Target tiny_target(Isa isa) {
  Target target = Target::generic(isa);
  target.l1_bytes = 512;
  target.l2_bytes = 2048;
  target.l3_bytes = 8192;
  if (isa == Isa::x86_64_v2) {
    target.has_near_l3 = false;
    target.page_streams = 32;
    target.tlb_pages = 1;
  }
  return target;
}

TypedData typed(const RandomCase& c, const CaseData& data) {
  TypedData result;
  for (const std::vector<double>& buffer : data.buffers) {
    auto& bytes = result.buffers.emplace_back(buffer.size() * size_of(c.dtype));
    for (std::size_t i = 0; i < buffer.size(); ++i) {
      const float narrow = static_cast<float>(buffer[i]);
      if (c.dtype == DType::f32)
        std::memcpy(&bytes[i * 4], &narrow, 4);
      else
        std::memcpy(&bytes[i * 8], &buffer[i], 8);
    }
  }
  const std::size_t inputs = data.layouts.size();
  auto at = [&](std::size_t k) {
    return result.buffers[k].data() + data.offsets[k] * size_of(c.dtype);
  };
  result.pointers.push_back(at(inputs));
  for (std::size_t k = 0; k < inputs; ++k) result.pointers.push_back(at(k));
  return result;
}

std::string difference(const RandomCase& c, const TypedData& data,
                       const std::vector<double>& expected, const std::string& what) {
  const std::byte* bytes = data.buffers.back().data();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    double got;
    if (c.dtype == DType::f32) {
      float narrow;
      std::memcpy(&narrow, bytes + i * 4, 4);
      got = narrow;
    } else {
      std::memcpy(&got, bytes + i * 8, 8);
    }
    if (!(got == expected[i]))
      return fmt::format("{}: element {} of the output's buffer is {}, naive {}", what, i, got,
                         expected[i]);
  }
  return {};
}

std::string interpret_case(const RandomCase& c, const CaseData& data, const Target& target,
                           TypedData& typed) {
  const Result<Expression> expression = parse(c.expression());
  if (!expression) return expression.error().render();
  Result<Bound> bound = bind(*expression, data.layouts, data.output);
  if (!bound) return bound.error().render();
  if (c.scaled) {
    bound->contraction.alpha = Alpha::runtime;
    bound->contraction.beta = Beta::runtime;
  }
  const Contraction whole = canonical(bound->contraction);
  if (whole.output_is_empty()) return {};
  const Program program = plan_path(whole, target);
  std::vector<std::vector<double>> temporaries;  // f64 is large enough for both types
  for (const Temporary& t : program.temporaries) temporaries.emplace_back(t.elements);
  for (const Step& step : program.steps) {
    auto pointer = [&](int operand) -> void* {
      if (operand == kOutput) return typed.pointers[0];
      if (operand < program.input_count) return typed.pointers[1 + operand];
      return temporaries[operand - program.input_count].data();
    };
    std::vector<void*> pointers{pointer(step.result)};
    for (int operand : step.operands) pointers.push_back(pointer(operand));
    const Choice choice = choose_schedule(step.contraction, target);
    if (auto valid = check(choice.schedule, step.contraction); !valid)
      return valid.error().render();
    const LoopNest nest = lower(step.contraction, choice.schedule, target);
    if (auto proof = verify(nest); !proof) return proof.error().render();
    interpret(nest, pointers, data.alpha, data.beta);
  }
  return {};
}

}  // namespace einjit_test
