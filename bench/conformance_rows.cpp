#include "conformance_rows.hpp"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace einjit_bench {

using einjit::DType;
using einjit::Layout;
using nlohmann::json;

namespace {

Row row_of(const json& c, DType dtype) {
  Row row{"conformance", c["id"].get<std::string>(), c["expr"].get<std::string>(), dtype, {}};
  for (std::size_t k = 0; k < c["shapes"].size(); ++k) {
    Layout layout = Layout::row_major(dtype, c["shapes"][k].get<std::vector<std::int64_t>>());
    if (c.contains("strides") && !c["strides"][k].is_null())
      layout.strides = c["strides"][k].get<std::vector<std::int64_t>>();
    row.operands.push_back(std::move(layout));
  }
  return row;
}

}  // namespace

std::vector<Row> conformance() {
  std::ifstream file(EINJIT_CONFORMANCE);
  if (!file)
    throw std::runtime_error(fmt::format("the conformance list is not at {}", EINJIT_CONFORMANCE));
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    const json c = json::parse(line);
    const std::string dtype = c.value("dtype", "");
    if (c["expect"].contains("error") || (dtype != "float32" && dtype != "float64")) continue;
    rows.push_back(row_of(c, dtype == "float32" ? DType::f32 : DType::f64));
  }
  return rows;
}

}  // namespace einjit_bench
