// Who runs the parallel pieces of a kernel.
//
// A kernel is phases of independent pieces; an executor runs one phase and returns when all its
// pieces are done. The number of threads is no part of a kernel, so results cannot depend on it.
#pragma once

#include <cstdint>

namespace einjit {

struct Executor {
  using Body = void (*)(void* argument, std::int64_t piece);
  // Calls body(argument, p) once for every p in [0, pieces), in any order, on any threads, then
  // returns. Must be callable from several threads at once. May not throw.
  void (*run)(void* context, std::int64_t pieces, Body body, void* argument);
  void* context = nullptr;
};

// Runs everything on the calling thread.
inline constexpr Executor serial_executor{
    [](void*, std::int64_t pieces, Executor::Body body, void* argument) {
      for (std::int64_t p = 0; p < pieces; ++p) body(argument, p);
    },
    nullptr};

}  // namespace einjit
