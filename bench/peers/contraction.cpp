#include "peers/contraction.hpp"

#include <algorithm>
#include <numeric>

namespace einjit_bench {
namespace {

using namespace einjit;

struct Classes {
  std::vector<Label> batch, m, n, k;
  bool is_plain = true;  // every label in one of the four
};

Classes classify(const Contraction& c) {
  Classes classes;
  for (Label l = 0; l < c.label_count(); ++l) {
    switch (operand_set(c, l)) {
      case 7:
        classes.batch.push_back(l);
        break;
      case 3:
        classes.m.push_back(l);
        break;
      case 5:
        classes.n.push_back(l);
        break;
      case 6:
        classes.k.push_back(l);
        break;
      default:
        classes.is_plain = false;
    }
  }
  return classes;
}

std::int64_t product(const Contraction& c, const std::vector<Label>& labels) {
  std::int64_t value = 1;
  for (Label l : labels) value *= c.extents[l];
  return value;
}

// A matrix with one label (or none) a side: transposed if the row label is the contiguous one.
struct Matrix {
  bool fits = false, is_transposed = false;
  std::int64_t ld = 1;
};
Matrix as_matrix(const Contraction& c, const Access& a, const std::vector<Label>& rows,
                 const std::vector<Label>& columns) {
  if (rows.size() > 1 || columns.size() > 1) return {};
  const std::int64_t row = rows.empty() ? 0 : a.strides[rows[0]],
                     column = columns.empty() ? 0 : a.strides[columns[0]];
  const std::int64_t row_count = product(c, rows), column_count = product(c, columns);
  if ((column == 1 || columns.empty()) && (rows.empty() || row >= column_count))
    return {true, false, std::max(row, column_count)};
  if ((row == 1 || rows.empty()) && (columns.empty() || column >= row_count))
    return {true, true, std::max(column, row_count)};
  return {};
}

// Calls gemm for every tuple of the batch labels.
std::function<void()> loop_over_batch(const Contraction& c, const std::vector<Label>& batch,
                                      Gemm gemm, const std::vector<void*>& operands,
                                      bool is_swapped) {
  struct Call {
    const char *a, *b;
    char* c;
  };
  std::vector<Call> calls;
  std::vector<std::int64_t> at(batch.size(), 0);
  const std::int64_t count = product(c, batch), item = size_of(c.dtype);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t offset[3] = {};
    for (std::size_t l = 0; l < batch.size(); ++l) {
      offset[0] += at[l] * c.out.strides[batch[l]];
      for (int k : {0, 1}) offset[k + 1] += at[l] * c.in[k].strides[batch[l]];
    }
    char* base[3];
    for (int o = 0; o < 3; ++o) base[o] = static_cast<char*>(operands[o]) + offset[o] * item;
    calls.push_back({base[is_swapped ? 2 : 1], base[is_swapped ? 1 : 2], base[0]});
    for (std::size_t l = batch.size(); l-- > 0;) {
      if (++at[l] < c.extents[batch[l]]) break;
      at[l] = 0;
    }
  }
  if (calls.size() == 1) return [gemm, call = calls[0]] { gemm(call.a, call.b, call.c); };
  return [gemm, calls] {
    for (const Call& call : calls) gemm(call.a, call.b, call.c);
  };
}

// The contraction as it lies in memory, if every operand is a matrix (over the batch labels).
PeerRun direct(const Peer& peer, const Contraction& c, const Classes& classes,
               const std::vector<void*>& operands) {
  Matrix out = as_matrix(c, c.out, classes.m, classes.n);
  if (!out.fits) return {};
  // A transposed result is the product the other way round.
  const bool is_swapped = out.is_transposed;
  const std::vector<Label>&m = is_swapped ? classes.n : classes.m,
        &n = is_swapped ? classes.m : classes.n;
  const Matrix a = as_matrix(c, c.in[is_swapped ? 1 : 0], m, classes.k);
  const Matrix b = as_matrix(c, c.in[is_swapped ? 0 : 1], classes.k, n);
  if (!a.fits || !b.fits) return {};
  const GemmShape shape{c.dtype,         product(c, m),   product(c, n), product(c, classes.k),
                        a.is_transposed, b.is_transposed, a.ld,          b.ld,
                        out.ld};
  Gemm gemm;
  std::string how = "gemm";
  if (m.empty() && n.empty() && c.in[0].strides[classes.k[0]] == 1 &&
      c.in[1].strides[classes.k[0]] == 1) {
    gemm = peer.dot(c.dtype, shape.k);
    how = "dot";
  } else if (n.empty()) {
    GemmShape vector = shape;
    vector.ldb = classes.k.empty() ? 1 : c.in[is_swapped ? 0 : 1].strides[classes.k[0]];
    vector.ldc = m.empty() ? 1 : c.out.strides[m[0]];
    gemm = peer.gemv(vector);
    how = "gemv";
  }
  if (!gemm) {
    gemm = peer.gemm(shape);
    how = "gemm";
  }
  if (!gemm) return {};
  return {loop_over_batch(c, classes.batch, gemm, operands, is_swapped),
          classes.batch.empty() ? how : "loop of " + how};
}

// A dense array over labels, row-major in that order.
struct Dense {
  Access access;
  std::shared_ptr<void> memory;
};
Dense dense_over(const Contraction& c, const std::vector<Label>& labels) {
  Dense dense{{std::vector<std::int64_t>(c.extents.size(), 0)}, nullptr};
  std::int64_t stride = 1;
  for (auto l = labels.rbegin(); l != labels.rend(); ++l) {
    dense.access.strides[*l] = stride;
    stride *= c.extents[*l];
  }
  const auto bytes = static_cast<std::size_t>((stride * size_of(c.dtype) + 63) / 64 * 64);
  dense.memory.reset(std::aligned_alloc(64, bytes), std::free);
  return dense;
}

std::function<void()> copy(const Contraction& c, const Access& from, const Access& to, void* source,
                           void* target) {
  std::vector<int> labels;
  Layout in{c.dtype}, out{c.dtype};
  for (Label l = 0; l < c.label_count(); ++l) {
    if (from.strides[l] == 0) continue;
    labels.push_back(l);
    in.extents.push_back(c.extents[l]);
    in.strides.push_back(from.strides[l]);
    out.extents.push_back(c.extents[l]);
    out.strides.push_back(to.strides[l]);
  }
  CompileOptions options;
  options.output = out;
  const std::vector<std::vector<int>> inputs{labels};
  const std::vector<Layout> layouts{in};
  const Kernel kernel =
      value_or_throw(Engine::standard().try_compile(inputs, labels, layouts, options));
  return [kernel, source, target] {
    void* const pointers[] = {target, source};
    (void)kernel.run(pointers);
  };
}

std::vector<Label> joined(std::vector<Label> a, const std::vector<Label>& b,
                          const std::vector<Label>& c) {
  a.insert(a.end(), b.begin(), b.end());
  a.insert(a.end(), c.begin(), c.end());
  return a;
}

PeerRun transposed(const Peer& peer, const Contraction& c, const Classes& classes,
                   const std::vector<void*>& operands) {
  const GemmShape shape{
      c.dtype, product(c, classes.m), product(c, classes.n), product(c, classes.k), false,
      false,   product(c, classes.k), product(c, classes.n), product(c, classes.n)};
  const Gemm gemm = peer.gemm(shape);
  if (!gemm) return {};
  const Dense a = dense_over(c, joined(classes.batch, classes.m, classes.k)),
              b = dense_over(c, joined(classes.batch, classes.k, classes.n)),
              out = dense_over(c, joined(classes.batch, classes.m, classes.n));
  auto copy_a = copy(c, c.in[0], a.access, operands[1], a.memory.get()),
       copy_b = copy(c, c.in[1], b.access, operands[2], b.memory.get()),
       copy_out = copy(c, out.access, c.out, out.memory.get(), operands[0]);
  const std::int64_t batch = product(c, classes.batch), item = size_of(c.dtype);
  auto run = [=, step_a = shape.m * shape.k * item, step_b = shape.k * shape.n * item,
              step_c = shape.m * shape.n * item] {
    copy_a();
    copy_b();
    for (std::int64_t i = 0; i < batch; ++i)
      gemm(static_cast<char*>(a.memory.get()) + i * step_a,
           static_cast<char*>(b.memory.get()) + i * step_b,
           static_cast<char*>(out.memory.get()) + i * step_c);
    copy_out();
  };
  return {run, "transposed gemm"};
}

PeerRun unary(const Peer& peer, const Contraction& c, const std::vector<void*>& operands) {
  if (c.label_count() != 2 || c.is_reduced(0) || c.is_reduced(1)) return {};
  // Labels fall in output stride: label 1 is contiguous there, label 0 must be in the input.
  if (c.out.strides[1] != 1 || c.in[0].strides[0] != 1 || c.out.strides[0] != c.extents[1] ||
      c.in[0].strides[1] != c.extents[0])
    return {};
  const auto run = peer.transpose(c.dtype, c.extents[1], c.extents[0]);
  if (!run) return {};
  return {[run, in = operands[1], out = operands[0]] { run(in, out); }, "omatcopy"};
}

}  // namespace

PeerRun peer_contraction(const Peer& peer, const Contraction& c,
                         const std::vector<void*>& operands) {
  if (c.in.size() == 1) return unary(peer, c, operands);
  if (c.in.size() != 2) return {};
  const Classes classes = classify(c);
  if (!classes.is_plain || classes.k.empty()) return {};
  for (const Access& a : c.in)
    for (std::int64_t stride : a.strides)
      if (stride < 0) return {};
  if (PeerRun run = direct(peer, c, classes, operands); run.run) return run;
  return transposed(peer, c, classes, operands);
}

}  // namespace einjit_bench
