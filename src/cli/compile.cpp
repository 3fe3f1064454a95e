#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/commands.hpp"
#include "einjit/ahead_of_time.hpp"

namespace einjit {
namespace {

// Written beside the path and renamed: there is never half a file.
void write_whole(const std::string& path, const std::string& bytes) {
  const std::string aside = fmt::format("{}.{}.part", path, ::getpid());
  std::FILE* file = std::fopen(aside.c_str(), "wb");
  const bool is_written = file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool is_closed = file && std::fclose(file) == 0;
  if (is_written && is_closed && std::rename(aside.c_str(), path.c_str()) == 0) return;
  const int error = errno;
  ::unlink(aside.c_str());
  throw Error({fmt::format("cannot write {}: {}", path, std::strerror(error))});
}

// "dir/fast-matmul.o" is the function fast_matmul.
std::string name_of_file(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  name = name.substr(0, name.find('.'));
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}

}  // namespace

int run_compile(const CompileArguments& arguments) {
  const std::vector<Layout> layouts = parse_shapes(arguments.shapes, parse_dtype(arguments.dtype));
  CompileOptions options;
  options.schedule = arguments.schedule;
  if (arguments.is_scaled) options.scaling = Scaling::alpha_beta;
  const AheadOfTime made = value_or_throw(try_compile_ahead_of_time(
      arguments.expression, layouts,
      arguments.name.empty() ? name_of_file(arguments.object) : arguments.name,
      parse_target(arguments.target), options));
  write_whole(arguments.object, made.object);
  if (!arguments.header.empty()) write_whole(arguments.header, made.header);
  return 0;
}

}  // namespace einjit
