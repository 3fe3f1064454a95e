// Element types and strided layouts: what the engine must know of an operand besides its data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace einjit {

// Element types. Others (half, complex, integers) get their rows here and in codegen's types.
enum class DType : std::uint8_t { f32, f64 };

constexpr std::int64_t size_of(DType type) { return type == DType::f32 ? 4 : 8; }
constexpr const char* name_of(DType type) { return type == DType::f32 ? "f32" : "f64"; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<std::remove_cv_t<T>>::value;

// A strided array without its data: element (i0, i1, ...) stands at data[sum i_a * strides[a]],
// strides in elements. Strides may be negative, zero or overlapping for inputs; the pointer that
// goes with a layout is that of element (0, 0, ...), so there is no offset. Zero axes: one element.
struct Layout {
  DType dtype = DType::f32;
  std::vector<std::int64_t> extents = {};
  std::vector<std::int64_t> strides = {};

  // Row-major (C) layout: the last axis is contiguous.
  static Layout row_major(DType dtype, std::vector<std::int64_t> extents);
  // Column-major (Fortran) layout: the first axis is contiguous.
  static Layout column_major(DType dtype, std::vector<std::int64_t> extents);

  int rank() const { return static_cast<int>(extents.size()); }
  // Number of index tuples (0 if an extent is 0).
  std::int64_t element_count() const;
  // Elements from the lowest to the highest address touched, both included; 0 if empty.
  std::int64_t footprint() const;
  // Smallest element offset touched (<= 0).
  std::int64_t lowest_offset() const;
  // "f32 64x128" or "f32 64x128 strides 1,64"; strides are printed unless row-major.
  std::string to_string() const;

  bool operator==(const Layout&) const = default;
};

}  // namespace einjit
