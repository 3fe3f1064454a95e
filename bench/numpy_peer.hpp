// np.einsum in a Python process of its own, asked for one timing at a time.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "row.hpp"

namespace einjit_bench {

class NumpyPeer {
 public:
  // Null with a reason if there is no python3 with numpy.
  static std::unique_ptr<NumpyPeer> start(const std::string& script, std::string& why);
  ~NumpyPeer();
  const std::string& version() const { return version_; }
  // Median seconds of the better of plain and optimised einsum, on so many sets of arrays in turn.
  double time(const Row& row, double seconds, std::int64_t sets);

 private:
  NumpyPeer() = default;
  std::string read_line();
  FILE *to_ = nullptr, *from_ = nullptr;
  int process_ = -1;
  std::string version_;
};

}  // namespace einjit_bench
