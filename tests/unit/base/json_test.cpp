// JSON: key order, places in messages, and JSON lines.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;

TEST(Json, KeepsKeyOrderThroughAFile) {
  TempFolder folder;
  Json json = {{"z", 1}, {"a", {1.5, "text"}}, {"m", nullptr}};
  write_json(folder / "a.json", json);
  EXPECT_EQ(read_json(folder / "a.json").dump(), R"({"z":1,"a":[1.5,"text"],"m":null})");
  EXPECT_THAT(read_file(folder / "a.json"), HasSubstr("{\n  \"z\": 1,"));
}

TEST(Json, AnErrorNamesFileLineAndReason) {
  std::string message =
      message_of<ConfigError>([] { parse_json("{\n \"a\": 1,\n \"b\": oops\n}", "some.json"); });
  EXPECT_THAT(message, HasSubstr("some.json:3: not valid JSON"));
  EXPECT_THROW(parse_json("", "some.json"), ConfigError);
  EXPECT_THROW(parse_json("{\"a\": 1e999}", "some.json"), ConfigError);
  EXPECT_THROW(read_json("/no/such.json"), ConfigError);
}

TEST(Json, TextThatIsNotUtf8IsNotWritten) {
  TempFolder folder;
  EXPECT_THROW(write_json(folder / "a.json", Json("\xff")), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.json"));
}

TEST(JsonLines, SkipsBlanksAndCountsLines) {
  TempFolder folder;
  write_file_atomically(folder / "a.jsonl", "{\"a\": 1}\r\n\n  \t\n{\"a\": 2}");
  std::vector<std::pair<int, int>> seen;
  for_each_json_line(folder / "a.jsonl",
                     [&](const Json& json, int line) { seen.emplace_back(json["a"], line); });
  EXPECT_EQ(seen, (std::vector<std::pair<int, int>>{{1, 1}, {2, 4}}));
}

TEST(JsonLines, ABadLineNamesItsPlace) {
  TempFolder folder;
  auto read = [&] { for_each_json_line(folder / "a.jsonl", [](const Json&, int) {}); };
  write_file_atomically(folder / "a.jsonl", "{}\n{\"a\": \n");
  EXPECT_THAT(message_of<DataError>(read), HasSubstr("a.jsonl:2: not valid JSON"));
  write_file_atomically(folder / "a.jsonl", "{}\n\n[1]\n");
  EXPECT_THAT(message_of<DataError>(read),
              HasSubstr("a.jsonl:3: expected a JSON object, found array"));
  EXPECT_THROW(for_each_json_line("/no/such.jsonl", [](const Json&, int) {}), ConfigError);
  EXPECT_THROW(for_each_json_line(folder.path(), [](const Json&, int) {}), ConfigError);
}

}  // namespace
}  // namespace zoetrope
