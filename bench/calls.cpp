#include "calls.hpp"

#include "einjit/einjit.hpp"
#include "measure/peaks.hpp"

namespace einjit_bench {
namespace {

[[gnu::noinline]] void copy_number(float* out, const float* in) {
  *out = *in;
  asm volatile("" : : : "memory");
}

}  // namespace

CallCosts measure_calls() {
  using namespace einjit;
  const Kernel kernel = compile<float>("ij,jk->ik", {{1, 1}, {1, 1}});
  const Layout matrix = Layout::row_major(DType::f32, {1, 1});
  float a = 1, b = 2, c = 0;
  const TensorView<float> out(&c, matrix);
  const TensorView<const float> left(&a, matrix), right(&b, matrix);
  CallCosts costs;
  costs.plain = median_seconds([&] { copy_number(&c, &a); }) * 1e9;
  costs.raw = median_seconds([&] { (void)kernel(&c, &a, &b); }) * 1e9;
  costs.checked = median_seconds([&] { kernel(out, left, right); }) * 1e9;
  costs.one_shot = median_seconds([&] { contract("ij,jk->ik", out, left, right); }) * 1e9;
  return costs;
}

}  // namespace einjit_bench
