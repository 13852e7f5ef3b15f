// Same ids and same text as Hugging Face tokenizers (tests/golden/make_text_golden.py).
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/json.h"
#include "model/tokenizer.h"

namespace zoetrope::model {
namespace {

void compare_with_golden(const std::string& name) {
  const auto folder = std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden/text" / name;
  const auto tokenizer = load_tokenizer(folder);
  std::ifstream lines(folder / "lines.txt", std::ios::binary);
  int compared = 0;
  for_each_json_line(folder / "ids.jsonl", [&](const Json& wanted, int number) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line)) << "line " << number;
    const auto ids = tokenizer->encode(line);
    EXPECT_EQ(ids, wanted["ids"].get<std::vector<std::int64_t>>()) << name << " line " << number;
    EXPECT_EQ(tokenizer->decode(ids), wanted["decoded"].get<std::string>())
        << name << " line " << number;
    ++compared;
  });
  EXPECT_GE(compared, 300);
}

TEST(TokenizerParity, UncasedWithTemplateTruncationAndPadding) {
  compare_with_golden("tokenizer_uncased");
}

TEST(TokenizerParity, UncleanedWithAccentsAndAddedTokens) {
  compare_with_golden("tokenizer_cased");
}

}  // namespace
}  // namespace zoetrope::model
