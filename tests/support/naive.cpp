#include "support/naive.hpp"

#include <cmath>
#include <map>
#include <stdexcept>

namespace einjit_test {
namespace {

// Ellipsis axes are named by digits from the right: '0' is the last.
std::string expand(const std::string& term, std::size_t rank) {
  std::string labels;
  std::size_t letters = 0;
  for (char c : term) letters += c != ' ' && c != '.';
  for (std::size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (term[i] == '.') {
      for (std::size_t e = rank - letters; e-- > 0;) labels += static_cast<char>('0' + e);
      i += 2;
    } else {
      labels += term[i];
    }
  }
  return labels;
}

}  // namespace

NaiveResult naive_einsum(const std::string& expression, const std::vector<NaiveOperand>& operands) {
  std::string left = expression, right;
  const std::size_t arrow = expression.find("->");
  if (arrow != std::string::npos) {
    left = expression.substr(0, arrow);
    right = expression.substr(arrow + 2);
  }
  std::vector<std::string> terms(1);
  for (char c : left)
    if (c == ',')
      terms.emplace_back();
    else
      terms.back() += c;
  std::map<char, std::int64_t> extent;
  std::map<char, int> count;
  std::size_t ellipsis = 0;
  for (std::size_t k = 0; k < terms.size(); ++k) {
    const bool has_ellipsis = terms[k].find('.') != std::string::npos;
    terms[k] = expand(terms[k], operands[k].extents.size());
    std::size_t axes = 0;
    for (std::size_t a = 0; a < terms[k].size(); ++a) {
      const char l = terms[k][a];
      ++count[l];
      axes += l >= '0' && l <= '9';
      auto [it, added] = extent.try_emplace(l, operands[k].extents[a]);
      if (!added && it->second == 1) it->second = operands[k].extents[a];
    }
    if (has_ellipsis) ellipsis = std::max(ellipsis, axes);
  }
  std::string output;
  if (arrow != std::string::npos) {
    std::size_t letters = 0;
    for (char c : right) letters += c != ' ' && c != '.';
    output = expand(right, letters + ellipsis);
  } else {
    for (std::size_t e = ellipsis; e-- > 0;) output += static_cast<char>('0' + e);
    for (auto [l, n] : count)
      if (n == 1 && !(l >= '0' && l <= '9')) output += l;
  }
  std::string order = output;
  NaiveResult result;
  std::int64_t size = 1;
  for (char l : output) {
    result.extents.push_back(extent[l]);
    size *= extent[l];
  }
  for (auto [l, n] : extent)
    if (output.find(l) == std::string::npos) {
      order += l;
      result.terms *= static_cast<double>(n);
    }
  result.values.assign(size, 0);
  result.magnitude.assign(size, 0);
  std::vector<std::int64_t> index(order.size(), 0);
  for (auto [l, n] : extent)
    if (n == 0) return result;
  for (;;) {
    double product = 1, magnitude = 1;
    for (std::size_t k = 0; k < terms.size(); ++k) {
      std::int64_t offset = 0;
      for (std::size_t a = 0; a < terms[k].size(); ++a)
        if (operands[k].extents[a] != 1)
          offset += index[order.find(terms[k][a])] * operands[k].strides[a];
      product *= operands[k].data[offset];
      magnitude *= std::abs(operands[k].data[offset]);
    }
    std::int64_t at = 0;
    for (std::size_t a = 0; a < output.size(); ++a) at = at * result.extents[a] + index[a];
    result.values[at] += product;
    result.magnitude[at] += magnitude;
    std::size_t a = order.size();
    for (;;) {
      if (a-- == 0) return result;
      if (++index[a] < extent[order[a]]) break;
      index[a] = 0;
    }
  }
}

}  // namespace einjit_test
