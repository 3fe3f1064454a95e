#include "cli/repl/functions.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>

namespace einjit {
namespace {

using Arguments = std::vector<Argument>;

[[noreturn]] void fail(std::string message) { throw Error({std::move(message)}); }

const Tensor& tensor_at(const Arguments& arguments, std::size_t at, const char* name) {
  if (at >= arguments.size() || arguments[at].kind != Argument::Kind::tensor)
    fail(fmt::format("{}: argument {} must be a tensor", name, at + 1));
  return arguments[at].tensor;
}

std::int64_t integer(const Argument& argument, const char* name) {
  if (argument.kind != Argument::Kind::number || argument.number != std::floor(argument.number))
    fail(fmt::format("{}: expected an integer", name));
  return static_cast<std::int64_t>(argument.number);
}

// The integers from `from` on: f(A, 2, 3) or f(A, [2, 3]).
std::vector<std::int64_t> integers(const Arguments& arguments, std::size_t from, const char* name) {
  if (arguments.size() == from + 1 && arguments[from].kind == Argument::Kind::list)
    return arguments[from].list;
  std::vector<std::int64_t> list;
  for (std::size_t a = from; a < arguments.size(); ++a) list.push_back(integer(arguments[a], name));
  return list;
}

std::vector<std::int64_t> shape(const Arguments& arguments, std::size_t from, const char* name) {
  std::vector<std::int64_t> extents = integers(arguments, from, name);
  double elements = 1;
  for (std::int64_t extent : extents) {
    if (extent < 0) fail(fmt::format("{}: an extent is negative", name));
    elements *= static_cast<double>(extent);
  }
  if (elements > 4e9) fail(fmt::format("{}: {:.3g} elements are too many", name, elements));
  return extents;
}

std::size_t axis(std::int64_t given, const Tensor& tensor, const char* name) {
  const std::int64_t rank = tensor.layout.rank(), at = given < 0 ? given + rank : given;
  if (at < 0 || at >= rank)
    fail(fmt::format("{}: axis {} of a tensor with {} axes", name, given, rank));
  return static_cast<std::size_t>(at);
}

template <class F>
Tensor filled(DType dtype, std::vector<std::int64_t> extents, const F& value) {
  Tensor tensor = Tensor::zeros(dtype, std::move(extents));
  const std::int64_t count = tensor.layout.element_count();
  for (std::int64_t i = 0; i < count; ++i) tensor.set(i, value(i));
  return tensor;
}

CallResult rand(const Arguments& a, CallContext context) {
  std::mt19937_64 random(context.seed++);
  std::uniform_real_distribution<double> uniform;
  return {filled(context.dtype, shape(a, 0, "rand"), [&](auto) { return uniform(random); })};
}

CallResult randint(const Arguments& a, CallContext context) {
  if (a.size() < 2) fail("randint(lo, hi, extents...): values lo <= x < hi");
  const std::int64_t lo = integer(a[0], "randint"), hi = integer(a[1], "randint");
  if (hi <= lo) fail("randint: hi must be above lo");
  std::mt19937_64 random(context.seed++);
  std::uniform_int_distribution<std::int64_t> uniform(lo, hi - 1);
  return {filled(context.dtype, shape(a, 2, "randint"),
                 [&](auto) { return static_cast<double>(uniform(random)); })};
}

CallResult arange(const Arguments& a, CallContext context) {
  const std::vector<std::int64_t> extents = shape(a, 0, "arange");
  if (extents.size() != 1) fail("arange(n): one number");
  return {filled(context.dtype, extents, [](std::int64_t i) { return static_cast<double>(i); })};
}

CallResult zeros(const Arguments& a, CallContext context) {
  return {Tensor::zeros(context.dtype, shape(a, 0, "zeros"))};
}
CallResult ones(const Arguments& a, CallContext context) {
  return {filled(context.dtype, shape(a, 0, "ones"), [](auto) { return 1.0; })};
}

CallResult load(const Arguments& a, CallContext) {
  if (a.size() != 1 || a[0].kind != Argument::Kind::text) fail("load(\"file.npy\"): one file name");
  return {value_or_throw(load_npy(a[0].text))};
}
CallResult save(const Arguments& a, CallContext) {
  if (a.size() != 2 || a[0].kind != Argument::Kind::text) fail("save(\"file.npy\", A)");
  value_or_throw(save_npy(a[0].text, tensor_at(a, 1, "save")));
  return {std::nullopt, "saved " + a[0].text};
}

CallResult transpose(const Arguments& a, CallContext) {
  const Tensor& tensor = tensor_at(a, 0, "transpose");
  const std::size_t rank = tensor.layout.extents.size();
  std::vector<std::int64_t> order = integers(a, 1, "transpose");
  if (order.empty())
    for (std::size_t r = rank; r-- > 0;) order.push_back(static_cast<std::int64_t>(r));
  if (order.size() != rank)
    fail(fmt::format("transpose: {} axes given for {}", order.size(), rank));
  Layout layout{tensor.dtype()};
  std::vector<bool> seen(rank);
  for (std::int64_t given : order) {
    const std::size_t from = axis(given, tensor, "transpose");
    if (seen[from]) fail(fmt::format("transpose: axis {} stands twice", given));
    seen[from] = true;
    layout.extents.push_back(tensor.layout.extents[from]);
    layout.strides.push_back(tensor.layout.strides[from]);
  }
  return {with_layout(tensor, layout, 0)};
}

CallResult reshape(const Arguments& a, CallContext) {
  const Tensor& tensor = tensor_at(a, 0, "reshape");
  std::vector<std::int64_t> extents = integers(a, 1, "reshape");
  std::int64_t known = 1;
  auto open = extents.end();
  for (auto e = extents.begin(); e != extents.end(); ++e) {
    if (*e == -1 && open == extents.end())
      open = e;
    else if (*e < 0)
      fail("reshape: an extent is negative");
    else if (__builtin_mul_overflow(known, *e, &known))
      fail("reshape: the extents are too large");
  }
  const std::int64_t count = tensor.layout.element_count();
  if (open != extents.end() && known > 0 && count % known == 0) known *= * open = count / known;
  if (known != count)
    fail(fmt::format("reshape: {} elements do not fit ({})", count, fmt::join(extents, ", ")));
  const Tensor dense = contiguous(tensor, tensor.dtype());
  return {with_layout(dense, Layout::row_major(tensor.dtype(), extents), 0)};
}

// Views with strides of the user's own must stay inside the array they are made of.
Tensor checked_view(const Tensor& tensor, Layout layout, const char* name) {
  const Layout& base = tensor.layout;
  const std::int64_t low = layout.lowest_offset(), base_low = base.lowest_offset();
  if (layout.footprint() > 0 &&
      (low < base_low || low + layout.footprint() > base_low + base.footprint()))
    fail(fmt::format("{}: the view leaves the tensor", name));
  return with_layout(tensor, std::move(layout), 0);
}

CallResult as_strided(const Arguments& a, CallContext) {
  const Tensor& tensor = tensor_at(a, 0, "as_strided");
  const bool has_lists =
      a.size() == 3 && a[1].kind == Argument::Kind::list && a[2].kind == Argument::Kind::list;
  if (!has_lists || a[1].list.size() != a[2].list.size())
    fail("as_strided(A, [extents], [strides]): two lists of one length, strides in elements");
  double span = 1, elements = 1;
  for (std::size_t i = 0; i < a[1].list.size(); ++i) {
    if (a[1].list[i] < 0) fail("as_strided: an extent is negative");
    elements *= static_cast<double>(a[1].list[i]);
    span += static_cast<double>(a[1].list[i]) * std::abs(static_cast<double>(a[2].list[i]));
  }
  if (elements > 1e15 || span > 1e15) fail("as_strided: the view leaves the tensor");
  return {checked_view(tensor, {tensor.dtype(), a[1].list, a[2].list}, "as_strided")};
}

CallResult sliding_window(const Arguments& a, CallContext) {
  const Tensor& tensor = tensor_at(a, 0, "sliding_window");
  const std::vector<std::int64_t> window = integers(a, 1, "sliding_window");
  const std::size_t rank = tensor.layout.extents.size();
  if (window.empty() || window.size() > rank)
    fail("sliding_window(A, w...): one window extent for each of the last axes");
  Layout layout = tensor.layout;
  for (std::size_t w = 0; w < window.size(); ++w) {
    const std::size_t at = rank - window.size() + w;
    if (window[w] < 1 || window[w] > tensor.layout.extents[at])
      fail(fmt::format("sliding_window: a window of {} on an axis of {}", window[w],
                       tensor.layout.extents[at]));
    layout.extents[at] -= window[w] - 1;
    layout.extents.push_back(window[w]);
    layout.strides.push_back(tensor.layout.strides[at]);
  }
  return {with_layout(tensor, layout, 0)};
}

CallResult softmax(const Arguments& a, CallContext) {
  const Tensor& given = tensor_at(a, 0, "softmax");
  if (a.size() != 2) fail("softmax(X, axis)");
  const std::size_t along = axis(integer(a[1], "softmax"), given, "softmax");
  Tensor out = Tensor::zeros(given.dtype(), given.layout.extents);
  for_each_element(given.layout, [&, at = std::int64_t{0}](std::int64_t offset) mutable {
    out.set(at++, given.get(offset));
  });
  const std::int64_t extent = out.layout.extents[along], stride = out.layout.strides[along];
  Layout others = out.layout;
  others.extents[along] = extent > 0 ? 1 : 0;
  for_each_element(others, [&](std::int64_t first) {
    double largest = -HUGE_VAL, sum = 0;
    for (std::int64_t i = 0; i < extent; ++i)
      largest = std::max(largest, out.get(first + i * stride));
    for (std::int64_t i = 0; i < extent; ++i)
      sum += std::exp(out.get(first + i * stride) - largest);
    for (std::int64_t i = 0; i < extent; ++i)
      out.set(first + i * stride, std::exp(out.get(first + i * stride) - largest) / sum);
  });
  return {out};
}

CallResult allclose(const Arguments& a, CallContext) {
  const Tensor& x = tensor_at(a, 0, "allclose");
  const Tensor& y = tensor_at(a, 1, "allclose");
  double relative = x.dtype() == DType::f64 && y.dtype() == DType::f64 ? 1e-9 : 1e-4;
  if (a.size() == 3 && a[2].kind == Argument::Kind::number) relative = a[2].number;
  if (x.layout.extents != y.layout.extents) return {std::nullopt, "false"};
  const Tensor dense = contiguous(y, y.dtype());
  bool close = true;
  for_each_element(x.layout, [&, at = std::int64_t{0}](std::int64_t offset) mutable {
    const double p = x.get(offset), q = dense.get(at++);
    close &= std::abs(p - q) <= relative * (1 + std::abs(q)) || (std::isnan(p) && std::isnan(q)) ||
             p == q;
  });
  return {std::nullopt, close ? "true" : "false"};
}

CallResult f32(const Arguments& a, CallContext) {
  return {contiguous(tensor_at(a, 0, "f32"), DType::f32)};
}
CallResult f64(const Arguments& a, CallContext) {
  return {contiguous(tensor_at(a, 0, "f64"), DType::f64)};
}

using Function = CallResult (*)(const Arguments&, CallContext);
const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> table{{"rand", rand},
                                                     {"randint", randint},
                                                     {"arange", arange},
                                                     {"zeros", zeros},
                                                     {"ones", ones},
                                                     {"load", load},
                                                     {"save", save},
                                                     {"transpose", transpose},
                                                     {"reshape", reshape},
                                                     {"as_strided", as_strided},
                                                     {"sliding_window", sliding_window},
                                                     {"softmax", softmax},
                                                     {"allclose", allclose},
                                                     {"f32", f32},
                                                     {"f64", f64}};
  return table;
}

// Reads one level of a literal; extents are found at the first descent and checked after.
struct LiteralParser {
  const std::string& text;
  std::size_t at = 0;
  std::vector<std::int64_t> extents;
  std::vector<double> values;

  [[noreturn]] void bad(const std::string& why) const {
    throw Error({why, text, {static_cast<int>(at), static_cast<int>(at) + 1}});
  }
  void skip() { at = std::min(text.find_first_not_of(' ', at), text.size()); }
  void read(std::size_t depth) {
    skip();
    if (at < text.size() && text[at] == '[') return read_list(depth);
    if (depth < extents.size()) bad("a list is missing here");
    const char* begin = text.c_str() + at;
    char* end = nullptr;
    values.push_back(std::strtod(begin, &end));
    if (end == begin) bad("expected a number");
    at += static_cast<std::size_t>(end - begin);
    skip();
  }
  void read_list(std::size_t depth) {
    ++at;
    if (depth > 32) bad("lists nested too deep");
    std::int64_t count = 0;
    const bool first = depth == extents.size();
    if (first && !values.empty()) bad("a number is missing here");
    if (first) extents.push_back(0);
    for (skip(); at < text.size() && text[at] != ']'; ++count) {
      if (count > 0 && text[at++] != ',') bad("expected ',' or ']'");
      read(depth + 1);
    }
    if (at == text.size()) bad("']' is missing");
    ++at;
    skip();
    if (first) extents[depth] = count;
    if (extents[depth] != count) bad("lists of different lengths");
  }
};

}  // namespace

CallResult call_function(const std::string& name, const Arguments& arguments, CallContext context) {
  const auto it = functions().find(name);
  if (it == functions().end())
    fail(fmt::format("'{}' is no function; there are {}", name, fmt::join(function_names(), ", ")));
  return it->second(arguments, context);
}

std::vector<std::string> function_names() {
  std::vector<std::string> names;
  for (const auto& [name, function] : functions()) names.push_back(name);
  return names;
}

Tensor index_tensor(const Tensor& tensor, const std::vector<std::int64_t>& at) {
  if (at.size() > tensor.layout.extents.size())
    fail(fmt::format("{} indices for a tensor with {} axes", at.size(), tensor.layout.rank()));
  Layout layout = tensor.layout;
  std::int64_t offset = 0;
  for (std::size_t a = 0; a < at.size(); ++a) {
    const std::int64_t extent = tensor.layout.extents[a], i = at[a] < 0 ? at[a] + extent : at[a];
    if (i < 0 || i >= extent)
      fail(fmt::format("index {} on axis {} of extent {}", at[a], a, extent));
    offset += i * tensor.layout.strides[a];
  }
  layout.extents.erase(layout.extents.begin(),
                       layout.extents.begin() + static_cast<long>(at.size()));
  layout.strides.erase(layout.strides.begin(),
                       layout.strides.begin() + static_cast<long>(at.size()));
  return with_layout(tensor, layout, offset);
}

Tensor parse_literal(const std::string& text, DType dtype) {
  LiteralParser parser{text, 0, {}, {}};
  parser.read(0);
  if (parser.at != text.size()) parser.bad("unexpected text after the literal");
  return filled(dtype, parser.extents,
                [&](std::int64_t i) { return parser.values[static_cast<std::size_t>(i)]; });
}

}  // namespace einjit
