// CSV by RFC 4180: quotes, commas and newlines inside fields.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace zoetrope::data {

struct CsvRow {
  int line = 0;  // where it begins
  std::vector<std::string> fields;
};

// Calls `use` for each row that is not blank. Memory does not grow with the file. ConfigError with
// path:line for a quoted field that is never closed and for text behind a closing quote.
void for_each_csv_row(const std::filesystem::path& path,
                      const std::function<void(const CsvRow&)>& use);

}  // namespace zoetrope::data
