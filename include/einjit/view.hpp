// Views: a pointer with a layout, from einjit's own type or anything like std::mdspan.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <type_traits>

#include "einjit/layout.hpp"

namespace einjit {

// Like std::mdspan: rank(), extent(r), stride(r), data_handle().
template <class V>
concept MdspanLike = requires(const V& view, std::size_t r) {
  { view.rank() } -> std::convertible_to<std::size_t>;
  { view.extent(r) } -> std::convertible_to<std::int64_t>;
  { view.stride(r) } -> std::convertible_to<std::int64_t>;
  {*view.data_handle()};
};

// A strided array that somebody else owns. Extents and strides (in elements) are referenced, not
// copied: they must outlive the view.
template <class T>
struct TensorView {
  T* data = nullptr;
  std::span<const std::int64_t> extents;
  std::span<const std::int64_t> strides;

  TensorView(T* pointer, const Layout& layout)
      : data(pointer), extents(layout.extents), strides(layout.strides) {}
  std::size_t rank() const { return extents.size(); }
  std::int64_t extent(std::size_t r) const { return extents[r]; }
  std::int64_t stride(std::size_t r) const { return strides[r]; }
  T* data_handle() const { return data; }
};

template <MdspanLike V>
using ElementOf = std::remove_cvref_t<decltype(*std::declval<const V&>().data_handle())>;

template <MdspanLike V>
Layout layout_of(const V& view) {
  Layout layout{dtype_of<ElementOf<V>>};
  for (std::size_t r = 0; r < view.rank(); ++r) {
    layout.extents.push_back(static_cast<std::int64_t>(view.extent(r)));
    layout.strides.push_back(static_cast<std::int64_t>(view.stride(r)));
  }
  return layout;
}

}  // namespace einjit
