// What Python prints, and what it never would.

#include "data/python_list.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::data {
namespace {

TEST(PythonList, ReadsWhatPythonPrints) {
  EXPECT_EQ(parse_python_list(R"([['0:00:01', "it's"], (1, -2.5e3), None, True, [], nan])", "x"),
            Json::parse(R"([["0:00:01", "it's"], [1.0, -2500.0], null, true, [], null])"));
  EXPECT_EQ(parse_python_list(R"( ['a\'b\\c\n\x41\u00e9\U0001F3A5\q',] )", "x"),
            Json::array({"a'b\\c\nA\xc3\xa9\xF0\x9F\x8E\xA5\\q"}));
}

TEST(PythonList, RefusesEverythingElse) {
  for (const char* text : {"", "1", "[", "[1", "[1 2]", "['a]", "['\\", "['\\x4']", "[1] 2",
                           "[1,,2]", "[x]", "(1]", "[[[[[[[[[1]]]]]]]]]", "['\\U00110000']"}) {
    EXPECT_THROW(parse_python_list(text, "x"), ConfigError) << text;
  }
}

}  // namespace
}  // namespace zoetrope::data
