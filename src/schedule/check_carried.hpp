// What a schedule with carried loops must be.
#pragma once

#include "schedule/schedule.hpp"

namespace einjit {

Result<void> check_carried(const Schedule& schedule, const Contraction& contraction);

}  // namespace einjit
