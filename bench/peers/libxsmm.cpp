// libxsmm's JIT-compiled kernels, for products up to a few hundred.
#include "peers/peers.hpp"

namespace einjit_bench {
namespace {

using Dispatch = void*(int, int, int, int, int, int);
using Kernel = void(const void*, const void*, void*);

class LibXsmm final : public Peer {
 public:
  explicit LibXsmm(const Library& library)
      : sgemm_(library.symbol<Dispatch>("peer_xsmm_sgemm")),
        dgemm_(library.symbol<Dispatch>("peer_xsmm_dgemm")) {}

  Gemm gemm(const GemmShape& s) const override {
    if (s.a_is_transposed || s.b_is_transposed || s.m * s.n * s.k > 512LL * 512 * 512) return {};
    Dispatch* dispatch = s.dtype == einjit::DType::f32 ? sgemm_ : dgemm_;
    // Row-major C = A B is column-major C' = B' A'.
    auto* kernel = reinterpret_cast<Kernel*>(
        dispatch(static_cast<int>(s.n), static_cast<int>(s.m), static_cast<int>(s.k),
                 static_cast<int>(s.ldb), static_cast<int>(s.lda), static_cast<int>(s.ldc)));
    if (!kernel) return {};
    return [kernel](const void* a, const void* b, void* c) { kernel(b, a, c); };
  }

 private:
  Dispatch *sgemm_, *dgemm_;
};

}  // namespace

std::unique_ptr<Peer> load_libxsmm(std::string& why) {
#ifdef EINJIT_XSMM_MODULE
  const auto library = Library::open({EINJIT_XSMM_MODULE}, why);
  if (!library) return nullptr;
  auto peer = std::make_unique<LibXsmm>(*library);
  peer->name = "libxsmm";
  peer->version = library->symbol<const char*()>("peer_xsmm_version")();
  peer->kernel = library->symbol<const char*()>("peer_xsmm_arch")();
  return peer;
#else
  why = "built without libxsmm-dev";
  return nullptr;
#endif
}

}  // namespace einjit_bench
