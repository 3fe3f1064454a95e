#include <dlfcn.h>

#include <cstdlib>

#include "peers/peers.hpp"

namespace einjit_bench {

std::optional<Library> Library::open(const std::vector<std::string>& names, std::string& why) {
  for (const std::string& name : names) {
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND))
      return Library(handle);
    why = dlerror();
  }
  return std::nullopt;
}

void* Library::find(const char* name) const { return dlsym(handle_, name); }

bool cpu_has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

PeerSet load_peers(int threads) {
  PeerSet set;
  auto add = [&](const char* name, auto&& load) {
    std::string why;
    if (auto peer = load(why))
      set.peers.push_back(std::move(peer));
    else
      set.missing.push_back(std::string(name) + ": " + why);
  };
  add("OpenBLAS", [&](std::string& why) { return load_openblas(threads, why); });
  add("BLIS", [&](std::string& why) { return load_blis(threads, why); });
  add("oneDNN", [&](std::string& why) { return load_onednn(threads, why); });
  if (threads == 1) add("libxsmm", [&](std::string& why) { return load_libxsmm(why); });
  return set;
}

}  // namespace einjit_bench
