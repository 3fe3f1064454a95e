// Floor 8: the units that were compiled when the project was built, per instruction set.
#pragma once

#include "einjit/target.hpp"
#include "load/prebuilt.hpp"

namespace einjit {

// Those that run on the target; none for instruction sets without.
PrebuiltUnits prebuilt_units(const Target& target);

}  // namespace einjit
