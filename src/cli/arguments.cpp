#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "cli/commands.hpp"

namespace einjit {

std::vector<Layout> parse_shapes(const std::string& text, DType dtype) {
  std::vector<Layout> layouts;
  auto fail = [&](std::size_t at) {
    throw Error({"--shape: expected extents like 64x128,128x32",
                 text,
                 {static_cast<int>(at), static_cast<int>(at) + 1}});
  };
  for (std::size_t p = 0;; ++p) {
    const std::size_t end = std::min(text.find(',', p), text.size());
    std::vector<std::int64_t> extents;
    if (text.compare(p, end - p, "scalar") != 0) {
      while (p < end) {
        std::int64_t extent;
        const auto [stop, error] = std::from_chars(text.data() + p, text.data() + end, extent);
        if (error != std::errc() || extent < 0) fail(p);
        extents.push_back(extent);
        p = static_cast<std::size_t>(stop - text.data());
        if (p < end && (text[p] != 'x' || p + 1 == end)) fail(p);
        if (p < end) ++p;
      }
    }
    layouts.push_back(Layout::row_major(dtype, std::move(extents)));
    p = end;
    if (p == text.size()) return layouts;
  }
}

DType parse_dtype(const std::string& name) {
  for (DType type : {DType::f32, DType::f64})
    if (name == name_of(type)) return type;
  throw Error({fmt::format("--dtype: '{}' is neither f32 nor f64", name)});
}

Path parse_path(const std::string& name) {
  const auto it = std::ranges::find(kPathNames, name);
  if (it == std::end(kPathNames))
    throw Error({fmt::format("--path: '{}' is none of {}", name, fmt::join(kPathNames, ", "))});
  return static_cast<Path>(it - std::begin(kPathNames));
}

Target parse_target(const std::string& name) {
  if (name.empty() || name == "native") return Target::host();
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64})
    if (name == name_of(isa)) return Target::generic(isa);
  throw Error({fmt::format(
      "--target: '{}' is none of native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64", name)});
}

}  // namespace einjit
