#include "load/open_codegen.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace einjit {
namespace {

constexpr const char* kLibrary = "libeinjit_codegen.so";

std::string program_directory() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  const std::string program(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  return program.substr(0, program.rfind('/') + 1);
}

std::vector<std::string> places() {
  if (const char* given = ::secure_getenv("EINJIT_CODEGEN_LIBRARY"); given && *given)
    return {given};
  std::vector<std::string> places;
  if (const std::string directory = program_directory(); !directory.empty())
    places = {directory + kLibrary, directory + "../" + EINJIT_LIBRARY_DIRECTORY + "/" + kLibrary};
  // The plain name: where the program's run path and the system look.
  for (const char* known : {kLibrary, EINJIT_INSTALLED_LIBRARY, EINJIT_BUILT_LIBRARY})
    places.emplace_back(known);
  return places;
}

OpenCodegen find() {
  std::string tried;
  for (const std::string& place : places()) {
    if (void* library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      if (void* open = ::dlsym(library, kOpenCodegen)) return reinterpret_cast<OpenCodegen>(open);
      throw std::runtime_error(fmt::format("{} is not einjit's code generator", place));
    }
    tried += fmt::format("\n  {}", ::dlerror());
  }
  throw std::runtime_error(fmt::format("the code generator cannot be opened:{}", tried));
}

}  // namespace

Codegen& open_codegen(const Target& target) {
  // Never destroyed: setting LLVM up takes longer than a kernel, and threads may outlive main().
  static auto* const opened = new std::map<std::string, std::unique_ptr<Codegen>>();
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::unique_ptr<Codegen>& codegen = (*opened)[target.to_string()];
  if (codegen) return *codegen;
  static const OpenCodegen open = find();  // an exception leaves it to be tried again
  codegen.reset(open(&target, EINJIT_BUILD_ID));
  if (codegen) return *codegen;
  throw std::runtime_error(
      fmt::format("{} is of another build of einjit than this program", kLibrary));
}

}  // namespace einjit
