#include "plan/kernel_source.hpp"

#include <algorithm>

#include "plan/arena.hpp"

namespace einjit {

std::vector<std::int64_t> scratch_offsets(const Plan& plan, std::int64_t& size) {
  std::vector<std::int64_t> offsets;
  for (std::int64_t bytes : plan.scratch_bytes) {
    offsets.push_back(size);
    size += static_cast<std::int64_t>(Arena::rounded(static_cast<std::size_t>(bytes)));
  }
  return offsets;
}

std::int64_t scratch_bytes(const KernelSource& source) {
  const auto workspace =
      static_cast<std::int64_t>(Arena::rounded(static_cast<std::size_t>(source.workspace_bytes)));
  std::int64_t most = workspace;
  for (const KernelSource::Step& step : source.steps) {
    std::int64_t size = workspace;
    scratch_offsets(step.plan, size);
    most = std::max(most, size);
  }
  return most;
}

}  // namespace einjit
