// What a call costs beyond the kernel, in nanoseconds.
#pragma once

namespace einjit_bench {

struct CallCosts {
  double plain;     // a function compiled with this program that copies one number
  double raw;       // kernel(out, in) of the kernel that copies one number
  double checked;   // the same with views
  double one_shot;  // contract(...), found in the cache
};
CallCosts measure_calls();

}  // namespace einjit_bench
