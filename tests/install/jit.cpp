#include <einjit/einjit.hpp>
#include <vector>

int main() {
  std::vector<float> a(20, 1), sums(5);
  einjit::compile<float>("ij->j", {{4, 5}})(sums.data(), a.data());
  return sums[4] == 4 ? 0 : 1;
}
