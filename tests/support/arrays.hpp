// Small arrays of integers, and a product to compare with.
#pragma once

#include <cstdint>
#include <vector>

namespace einjit_test {

template <class T>
std::vector<T> ramp(std::int64_t count, int modulus) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(i * 7 % modulus - modulus / 2);
  return values;
}

template <class T>
std::vector<T> matmul(const std::vector<T>& a, const std::vector<T>& b, int m, int k, int n) {
  std::vector<T> c(static_cast<std::size_t>(m * n));
  for (int i = 0; i < m; ++i)
    for (int l = 0; l < k; ++l)
      for (int j = 0; j < n; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
  return c;
}

}  // namespace einjit_test
