#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "cli/tensor.hpp"
#include "cli/write_file.hpp"

namespace einjit {
namespace {

constexpr char kMagic[] = "\x93NUMPY";

// The text of a header entry's value, from after "'name':" to the end of the header.
std::optional<std::string_view> entry(std::string_view header, std::string_view name) {
  const std::size_t at = header.find(fmt::format("'{}'", name));
  if (at == std::string_view::npos) return std::nullopt;
  const std::size_t colon = header.find(':', at);
  if (colon == std::string_view::npos) return std::nullopt;
  const std::size_t value = header.find_first_not_of(' ', colon + 1);
  if (value == std::string_view::npos) return std::nullopt;
  return header.substr(value);
}

struct Header {
  std::string descr;
  bool is_fortran = false;
  std::vector<std::int64_t> extents;
};

std::optional<Header> parse_header(std::string_view text) {
  Header header;
  const auto descr = entry(text, "descr"), order = entry(text, "fortran_order"),
             shape = entry(text, "shape");
  if (!descr || !order || !shape || (*descr)[0] != '\'' || (*shape)[0] != '(') return std::nullopt;
  const std::size_t quote = descr->find('\'', 1), close = shape->find(')');
  if (quote == std::string_view::npos || close == std::string_view::npos) return std::nullopt;
  header.descr = descr->substr(1, quote - 1);
  if (!order->starts_with("True") && !order->starts_with("False")) return std::nullopt;
  header.is_fortran = order->starts_with("True");
  for (std::size_t p = 1; p < close;) {
    std::int64_t extent;
    const auto [end, error] = std::from_chars(shape->data() + p, shape->data() + close, extent);
    if (error != std::errc() || extent < 0) return std::nullopt;
    header.extents.push_back(extent);
    p = static_cast<std::size_t>(end - shape->data());
    const std::size_t number_end = p;
    while (p < close && ((*shape)[p] == ',' || (*shape)[p] == ' ')) ++p;
    if (p < close && shape->substr(number_end, p - number_end).find(',') == std::string_view::npos)
      return std::nullopt;
  }
  return header;
}

std::optional<DType> dtype_named(const std::string& descr) {
  if (descr == "<f4" || descr == "=f4") return DType::f32;
  if (descr == "<f8" || descr == "=f8") return DType::f64;
  return std::nullopt;
}

}  // namespace

Result<Tensor> load_npy(const std::string& path) {
  auto fail = [&](std::string why) {
    return std::unexpected(Diagnostic{fmt::format("{}: {}", path, why)});
  };
  std::ifstream opened(path, std::ios::binary);
  if (!opened) return fail(std::strerror(errno));
  // A pipe cannot tell its size: it is read to its end first.
  std::stringstream whole;
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(path, error);
  if (!is_file) whole << opened.rdbuf();
  std::istream& file = is_file ? static_cast<std::istream&>(opened) : whole;
  char head[8];
  if (!file.read(head, 8) || std::memcmp(head, kMagic, 6) != 0) return fail("not a .npy file");
  const bool is_long = head[6] >= 2;
  unsigned char size_bytes[4] = {};
  if (!file.read(reinterpret_cast<char*>(size_bytes), is_long ? 4 : 2)) return fail("cut short");
  const std::uint32_t size = size_bytes[0] | size_bytes[1] << 8 | size_bytes[2] << 16 |
                             static_cast<std::uint32_t>(size_bytes[3]) << 24;
  if (size > (1u << 20)) return fail("the header is damaged");
  std::string text(size, '\0');
  if (!file.read(text.data(), size)) return fail("cut short");
  const std::optional<Header> header = parse_header(text);
  if (!header) return fail("the header is damaged");
  const std::optional<DType> dtype = dtype_named(header->descr);
  if (!dtype)
    return fail(
        fmt::format("type '{}' is not supported, little-endian f4 and f8 are", header->descr));
  std::int64_t count = 1;
  for (std::int64_t extent : header->extents)
    if (__builtin_mul_overflow(count, extent, &count) || count > (std::int64_t{1} << 48))
      return fail("the shape is too large");
  // The size is checked before memory is taken: a damaged shape must not ask for terabytes.
  const auto begin = file.tellg();
  file.seekg(0, std::ios::end);
  if (file.tellg() - begin < count * size_of(*dtype)) return fail("cut short");
  file.seekg(begin);
  Tensor tensor = Tensor::zeros(*dtype, header->extents);
  if (header->is_fortran) tensor.layout = Layout::column_major(*dtype, header->extents);
  if (!file.read(static_cast<char*>(tensor.data()), count * size_of(*dtype)))
    return fail("cut short");
  return tensor;
}

Result<void> save_npy(const std::string& path, const Tensor& tensor) {
  const Tensor dense = contiguous(tensor, tensor.dtype());
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                  tensor.dtype() == DType::f32 ? "<f4" : "<f8",
                  fmt::join(dense.layout.extents, ", "), dense.layout.rank() == 1 ? "," : "");
  header += std::string(63 - (header.size() + 10) % 64, ' ') + '\n';
  std::string head(kMagic, 6);
  head += {1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  const auto bytes =
      static_cast<std::size_t>(dense.layout.element_count() * size_of(dense.dtype()));
  return write_file(path, {head, header, {static_cast<const char*>(dense.data()), bytes}});
}

}  // namespace einjit
