// In which order the operands of an expression are contracted.
#pragma once

#include <cstdint>

namespace einjit {

// As the model predicts to be fastest; two by two through temporaries, in the best order found; or
// all in one loop nest without any (up to 8 operands: more go two by two).
enum class Path : std::uint8_t { automatic, pairwise, one_nest };
inline constexpr const char* kPathNames[] = {"automatic", "pairwise", "one-nest"};

}  // namespace einjit
