// Added tokens of a tokenizer.json: strings that are found in the text before the model sees it.
// Same rules as Hugging Face `tokenizers`: the leftmost match wins, then the longest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace zoetrope::model {

struct AddedToken {
  std::int64_t id = 0;
  std::string content;
  bool special = false;      // left out of decoded text
  bool normalized = false;   // looked for in normalised text, else in the text as given
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space after it along
};

// A part of a text: an added token, or text between added tokens (id < 0).
struct TextPiece {
  std::int64_t id = -1;
  std::u32string text;
};

class AddedTokenMatcher {
 public:
  // `patterns[i]` is what to look for as tokens[i]; none may be empty.
  AddedTokenMatcher(std::vector<AddedToken> tokens, std::vector<std::u32string> patterns);
  std::vector<TextPiece> split(std::u32string_view text) const;

 private:
  const AddedToken* longest_match(std::u32string_view text, std::size_t* length) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::u32string> patterns_;
  std::unordered_map<char32_t, std::vector<std::size_t>> by_first_character_;
};

}  // namespace zoetrope::model
