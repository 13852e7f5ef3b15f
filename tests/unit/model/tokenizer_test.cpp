// Unicode classes, added tokens, and what load_tokenizer refuses.
#include "model/tokenizer.h"

#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/tokenizer_added.h"
#include "model/tokenizer_unicode.h"

namespace zoetrope::model {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

TEST(TokenizerUnicode, ReplacesEachMaximalBadSequenceOnce) {
  EXPECT_EQ(decode_utf8("a\xFF"
                        "b"),
            U"a\uFFFD"
            U"b");
  EXPECT_EQ(decode_utf8("\xE2\x80"), U"\uFFFD");                  // cut short
  EXPECT_EQ(decode_utf8("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(decode_utf8("\xC0\xAF"), U"\uFFFD\uFFFD");            // overlong
}

TEST(TokenizerUnicode, RoundTripsAllPlanes) {
  const std::u32string text = U"a\u00E9\u6771\U0001F600";
  EXPECT_EQ(decode_utf8(encode_utf8(text)), text);
}

TEST(TokenizerUnicode, KeepsTheClassesOfUnicode8) {
  EXPECT_TRUE(is_nonspacing_mark(0x0301));
  EXPECT_FALSE(is_nonspacing_mark(0x08D4));  // a mark of Unicode 9
  EXPECT_TRUE(is_nonspacing_mark(0x1734));   // a spacing mark since Unicode 14
  EXPECT_TRUE(is_bert_punctuation(0x166D));  // a symbol since Unicode 12
  EXPECT_FALSE(is_bert_punctuation(0x2E45));
}

TEST(TokenizerUnicode, CountsAsciiSymbolsAsPunctuation) {
  for (char32_t c : U"$+<=>^`|~!_"s) EXPECT_TRUE(is_bert_punctuation(c)) << static_cast<int>(c);
  EXPECT_FALSE(is_bert_punctuation(U'\u00A9'));
  EXPECT_FALSE(is_bert_punctuation(U' '));
  EXPECT_FALSE(is_bert_punctuation(0x7F));
}

TEST(TokenizerUnicode, LowersWithoutContext) {
  EXPECT_EQ(to_lower(U"\u039F\u03A3"), U"\u03BF\u03C3");  // no final sigma
  EXPECT_EQ(to_lower(U"\u0130"), U"i\u0307");
}

AddedTokenMatcher matcher(const std::vector<AddedToken>& tokens) {
  std::vector<std::u32string> patterns;
  for (const AddedToken& token : tokens) patterns.push_back(decode_utf8(token.content));
  return AddedTokenMatcher(tokens, patterns);
}

std::string shown(const std::vector<TextPiece>& pieces) {
  std::string text;
  for (const TextPiece& piece : pieces) {
    text += piece.id >= 0 ? concat("<", piece.id, ">") : concat("(", encode_utf8(piece.text), ")");
  }
  return text;
}

TEST(AddedTokenMatcher, TakesTheLeftmostThenTheLongest) {
  const auto tokens = matcher({{1, "ab"}, {2, "abc"}, {3, "bcd"}});
  EXPECT_EQ(shown(tokens.split(U"xabcd")), "(x)<2>(d)");
}

TEST(AddedTokenMatcher, TakesSpaceAlongWhenAsked) {
  AddedToken left{1, "L"}, right{2, "R"};
  left.lstrip = true;
  right.rstrip = true;
  const auto tokens = matcher({left, right});
  EXPECT_EQ(shown(tokens.split(U"a  L b")), "(a)<1>( b)");
  EXPECT_EQ(shown(tokens.split(U"a R  b")), "(a )<2>(b)");
  EXPECT_EQ(shown(tokens.split(U"R  L")), "<2><1>");
}

TEST(AddedTokenMatcher, LeavesSingleWordsInsideWordsAlone) {
  AddedToken word{1, "cat"};
  word.single_word = true;
  const auto tokens = matcher({word});
  EXPECT_EQ(shown(tokens.split(U"cats cat, scat")), "(cats )<1>(, scat)");
}

class TokenizerFile : public testing::Test {
 protected:
  TokenizerFile() { fs::create_directories(folder_); }
  ~TokenizerFile() override { fs::remove_all(folder_); }

  std::string refusal(const Json& json) {
    write_file_atomically(folder_ / "tokenizer.json", json.dump());
    try {
      load_tokenizer(folder_);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }
  static Json good() {
    return parse_json(R"({"model": {"type": "WordPiece", "unk_token": "[UNK]",
        "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}},
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": true,
                       "handle_chinese_chars": true, "strip_accents": null},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "added_tokens": [{"id": 1, "content": "[CLS]", "special": true}]})",
                      "test");
  }

  fs::path folder_ = fs::temp_directory_path() / concat("zoetrope_tokenizer_", ::getpid());
};

TEST_F(TokenizerFile, IsReadFromAFolderOrByItsOwnPath) {
  EXPECT_EQ(refusal(good()), "accepted");
  EXPECT_EQ(load_tokenizer(folder_)->encode("A"),
            load_tokenizer(folder_ / "tokenizer.json")->encode("a"));
}

TEST_F(TokenizerFile, OfAnotherKindIsRefusedByName) {
  Json json = good();
  json["model"]["type"] = "Unigram";
  EXPECT_NE(refusal(json).find("\"Unigram\""), std::string::npos);
  json = good();
  json["normalizer"]["type"] = "NFC";
  EXPECT_NE(refusal(json).find("normalizer of type \"NFC\""), std::string::npos);
  json = good();
  json["pre_tokenizer"]["type"] = "Whitespace";
  EXPECT_NE(refusal(json).find("pre_tokenizer of type \"Whitespace\""), std::string::npos);
  json = good();
  json["post_processor"]["type"] = "RobertaProcessing";
  EXPECT_NE(refusal(json).find("\"RobertaProcessing\""), std::string::npos);
}

TEST_F(TokenizerFile, WithContradictingOrMissingIdsIsRefused) {
  Json json = good();
  json["added_tokens"][0]["id"] = 7;
  EXPECT_NE(refusal(json).find("has id 7, but 1"), std::string::npos);
  json = good();
  json["model"]["unk_token"] = "<unk>";
  EXPECT_NE(refusal(json).find("\"<unk>\" is not in the vocabulary"), std::string::npos);
  json = good();
  json["model"]["vocab"]["a"] = -4;
  EXPECT_NE(refusal(json).find("token id -4"), std::string::npos);
  json = good();
  json["model"]["vocab"]["a"] = "three";
  EXPECT_NE(refusal(json).find("model.vocab"), std::string::npos);
  json = good();
  json.erase("model");
  EXPECT_NE(refusal(json).find("\"model\""), std::string::npos);
}

}  // namespace
}  // namespace zoetrope::model
