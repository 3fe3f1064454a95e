#include <stdio.h>

#include "matmul.h"
#include "row_sums.h"

int main(void) {
  static float a[20 * 30], b[30 * 40], c[20 * 40];
  static double d[20 * 40], sums[20];
  static _Alignas(64) char scratch[matmul_scratch_bytes + row_sums_scratch_bytes + 64];
  for (int i = 0; i < 20 * 30; ++i) a[i] = 1;
  for (int i = 0; i < 30 * 40; ++i) b[i] = 2;
  for (int i = 0; i < 20 * 40; ++i) c[i] = 5, d[i] = 1;
  matmul(c, a, b, 0.5, 2, scratch);
  row_sums(sums, d, scratch);
  printf("%g %g\n", c[799], sums[19]);
  return !(c[0] == 40 && c[799] == 40 && sums[0] == 40 && sums[19] == 40);
}
