// Lists as Python prints them, which is what Panda-70M keeps in the fields of its CSV:
// [['0:00:01.5', '0:00:04'], ...], ['a dog', "it's raining"], [0.41, None].
#pragma once

#include <string>

#include "base/json.h"

namespace zoetrope::data {

// Lists, strings, numbers, True, False and None (null). ConfigError beginning with `origin` for
// anything else, for lists nested deeper than 8 and for text after the end.
Json parse_python_list(const std::string& text, const std::string& origin);

}  // namespace zoetrope::data
