#include <algorithm>
#include <cstdlib>
#include <limits>
#include <ranges>

#include "loop_ir/loop_nest.hpp"

namespace einjit {
namespace {

// One row alone waits for memory line after line; of eight, prefetchers of the hardware follow
// each.
constexpr std::size_t kRowsInTurn = 8;

struct Dimension {
  std::int64_t stride, length;  // bytes, steps
};

// The rows a box consists of: labels by falling stride, runs along the last ones merged.
struct Rows {
  Rows(const Contraction& c, int input, const std::vector<std::int64_t>& lengths)
      : bytes(size_of(c.dtype)) {
    const std::vector<std::int64_t>& strides = c.in[static_cast<std::size_t>(input)].strides;
    for (Label l = 0; l < c.label_count(); ++l)
      if (strides[l] != 0 && lengths[l] > 1)
        dimensions.push_back({strides[l] * size_of(c.dtype), lengths[l]});
    std::ranges::sort(dimensions, std::greater{},
                      [](const Dimension& d) { return std::abs(d.stride); });
    while (!dimensions.empty() && dimensions.back().stride == bytes) {
      bytes *= dimensions.back().length;
      dimensions.pop_back();
    }
    std::int64_t reach = bytes;
    for (const Dimension& d : dimensions) {
      count *= d.length;
      reach += std::abs(d.stride) * (d.length - 1);
    }
    is_in_reach = reach <= std::numeric_limits<std::int32_t>::max();
  }
  std::int64_t lines() const {
    return is_in_reach ? count * ((bytes + kLineBytes - 1) / kLineBytes) : 0;
  }

  std::vector<Dimension> dimensions;
  std::int64_t count = 1, bytes;  // the latter of a row
  bool is_in_reach;               // of 32-bit offsets
};

// Where each begins.
std::vector<std::int32_t> starts_of(const Rows& rows) {
  std::vector<std::int32_t> starts{0};
  starts.reserve(static_cast<std::size_t>(rows.count));
  // The outermost dimension turns slowest: from the innermost on, what there is is repeated.
  for (const Dimension& d : rows.dimensions | std::views::reverse) {
    const std::size_t inner = starts.size();
    for (std::int64_t p = 1; p < d.length; ++p)
      for (std::size_t k = 0; k < inner; ++k)
        starts.push_back(starts[k] + static_cast<std::int32_t>(p * d.stride));
  }
  return starts;
}

}  // namespace

std::int64_t ahead_line_count(const Contraction& c, int input,
                              const std::vector<std::int64_t>& lengths) {
  return Rows(c, input, lengths).lines();
}

std::int64_t ahead_row_bytes(const Contraction& c, int input,
                             const std::vector<std::int64_t>& lengths) {
  return Rows(c, input, lengths).bytes;
}

std::vector<std::int32_t> ahead_offsets(const Contraction& c, int input,
                                        const std::vector<std::int64_t>& lengths) {
  const Rows rows(c, input, lengths);
  std::vector<std::int32_t> offsets;
  if (!rows.is_in_reach) return offsets;
  offsets.reserve(static_cast<std::size_t>(rows.lines()));
  const std::vector<std::int32_t> starts = starts_of(rows);
  for (std::size_t first = 0; first < starts.size(); first += kRowsInTurn)
    for (std::int32_t at = 0; at < rows.bytes; at += kLineBytes)
      for (std::size_t r = first; r < std::min(starts.size(), first + kRowsInTurn); ++r)
        offsets.push_back(starts[r] + at);
  return offsets;
}

}  // namespace einjit
