// einjit: einsum expressions as native kernels.
//
//   auto matmul = einjit::compile<float>("ij,jk->ik", {{64, 128}, {128, 32}});
//   matmul(c, a, b);                                // pointers: unchecked, noexcept
//   einjit::contract("ij,jk->ik", c_view, a_view, b_view);  // one call, through the cache
#pragma once

#include "einjit/engine.hpp"

namespace einjit {

// Kernels of the standard engine for row-major operands of these extents. Throws Error.
template <class T>
Kernel compile(std::string_view expression,
               std::initializer_list<std::vector<std::int64_t>> extents,
               const CompileOptions& options = {}) {
  std::vector<Layout> layouts;
  for (const auto& shape : extents) layouts.push_back(Layout::row_major(dtype_of<T>, shape));
  return Engine::standard().compile(expression, layouts, options);
}

// The same for any layouts; their type must be T.
template <class T>
Kernel compile(std::string_view expression, std::span<const Layout> layouts,
               const CompileOptions& options = {}) {
  for (const Layout& layout : layouts)
    if (layout.dtype != dtype_of<T>)
      throw Error(
          {std::string("a layout is not ") + name_of(dtype_of<T>), std::string(expression)});
  return Engine::standard().compile(expression, layouts, options);
}

inline Result<Kernel> try_compile(std::string_view expression, std::span<const Layout> layouts,
                                  const CompileOptions& options = {}) {
  return Engine::standard().try_compile(expression, layouts, options);
}

// out = expression(in...), compiled at the first call with these layouts. Throws Error.
template <MdspanLike Out, MdspanLike... In>
void contract(std::string_view expression, const Out& out, const In&... in) {
  Engine::standard().contract(expression, out, in...);
}

}  // namespace einjit
