#include "cli/write_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace einjit {

Result<void> write_file(const std::string& path, std::initializer_list<std::string_view> pieces) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
  const std::string target = error ? path : real.string();
  const bool is_special =
      std::filesystem::exists(target, error) && !std::filesystem::is_regular_file(target, error);
  const std::string temporary = is_special ? target : fmt::format("{}.{}.tmp", target, getpid());
  auto fail = [&](std::string_view what) {
    const std::string why = std::strerror(errno);
    if (!is_special) std::remove(temporary.c_str());
    return std::unexpected(Diagnostic{fmt::format("{}: cannot {}: {}", path, what, why)});
  };
  std::ofstream file(temporary, std::ios::binary);
  if (!file) return fail("create it");
  for (std::string_view piece : pieces)
    file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
  file.close();
  if (!file) return fail("write it");
  if (!is_special && std::rename(temporary.c_str(), target.c_str()) != 0) return fail("rename it");
  return {};
}

}  // namespace einjit
