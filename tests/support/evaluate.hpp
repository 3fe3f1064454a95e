// Evaluating a random case by the interpreter, with the schedules of a given target.
#pragma once

#include <string>

#include "einjit/target.hpp"
#include "support/random_case.hpp"

namespace einjit_test {

// A target whose caches are so small that small shapes get every loop, block and panel.
einjit::Target tiny_target(einjit::Isa isa);

// The case's arrays in its own type.
struct TypedData {
  std::vector<std::vector<std::byte>> buffers;
  std::vector<void*> pointers;  // output first, to element (0, 0, ...)
};
TypedData typed(const RandomCase& c, const CaseData& data);

// Where the typed output buffer differs from the expected one; empty if nowhere.
std::string difference(const RandomCase& c, const TypedData& data,
                       const std::vector<double>& expected, const std::string& what);

// Runs every step's loop nest in the interpreter, verifying it. Returns what went wrong.
std::string interpret_case(const RandomCase& c, const CaseData& data, const einjit::Target& target,
                           TypedData& typed);

}  // namespace einjit_test
