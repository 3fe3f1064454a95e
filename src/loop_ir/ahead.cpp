#include <algorithm>
#include <cstdlib>
#include <limits>

#include "loop_ir/loop_nest.hpp"

namespace einjit {
namespace {

constexpr std::int64_t kLine = 64;
constexpr std::int64_t kRowsInTurn = 4;  // one row alone waits for memory line after line

struct Dimension {
  std::int64_t stride, length;  // bytes, steps
};

// The box's labels by falling stride; runs along the last ones are merged into a row of `row`
// bytes.
std::vector<Dimension> rows_of(const Contraction& c, int input,
                               const std::vector<std::int64_t>& lengths, std::int64_t& row) {
  const std::vector<std::int64_t>& strides = c.in[static_cast<std::size_t>(input)].strides;
  std::vector<Dimension> dimensions;
  for (Label l = 0; l < c.label_count(); ++l)
    if (strides[l] != 0 && lengths[l] > 1)
      dimensions.push_back({strides[l] * size_of(c.dtype), lengths[l]});
  std::ranges::sort(dimensions, std::greater{},
                    [](const Dimension& d) { return std::abs(d.stride); });
  row = size_of(c.dtype);
  while (!dimensions.empty() && dimensions.back().stride == row) {
    row *= dimensions.back().length;
    dimensions.pop_back();
  }
  return dimensions;
}

}  // namespace

std::vector<std::int32_t> ahead_offsets(const Contraction& c, int input,
                                        const std::vector<std::int64_t>& lengths) {
  std::int64_t row;
  std::vector<std::int64_t> starts{0};
  for (const Dimension& d : rows_of(c, input, lengths, row)) {
    std::vector<std::int64_t> all;
    for (std::int64_t start : starts)
      for (std::int64_t p = 0; p < d.length; ++p) all.push_back(start + p * d.stride);
    starts = std::move(all);
  }
  std::vector<std::int32_t> offsets;
  auto add = [&](std::int64_t offset) { offsets.push_back(static_cast<std::int32_t>(offset)); };
  const auto rows = static_cast<std::int64_t>(starts.size());
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (std::ranges::any_of(starts, [&](std::int64_t s) { return std::abs(s) + row > kMost; }))
    return {};
  for (std::int64_t first = 0; first < rows; first += kRowsInTurn)
    for (std::int64_t at = 0; at < row; at += kLine)
      for (std::int64_t r = first; r < std::min(rows, first + kRowsInTurn); ++r)
        add(starts[static_cast<std::size_t>(r)] + at);
  return offsets;
}

}  // namespace einjit
