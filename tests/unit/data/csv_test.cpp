// RFC 4180, and lines that errors can name.

#include "data/csv.h"

#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

std::vector<CsvRow> rows_of(const std::string& text) {
  std::string pattern = (fs::temp_directory_path() / "zoetrope_csv_XXXXXX").string();
  close(mkstemp(pattern.data()));
  std::ofstream(pattern, std::ios::binary) << text;
  std::vector<CsvRow> rows;
  for_each_csv_row(pattern, [&](const CsvRow& row) { rows.push_back(row); });
  fs::remove(pattern);
  return rows;
}

TEST(Csv, FollowsRfc4180) {
  const auto rows = rows_of("a,\"b,\"\"c\"\"\r\nd\",\r\n\r\n,e,\"\"\nlast");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].fields, (Strings{"a", "b,\"c\"\r\nd", ""}));
  EXPECT_EQ(rows[0].line, 1);
  EXPECT_EQ(rows[1].fields, (Strings{"", "e", ""}));
  EXPECT_EQ(rows[1].line, 4);
  EXPECT_EQ(rows[2].fields, (Strings{"last"}));
}

TEST(Csv, EmptyAndOnlyBlankLines) {
  EXPECT_TRUE(rows_of("").empty());
  EXPECT_TRUE(rows_of("\xEF\xBB\xBF\n\r\n").empty());
  EXPECT_EQ(rows_of("\xEF\xBB\xBF\"x\"")[0].fields, (Strings{"x"}));
}

}  // namespace
}  // namespace zoetrope::data
