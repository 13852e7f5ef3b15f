// Encoding and decoding with a vocabulary that fits on a page.
#include "model/wordpiece.h"

#include <gtest/gtest.h>

namespace zoetrope::model {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kUnk = 0, kCls = 1, kSep = 2;

WordPieceFile small_file() {
  WordPieceFile file;
  file.normalizer.emplace();
  file.splits_words = true;
  file.vocab = {{"[UNK]", 0}, {"[CLS]", 1}, {"[SEP]", 2}, {"run", 3},   {"##ning", 4},
                {"##n", 5},   {"##ing", 6}, {"!", 7},     {"cafe", 8},  {"\u6771", 9},
                {"'", 10},    {"t", 11},    {"r", 12},    {"##unn", 13}};
  file.ids_before = {kCls};
  file.ids_after = {kSep};
  file.decoder.emplace();
  for (std::int64_t id : {kUnk, kCls, kSep}) {
    AddedToken token;
    token.id = id;
    token.content = id == kUnk ? "[UNK]" : id == kCls ? "[CLS]" : "[SEP]";
    token.special = true;
    file.added_tokens.push_back(token);
  }
  return file;
}

Ids encode(const WordPieceFile& file, const std::string& text) {
  Ids ids = WordPieceTokenizer(file).encode(text);
  EXPECT_EQ(ids.front(), kCls);
  EXPECT_EQ(ids.back(), kSep);
  return Ids(ids.begin() + 1, ids.end() - 1);
}

TEST(WordPiece, TakesTheLongestPieceFirst) {
  EXPECT_EQ(encode(small_file(), "running!"), (Ids{3, 4, 7}));
  EXPECT_EQ(encode(small_file(), "runn"), (Ids{3, 5}));
}

TEST(WordPiece, GivesOneUnknownForAWordItCannotFinish) {
  EXPECT_EQ(encode(small_file(), "runx run"), (Ids{kUnk, 3}));
}

TEST(WordPiece, GivesUnknownForWordsOverTheLimit) {
  WordPieceFile file = small_file();
  EXPECT_EQ(encode(file, "running"), (Ids{3, 4}));
  file.max_input_chars_per_word = 6;
  EXPECT_EQ(encode(file, "running run"), (Ids{kUnk, 3}));
}

TEST(WordPiece, FoldsCaseAndAccentsOnlyWhenTheFileSaysSo) {
  WordPieceFile file = small_file();
  EXPECT_EQ(encode(file, "CAF\u00C9"), (Ids{8}));
  file.normalizer->strip_accents = false;
  EXPECT_EQ(encode(file, "CAF\u00C9"), (Ids{kUnk}));
  EXPECT_EQ(encode(file, "CAFE"), (Ids{8}));
  file.normalizer->lowercase = false;
  EXPECT_EQ(encode(file, "CAFE"), (Ids{kUnk}));
}

TEST(WordPiece, DeletesInvisibleCharactersOnlyWhenTheFileSaysSo) {
  WordPieceFile file = small_file();
  EXPECT_EQ(encode(file, "r\u200Bun\u00AD\xFF"), (Ids{3}));
  EXPECT_EQ(encode(file, "run\u2028run"), (Ids{3, 3}));
  file.normalizer->clean_text = false;
  EXPECT_EQ(encode(file, "r\u200Bun"), (Ids{kUnk}));
}

TEST(WordPiece, SplitsIdeographsOnlyWhenTheFileSaysSo) {
  WordPieceFile file = small_file();
  EXPECT_EQ(encode(file, "\u6771\u6771"), (Ids{9, 9}));
  file.normalizer->handle_chinese_chars = false;
  EXPECT_EQ(encode(file, "\u6771\u6771"), (Ids{kUnk}));
}

TEST(WordPiece, FindsSpecialTokensInsideText) {
  EXPECT_EQ(encode(small_file(), "run[SEP]run"), (Ids{3, kSep, 3}));
  EXPECT_EQ(encode(small_file(), ""), Ids{});
}

TEST(WordPiece, DecodesWithoutSpecialTokensAndWithCleanup) {
  WordPieceFile file = small_file();
  AddedToken marker;
  marker.id = 20;
  marker.content = "<x>";
  file.added_tokens.push_back(marker);
  EXPECT_EQ(WordPieceTokenizer(file).decode({kCls, 3, 4, 7, 20, kSep}), "running! <x>");
  file.decoder->cleanup = false;
  EXPECT_EQ(WordPieceTokenizer(file).decode({kCls, 3, 4, 7, 20, kSep}), "running ! <x>");
  file.decoder.reset();
  EXPECT_EQ(WordPieceTokenizer(file).decode({3, 4}), "run ##ning");
}

TEST(WordPiece, LeavesOutIdsThatNoTokenHas) {
  EXPECT_EQ(WordPieceTokenizer(small_file()).decode({3, 999, 4}), "running");
}

}  // namespace
}  // namespace zoetrope::model
