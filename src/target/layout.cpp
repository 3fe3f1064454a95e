#include "einjit/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace einjit {
namespace {

// Layouts may hold any numbers; binding refuses those whose sizes do not fit 64 bits.
std::int64_t wrapping_product(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

}  // namespace

Layout Layout::row_major(DType dtype, std::vector<std::int64_t> extents) {
  Layout layout{dtype, std::move(extents)};
  layout.strides.resize(layout.extents.size());
  std::int64_t stride = 1;
  for (std::size_t a = layout.extents.size(); a-- > 0;) {
    layout.strides[a] = stride;
    stride = wrapping_product(stride, std::max<std::int64_t>(layout.extents[a], 1));
  }
  return layout;
}

Layout Layout::column_major(DType dtype, std::vector<std::int64_t> extents) {
  Layout layout{dtype, std::move(extents)};
  std::int64_t stride = 1;
  for (std::int64_t extent : layout.extents) {
    layout.strides.push_back(stride);
    stride = wrapping_product(stride, std::max<std::int64_t>(extent, 1));
  }
  return layout;
}

std::int64_t Layout::element_count() const {
  std::int64_t count = 1;
  for (std::int64_t extent : extents) count = wrapping_product(count, extent);
  return count;
}

std::int64_t Layout::lowest_offset() const {
  std::int64_t low = 0;
  for (std::size_t a = 0; a < extents.size(); ++a)
    low += std::min<std::int64_t>(0, strides[a]) * std::max<std::int64_t>(extents[a] - 1, 0);
  return low;
}

std::int64_t Layout::footprint() const {
  if (element_count() == 0) return 0;
  std::int64_t high = 0;
  for (std::size_t a = 0; a < extents.size(); ++a)
    high += std::max<std::int64_t>(0, strides[a]) * (extents[a] - 1);
  return high - lowest_offset() + 1;
}

std::string Layout::to_string() const {
  std::string text = fmt::format("{} {}", name_of(dtype), fmt::join(extents, "x"));
  if (extents.empty()) text += "scalar";
  if (strides != row_major(dtype, extents).strides)
    text += fmt::format(" strides {}", fmt::join(strides, ","));
  return text;
}

}  // namespace einjit
