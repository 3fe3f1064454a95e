// An object file for the loader's tests: code, constants of its own and a call.
float fmaf(float, float, float);

static const float kTable[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

void einjit_unit(char* const* pointers, const long long* slots, const double* scale) {
  float* out = (float*)pointers[0];
  for (int i = 0; i < 16; ++i) out[i] = fmaf(kTable[(i + slots[0]) & 15], 2.0f, (float)scale[0]);
}
