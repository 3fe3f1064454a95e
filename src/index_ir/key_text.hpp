// Keys are made for every lookup: texts and numbers, put one behind the other without a format to
// read.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace einjit {

class KeyText {
 public:
  explicit KeyText(std::size_t expected_size) { text_.reserve(expected_size); }

  template <class... Parts>
  void add(const Parts&... parts) {
    (put(parts), ...);
  }
  std::string take() { return std::move(text_); }

 private:
  void put(std::string_view part) { text_ += part; }
  void put(std::integral auto number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    text_.append(digits, end);
  }

  std::string text_;
};

}  // namespace einjit
