// libxsmm comes as a static library only: this module holds it, so that it can be loaded apart
// from the other peers. Plain C functions; kernels are dispatched once and called directly.
#include <libxsmm.h>

extern "C" {

const char* peer_xsmm_arch() {
  libxsmm_init();
  return libxsmm_get_target_arch();
}
const char* peer_xsmm_version() { return LIBXSMM_VERSION; }

// Column-major kernels: c (m x n) = a (m x k) * b (k x n); null if there is none for the shape.
void* peer_xsmm_sgemm(int m, int n, int k, int lda, int ldb, int ldc) {
  const float alpha = 1, beta = 0;
  return reinterpret_cast<void*>(
      libxsmm_smmdispatch(m, n, k, &lda, &ldb, &ldc, &alpha, &beta, nullptr, nullptr));
}
void* peer_xsmm_dgemm(int m, int n, int k, int lda, int ldb, int ldc) {
  const double alpha = 1, beta = 0;
  return reinterpret_cast<void*>(
      libxsmm_dmmdispatch(m, n, k, &lda, &ldb, &ldc, &alpha, &beta, nullptr, nullptr));
}
}
