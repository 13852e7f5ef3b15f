// JSON documents and JSON lines (nlohmann). Keys keep their order.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

namespace zoetrope {

using Json = nlohmann::ordered_json;

// Throws ConfigError with the path, the line and the parser's reason.
Json read_json(const std::filesystem::path& path);
Json parse_json(const std::string& text, const std::string& origin);
void write_json(const std::filesystem::path& path, const Json& value);  // atomic, indented by 2

// Calls `use(object, line_number)` for each line that is not blank; a bad line throws DataError
// with path:line. Reads as a stream: memory does not grow with the file.
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json&, int line_number)>& use);

}  // namespace zoetrope
