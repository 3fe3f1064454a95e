// Files that are whole or not there.
#pragma once

#include <string>
#include <string_view>

#include "einjit/error.hpp"

namespace einjit {

// Writes the pieces one after the other, beside the path, and renames: there is never half a file.
// A link's target is replaced, not the link; what is no regular file (a device, a pipe) is written.
Result<void> write_file(const std::string& path, std::initializer_list<std::string_view> pieces);

}  // namespace einjit
