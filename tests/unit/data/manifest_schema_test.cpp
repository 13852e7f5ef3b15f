// The schema that data/README.md publishes is the one that manifests obey and readers enforce.
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::HasSubstr;
using testing::TempFolder;

Json read_schema() {
  const std::string readme =
      read_file(std::filesystem::path(ZOETROPE_TEST_FOLDER) / ".." / "data" / "README.md");
  const std::string fence = "```json\n";
  const auto from = readme.find(fence);
  EXPECT_NE(from, std::string::npos);
  const auto to = readme.find("```", from + fence.size());
  return parse_json(readme.substr(from + fence.size(), to - from - fence.size()), "data/README.md");
}

bool has_type(const Json& value, const std::string& type) {
  return type == "object"    ? value.is_object()
         : type == "array"   ? value.is_array()
         : type == "string"  ? value.is_string()
         : type == "integer" ? value.is_number_integer()
         : type == "number"  ? value.is_number()
                             : false;
}

// The part of JSON Schema that the README uses; a keyword that it does not know is a failure.
void validate(const Json& value, const Json& schema, const std::string& place,
              std::vector<std::string>& wrong) {
  for (const auto& [keyword, rule] : schema.items()) {
    if (keyword == "type") {
      if (!has_type(value, rule)) return wrong.push_back(place + " is no " + rule.dump());
    } else if (keyword == "required") {
      for (const auto& name : rule) {
        if (!value.contains(name)) wrong.push_back(place + " has no " + name.dump());
      }
    } else if (keyword == "properties") {
      for (const auto& [name, of_name] : rule.items()) {
        if (value.contains(name)) validate(value[name], of_name, place + "." + name, wrong);
      }
    } else if (keyword == "items") {
      for (const Json& item : value) validate(item, rule, place + "[]", wrong);
    } else if (keyword == "minimum") {
      if (value.get<double>() < rule.get<double>()) wrong.push_back(place + " is too small");
    } else if (keyword == "pattern") {
      if (!std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>()))) {
        wrong.push_back(place + " does not match");
      }
    } else if (keyword != "$schema") {
      wrong.push_back("unknown keyword " + keyword);
    }
  }
}

std::vector<std::string> faults(const Json& line) {
  std::vector<std::string> wrong;
  validate(line, read_schema(), "line", wrong);
  return wrong;
}

TEST(ManifestSchema, HoldsForEveryLineWritten) {
  const TempFolder folder;
  auto clips = testing::some_clips(6);
  clips[2].captions.clear();
  clips[2].text_ids.clear();
  testing::write_corpus(folder / "c", clips);
  int lines = 0;
  for_each_json_line(folder / "c" / "manifest.jsonl", [&](const Json& line, int) {
    ++lines;
    EXPECT_THAT(faults(line), ::testing::IsEmpty());
    // Every field is described.
    for (const auto& item : line.items()) {
      EXPECT_TRUE(read_schema()["properties"].contains(item.key())) << item.key();
    }
  });
  EXPECT_EQ(lines, 6);
}

// What the schema refuses the reader refuses, field by field.
TEST(ManifestSchema, ReaderAndSchemaRefuseTheSame) {
  const Json good = to_json(testing::make_clip("ab12", {"one"}));
  ASSERT_THAT(faults(good), ::testing::IsEmpty());
  int tried = 0;
  for (const auto& item : good.items()) {
    for (const Json& value : {Json(nullptr), Json(-1), Json(0.5), Json("a/b"), Json::array({1})}) {
      Json line = good;
      line[item.key()] = value;
      bool is_read = true;
      try {
        clip_from_json(line, "line");
      } catch (const DataError&) {
        is_read = false;
      }
      if (!faults(line).empty()) {
        EXPECT_FALSE(is_read) << item.key() << " = " << value;
      }
      ++tried;
    }
    Json line = good;
    line.erase(item.key());
    EXPECT_FALSE(faults(line).empty()) << item.key();
    EXPECT_THROW(clip_from_json(line, "line"), DataError) << item.key();
  }
  EXPECT_GT(tried, 80);
}

}  // namespace
}  // namespace zoetrope::data
