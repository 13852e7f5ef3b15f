// BERT's tokenizer: clean, split at white space and punctuation, then the longest pieces of a
// vocabulary. Gives the ids and the text that Hugging Face `tokenizers` gives for the same
// tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "model/tokenizer.h"
#include "model/tokenizer_added.h"

namespace zoetrope::model {

// The parts of a tokenizer.json that encoding and decoding read. `truncation` and `padding` are not
// among them: a text keeps its true length.
struct WordPieceFile {
  struct Normalizer {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;  // null in the file: as `lowercase`
    bool lowercase = true;
  };
  struct Decoder {
    std::string prefix = "##";
    bool cleanup = true;
  };
  std::optional<Normalizer> normalizer;
  bool splits_words = false;  // BertPreTokenizer
  std::unordered_map<std::string, std::int64_t> vocab;
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  std::int64_t max_input_chars_per_word = 100;
  std::vector<AddedToken> added_tokens;
  std::vector<std::int64_t> ids_before, ids_after;  // of the post-processor
  std::optional<Decoder> decoder;                   // none: tokens joined by spaces
};

// Throws ConfigError naming the file and what in it is missing, wrong or not supported.
WordPieceFile read_wordpiece_file(const Json& json, const std::filesystem::path& path);

class WordPieceTokenizer : public Tokenizer {
 public:
  explicit WordPieceTokenizer(WordPieceFile file);
  std::vector<std::int64_t> encode(const std::string& text) const override;
  // Ids that no token has are left out.
  std::string decode(const std::vector<std::int64_t>& ids) const override;

 private:
  std::u32string normalise(std::u32string text) const;
  void encode_plain(std::u32string_view text, std::vector<std::int64_t>& ids) const;
  void encode_word(std::u32string_view word, std::vector<std::int64_t>& ids) const;
  AddedTokenMatcher make_matcher(bool normalized) const;

  WordPieceFile file_;
  std::int64_t unk_id_;
  AddedTokenMatcher raw_matcher_, normalised_matcher_;
  std::unordered_map<std::int64_t, std::string> token_of_id_;
  std::unordered_set<std::string> special_tokens_;
};

}  // namespace zoetrope::model
