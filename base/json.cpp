// JSON reading with places in the messages.
#include "base/json.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope {
namespace {

// "[json.exception.parse_error.101] parse error at line 2, column 5: reason" -> "reason".
std::string reason_of(const Json::parse_error& error) {
  std::string text = error.what();
  std::size_t start = text.find(": ");
  return start == std::string::npos ? text : text.substr(start + 2);
}

}  // namespace

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

Json parse_json(const std::string& text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    std::size_t end = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
    auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    throw ConfigError(concat(origin, ":", line, ": not valid JSON: ", reason_of(error)));
  } catch (const Json::exception& error) {
    throw ConfigError(concat(origin, ": not valid JSON: ", error.what()));
  }
}

void write_json(const std::filesystem::path& path, const Json& value) {
  std::string text;
  try {
    text = value.dump(2);
  } catch (const Json::exception& error) {
    throw Error(concat("cannot write ", path, ": ", error.what()));
  }
  write_file_atomically(path, text + "\n");
}

void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json&, int line_number)>& use) {
  ZOETROPE_CHECK_CONFIG(!std::filesystem::is_directory(path), "cannot read ", path,
                        ": it is a folder");
  std::ifstream in(path);
  ZOETROPE_CHECK_CONFIG(in.is_open(), "cannot open ", path, ": ", std::strerror(errno));
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Json object;
    try {
      object = Json::parse(line);
    } catch (const Json::parse_error& error) {
      throw DataError(concat(path.string(), ":", number, ": not valid JSON: ", reason_of(error)));
    } catch (const Json::exception& error) {
      throw DataError(concat(path.string(), ":", number, ": not valid JSON: ", error.what()));
    }
    ZOETROPE_CHECK_DATA(object.is_object(), path.string(), ":", number,
                        ": expected a JSON object, found ", object.type_name());
    use(object, number);
  }
  ZOETROPE_CHECK(!in.bad(), "cannot read ", path, " beyond line ", number);
}

}  // namespace zoetrope
