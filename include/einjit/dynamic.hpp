// A compiled contraction whose labels may have other extents at each call: a batch, a sequence.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "einjit/kernel.hpp"

namespace einjit {

struct DynamicState;  // src/engine/dynamic.hpp

// Cheap to copy, usable from many threads at once. What engine.try_compile_dynamic() returns:
//
//   const DynamicKernel scores = engine.compile_dynamic("bid,bjd->bij", {"b"}, layouts);
//   scores(s, q, k);  // views of any batch
//
// Loop order, tiles and code are made once, for the layouts compiled for; other extents of the
// dynamic labels get a plan of the same code, and are remembered. Extents for which the schedule
// does not hold (0, or layouts of another kind, as where an axis becomes a broadcast) are compiled
// like any other expression.
class DynamicKernel {
 public:
  DynamicKernel() = default;
  explicit DynamicKernel(std::shared_ptr<DynamicState> state);
  explicit operator bool() const { return state_ != nullptr; }

  // The kernel for operands of these layouts; without `output` the result is row-major. Errors: as
  // of binding, and labels that are not dynamic with other extents than compiled for.
  Result<Kernel> try_at(std::span<const Layout> inputs,
                        const std::optional<Layout>& output = std::nullopt) const;
  Kernel at(std::span<const Layout> inputs,
            const std::optional<Layout>& output = std::nullopt) const {
    return value_or_throw(try_at(inputs, output));
  }

  // One call on views, checked. Throws Error.
  template <MdspanLike Out, MdspanLike... In>
  void operator()(const Out& out, const In&... in) const {
    const std::vector<Layout> inputs{layout_of(in)...};
    at(inputs, layout_of(out))(out, in...);
  }

  // Extents that have a plan of their own now, and how many had to be compiled for themselves.
  std::int64_t plan_count() const;
  std::int64_t compiled_count() const;

 private:
  std::shared_ptr<DynamicState> state_;
};

}  // namespace einjit
