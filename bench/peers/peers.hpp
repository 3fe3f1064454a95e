// The libraries a user could call instead, each loaded by itself (RTLD_LOCAL | RTLD_DEEPBIND: they
// export the same symbols) and set to its right kernel for this CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "einjit/layout.hpp"

namespace einjit_bench {

// C (m x n) = op(A) (m x k) * op(B) (k x n), row-major, leading dimensions in elements.
struct GemmShape {
  einjit::DType dtype;
  std::int64_t m, n, k;
  bool a_is_transposed, b_is_transposed;
  std::int64_t lda, ldb, ldc;
};
using Gemm = std::function<void(const void* a, const void* b, void* c)>;

class Peer {
 public:
  virtual ~Peer() = default;
  std::string name, version, kernel;  // kernel: which one it chose for this CPU
  // Null where the library has no such function.
  virtual Gemm gemm(const GemmShape& shape) const = 0;
  // y (m) = op(A) x, and the sum of products of two vectors.
  virtual Gemm gemv(const GemmShape&) const { return {}; }
  virtual Gemm dot(einjit::DType, std::int64_t) const { return {}; }
  // out (columns x rows) = in (rows x columns) transposed.
  virtual std::function<void(const void* in, void* out)> transpose(einjit::DType, std::int64_t,
                                                                   std::int64_t) const {
    return {};
  }
};

struct PeerSet {
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<std::string> missing;  // "BLIS: libblis.so.4: cannot open ..."
};

// Loads all of them; `threads` is set before a library starts.
PeerSet load_peers(int threads);

// In the files of their own; null and a word in `why` where the library is not there.
std::unique_ptr<Peer> load_openblas(int threads, std::string& why);
std::unique_ptr<Peer> load_blis(int threads, std::string& why);
std::unique_ptr<Peer> load_onednn(int threads, std::string& why);
std::unique_ptr<Peer> load_libxsmm(std::string& why);

// A shared library; symbols are looked up by name.
class Library {
 public:
  static std::optional<Library> open(const std::vector<std::string>& names, std::string& why);
  template <class F>
  F* symbol(const char* name) const {
    return reinterpret_cast<F*>(find(name));
  }

 private:
  explicit Library(void* handle) : handle_(handle) {}
  void* find(const char* name) const;
  void* handle_;
};

bool cpu_has_avx512();

}  // namespace einjit_bench
