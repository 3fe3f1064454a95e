#include "cli/commands.hpp"
#include "cli/write_file.hpp"
#include "einjit/ahead_of_time.hpp"

namespace einjit {
namespace {

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
  options.path = parse_path(arguments.path);
  if (arguments.is_scaled) options.scaling = Scaling::alpha_beta;
  const AheadOfTime made = value_or_throw(try_compile_ahead_of_time(
      arguments.expression, layouts,
      arguments.name.empty() ? name_of_file(arguments.object) : arguments.name,
      parse_target(arguments.target), options));
  value_or_throw(write_file(arguments.object, {made.object}));
  if (!arguments.header.empty()) value_or_throw(write_file(arguments.header, {made.header}));
  return 0;
}

}  // namespace einjit
