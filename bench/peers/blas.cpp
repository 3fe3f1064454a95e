// OpenBLAS and BLIS through CBLAS.
#include <cstdlib>

#include "einjit/target.hpp"
#include "peers/peers.hpp"

namespace einjit_bench {
namespace {

using einjit::DType;

enum : int { kRowMajor = 101, kNoTrans = 111, kTrans = 112 };

template <class T>
using GemmFunction = void(int, int, int, int, int, int, T, const T*, int, const T*, int, T, T*,
                          int);
template <class T>
using GemvFunction = void(int, int, int, int, T, const T*, int, const T*, int, T, T*, int);
template <class T>
using DotFunction = T(int, const T*, int, const T*, int);
template <class T>
using CopyFunction = void(int, int, int, int, T, const T*, int, T*, int);

template <class T>
struct Functions {
  GemmFunction<T>* gemm;
  GemvFunction<T>* gemv;
  DotFunction<T>* dot;
  CopyFunction<T>* omatcopy;

  Functions(const Library& library, char letter) {
    auto name = [&](const char* rest) { return std::string("cblas_") + letter + rest; };
    gemm = library.symbol<GemmFunction<T>>(name("gemm").c_str());
    gemv = library.symbol<GemvFunction<T>>(name("gemv").c_str());
    dot = library.symbol<DotFunction<T>>(name("dot").c_str());
    omatcopy = library.symbol<CopyFunction<T>>(name("omatcopy").c_str());
  }
};

template <class T>
Gemm make_gemm(GemmFunction<T>* gemm, const GemmShape& s) {
  if (!gemm) return {};
  return [=](const void* a, const void* b, void* c) {
    gemm(kRowMajor, s.a_is_transposed ? kTrans : kNoTrans, s.b_is_transposed ? kTrans : kNoTrans,
         static_cast<int>(s.m), static_cast<int>(s.n), static_cast<int>(s.k), T(1),
         static_cast<const T*>(a), static_cast<int>(s.lda), static_cast<const T*>(b),
         static_cast<int>(s.ldb), T(0), static_cast<T*>(c), static_cast<int>(s.ldc));
  };
}

template <class T>
Gemm make_gemv(GemvFunction<T>* gemv, const GemmShape& s) {
  if (!gemv) return {};
  const std::int64_t rows = s.a_is_transposed ? s.k : s.m, columns = s.a_is_transposed ? s.m : s.k;
  return [=](const void* a, const void* x, void* y) {
    gemv(kRowMajor, s.a_is_transposed ? kTrans : kNoTrans, static_cast<int>(rows),
         static_cast<int>(columns), T(1), static_cast<const T*>(a), static_cast<int>(s.lda),
         static_cast<const T*>(x), static_cast<int>(s.ldb), T(0), static_cast<T*>(y),
         static_cast<int>(s.ldc));
  };
}

template <class T>
Gemm make_dot(DotFunction<T>* dot, std::int64_t n) {
  if (!dot) return {};
  return [=](const void* a, const void* b, void* c) {
    *static_cast<T*>(c) =
        dot(static_cast<int>(n), static_cast<const T*>(a), 1, static_cast<const T*>(b), 1);
  };
}

template <class T>
std::function<void(const void*, void*)> make_transpose(CopyFunction<T>* copy, std::int64_t rows,
                                                       std::int64_t columns) {
  if (!copy) return {};
  return [=](const void* in, void* out) {
    copy(kRowMajor, kTrans, static_cast<int>(rows), static_cast<int>(columns), T(1),
         static_cast<const T*>(in), static_cast<int>(columns), static_cast<T*>(out),
         static_cast<int>(rows));
  };
}

class Blas final : public Peer {
 public:
  explicit Blas(const Library& library) : f32_(library, 's'), f64_(library, 'd') {}

  Gemm gemm(const GemmShape& s) const override {
    return s.dtype == DType::f32 ? make_gemm(f32_.gemm, s) : make_gemm(f64_.gemm, s);
  }
  Gemm gemv(const GemmShape& s) const override {
    return s.dtype == DType::f32 ? make_gemv(f32_.gemv, s) : make_gemv(f64_.gemv, s);
  }
  Gemm dot(DType type, std::int64_t n) const override {
    return type == DType::f32 ? make_dot(f32_.dot, n) : make_dot(f64_.dot, n);
  }
  std::function<void(const void*, void*)> transpose(DType type, std::int64_t rows,
                                                    std::int64_t columns) const override {
    return type == DType::f32 ? make_transpose(f32_.omatcopy, rows, columns)
                              : make_transpose(f64_.omatcopy, rows, columns);
  }

 private:
  Functions<float> f32_;
  Functions<double> f64_;
};

}  // namespace

std::unique_ptr<Peer> load_openblas(int threads, std::string& why) {
  // Debian's release is older than this CPU and would fall back to an SSE kernel.
  // What the environment asks for is overruled: a peer runs its right kernel.
  setenv("OPENBLAS_CORETYPE", cpu_has_avx512() ? "SkylakeX" : "Haswell", 1);
  unsetenv("OPENBLAS_L2_SIZE");
  setenv("OPENBLAS_NUM_THREADS", std::to_string(threads).c_str(), 1);
  const auto library = Library::open(
      {"/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", "libopenblas.so.0"}, why);
  if (!library) return nullptr;
  auto peer = std::make_unique<Blas>(*library);
  peer->name = "OpenBLAS";
  if (auto* config = library->symbol<char*()>("openblas_get_config")) peer->version = config();
  if (auto* core = library->symbol<char*()>("openblas_get_corename")) peer->kernel = core();
  return peer;
}

std::unique_ptr<Peer> load_blis(int threads, std::string& why) {
  // skx, haswell; zen3 on AMD before Zen 5, whose AVX-512 is no wider inside.
  const bool is_narrow = __builtin_cpu_is("amd") && einjit::Target::host().datapath_bytes != 0;
  const char* type = is_narrow ? "6" : cpu_has_avx512() ? "0" : "3";
  setenv("BLIS_ARCH_TYPE", type, 1);
  setenv("BLIS_NUM_THREADS", std::to_string(threads).c_str(), 1);
  const auto library =
      Library::open({"/usr/lib/x86_64-linux-gnu/blis-pthread/libblis.so.4", "libblis.so.4"}, why);
  if (!library) return nullptr;
  if (auto* init = library->symbol<void()>("bli_init")) init();
  auto peer = std::make_unique<Blas>(*library);
  peer->name = "BLIS";
  if (auto* version = library->symbol<const char*()>("bli_info_get_version_str"))
    peer->version = version();
  auto* id = library->symbol<int()>("bli_arch_query_id");
  auto* text = library->symbol<const char*(int)>("bli_arch_string");
  peer->kernel = id && text ? text(id()) : "?";
  return peer;
}

}  // namespace einjit_bench
