#include "cli/tensor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <new>

namespace einjit {
namespace {

constexpr std::int64_t kMostPrinted = 6;  // per axis before "..."

void print_axis(const Tensor& tensor, std::size_t axis, std::int64_t offset, std::string& text) {
  const Layout& layout = tensor.layout;
  if (axis == layout.extents.size()) {
    text += fmt::format("{:.6g}", tensor.get(offset));
    return;
  }
  const std::int64_t extent = layout.extents[axis];
  const bool last = axis + 1 == layout.extents.size();
  text += '[';
  for (std::int64_t i = 0; i < extent; ++i) {
    if (i > 0) text += last ? ", " : ",\n" + std::string(axis + 1, ' ');
    if (extent > 2 * kMostPrinted && i == kMostPrinted) {
      text += "...";
      i = extent - kMostPrinted - 1;
      continue;
    }
    print_axis(tensor, axis + 1, offset + i * layout.strides[axis], text);
  }
  text += ']';
}

}  // namespace

Tensor Tensor::zeros(DType dtype, std::vector<std::int64_t> extents) {
  Tensor tensor{Layout::row_major(dtype, std::move(extents)), nullptr};
  constexpr std::align_val_t kAlign{64};
  const auto bytes = static_cast<std::size_t>(tensor.layout.element_count() * size_of(dtype));
  auto* memory = static_cast<std::byte*>(::operator new[](std::max<std::size_t>(bytes, 1), kAlign));
  std::memset(memory, 0, bytes);
  tensor.memory.reset(memory, [](std::byte* p) { ::operator delete[](p, std::align_val_t{64}); });
  return tensor;
}

void* Tensor::data() const { return memory.get() + offset * size_of(layout.dtype); }

double Tensor::get(std::int64_t at) const {
  if (layout.dtype == DType::f32) return static_cast<const float*>(data())[at];
  return static_cast<const double*>(data())[at];
}

void Tensor::set(std::int64_t at, double value) {
  if (layout.dtype == DType::f32)
    static_cast<float*>(data())[at] = static_cast<float>(value);
  else
    static_cast<double*>(data())[at] = value;
}

std::string Tensor::to_string() const {
  std::string text;
  if (layout.element_count() > 0) print_axis(*this, 0, 0, text);
  return text + fmt::format("{}({}) {}", text.empty() ? "" : "  ", fmt::join(layout.extents, ", "),
                            name_of(layout.dtype));
}

Tensor with_layout(const Tensor& tensor, Layout layout, std::int64_t offset) {
  return {std::move(layout), tensor.memory, tensor.offset + offset};
}

Tensor contiguous(const Tensor& tensor, DType dtype) {
  if (tensor.layout == Layout::row_major(dtype, tensor.layout.extents)) return tensor;
  Tensor copy = Tensor::zeros(dtype, tensor.layout.extents);
  std::int64_t to = 0;
  for_each_element(tensor.layout, [&](std::int64_t at) { copy.set(to++, tensor.get(at)); });
  return copy;
}

}  // namespace einjit
