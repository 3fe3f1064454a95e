// Arrays of the program and the REPL: shared memory with a strided layout, f32 or f64.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "einjit/error.hpp"
#include "einjit/layout.hpp"

namespace einjit {

// Copies share memory, as views do; nothing in the program writes to an array once it is made.
struct Tensor {
  Layout layout;
  std::shared_ptr<std::byte[]> memory;
  std::int64_t offset = 0;  // elements to element (0, 0, ...)

  // Zero-filled, row-major, on a 64-byte boundary.
  static Tensor zeros(DType dtype, std::vector<std::int64_t> extents);

  DType dtype() const { return layout.dtype; }
  void* data() const;
  // The element at an offset relative to element (0, 0, ...).
  double get(std::int64_t at) const;
  void set(std::int64_t at, double value);
  std::string to_string() const;
};

// A view: the same memory with another layout.
Tensor with_layout(const Tensor& tensor, Layout layout, std::int64_t offset);
// A row-major copy, of another type if need be; the tensor itself if it is that already.
Tensor contiguous(const Tensor& tensor, DType dtype);

// Calls f(offset) for every element in row-major order of the extents.
template <class F>
void for_each_element(const Layout& layout, F&& f) {
  if (layout.element_count() == 0) return;
  std::vector<std::int64_t> at(layout.extents.size(), 0);
  std::int64_t offset = 0;
  for (;;) {
    f(offset);
    std::size_t a = at.size();
    for (;;) {
      if (a-- == 0) return;
      offset += layout.strides[a];
      if (++at[a] < layout.extents[a]) break;
      offset -= layout.strides[a] * layout.extents[a];
      at[a] = 0;
    }
  }
}

// .npy files (numpy's format 1-3): little-endian f4 and f8, C or Fortran order.
Result<Tensor> load_npy(const std::string& path);
// Written beside the path and renamed: there is never half a file.
Result<void> save_npy(const std::string& path, const Tensor& tensor);

}  // namespace einjit
