// oneDNN's row-major sgemm (there is no dgemm).
#include <cstdlib>

#include "peers/peers.hpp"

namespace einjit_bench {
namespace {

using Sgemm = int(char, char, std::int64_t, std::int64_t, std::int64_t, float, const float*,
                  std::int64_t, const float*, std::int64_t, float, float*, std::int64_t);
struct Version {
  int major, minor, patch;
};

class OneDnn final : public Peer {
 public:
  explicit OneDnn(Sgemm* sgemm) : sgemm_(sgemm) {}
  Gemm gemm(const GemmShape& s) const override {
    if (s.dtype != einjit::DType::f32) return {};
    return [s, sgemm = sgemm_](const void* a, const void* b, void* c) {
      sgemm(s.a_is_transposed ? 'T' : 'N', s.b_is_transposed ? 'T' : 'N', s.m, s.n, s.k, 1.0f,
            static_cast<const float*>(a), s.lda, static_cast<const float*>(b), s.ldb, 0.0f,
            static_cast<float*>(c), s.ldc);
    };
  }

 private:
  Sgemm* sgemm_;
};

}  // namespace

std::unique_ptr<Peer> load_onednn(int threads, std::string& why) {
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  const auto library = Library::open({"libdnnl.so.2", "libdnnl.so.3"}, why);
  if (!library) return nullptr;
  auto* sgemm = library->symbol<Sgemm>("dnnl_sgemm");
  if (!sgemm) {
    why = "no dnnl_sgemm";
    return nullptr;
  }
  auto peer = std::make_unique<OneDnn>(sgemm);
  peer->name = "oneDNN";
  if (auto* version = library->symbol<const Version*()>("dnnl_version"))
    peer->version = std::to_string(version()->major) + "." + std::to_string(version()->minor) +
                    "." + std::to_string(version()->patch);
  auto* isa = library->symbol<int()>("dnnl_get_effective_cpu_isa");
  peer->kernel = isa ? "isa mask " + std::to_string(isa()) : "?";
  return peer;
}

}  // namespace einjit_bench
