// WordPiece encoding (arXiv:1609.08144, section 4.1: greedy, longest piece first) and decoding.
#include "model/wordpiece.h"

#include <array>

#include "base/error.h"
#include "model/tokenizer_unicode.h"

namespace zoetrope::model {
namespace {

std::u32string clean(std::u32string_view text) {
  constexpr char32_t kReplacement = 0xFFFD;
  std::u32string cleaned;
  cleaned.reserve(text.size());
  for (char32_t c : text) {
    if (c == 0 || c == kReplacement || is_bert_control(c)) continue;
    cleaned.push_back(is_white_space(c) ? U' ' : c);
  }
  return cleaned;
}

std::u32string space_ideographs(std::u32string_view text) {
  std::u32string spaced;
  spaced.reserve(text.size());
  for (char32_t c : text) {
    if (is_cjk_ideograph(c)) {
      spaced.append({U' ', c, U' '});
    } else {
      spaced.push_back(c);
    }
  }
  return spaced;
}

// Calls `use` for each run between white space, with every punctuation character on its own.
template <class Use>
void for_each_word(std::u32string_view text, const Use& use) {
  std::size_t begin = 0;
  const auto end_word = [&](std::size_t end) {
    if (begin < end) use(text.substr(begin, end - begin));
    begin = end + 1;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_white_space(text[i])) {
      end_word(i);
    } else if (is_bert_punctuation(text[i])) {
      end_word(i);
      use(text.substr(i, 1));
    }
  }
  end_word(text.size());
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// What the decoder of `tokenizers` does to each token, in its order.
void clean_up_spaces(std::string& token) {
  using Pair = std::array<std::string_view, 2>;
  static constexpr std::array<Pair, 11> kReplacements = {{{" .", "."},
                                                          {" ?", "?"},
                                                          {" !", "!"},
                                                          {" ,", ","},
                                                          {" ' ", "'"},
                                                          {" n't", "n't"},
                                                          {" 'm", "'m"},
                                                          {" do not", " don't"},
                                                          {" 's", "'s"},
                                                          {" 've", "'ve"},
                                                          {" 're", "'re"}}};
  for (const auto& [from, to] : kReplacements) replace_all(token, from, to);
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(WordPieceFile file)
    : file_(std::move(file)),
      unk_id_(file_.vocab.at(file_.unk_token)),
      raw_matcher_(make_matcher(false)),
      normalised_matcher_(make_matcher(true)) {
  for (const auto& [token, id] : file_.vocab) token_of_id_[id] = token;
  for (const AddedToken& token : file_.added_tokens) {
    token_of_id_[token.id] = token.content;
    if (token.special) special_tokens_.insert(token.content);
  }
}

AddedTokenMatcher WordPieceTokenizer::make_matcher(bool normalized) const {
  std::vector<AddedToken> tokens;
  std::vector<std::u32string> patterns;
  for (const AddedToken& token : file_.added_tokens) {
    if (token.normalized != normalized) continue;
    const std::u32string content = decode_utf8(token.content);
    patterns.push_back(normalized ? normalise(content) : content);
    ZOETROPE_CHECK_CONFIG(!patterns.back().empty(), "added token ", token.id,
                          " is empty once normalised: \"", token.content, "\"");
    tokens.push_back(token);
  }
  return AddedTokenMatcher(std::move(tokens), std::move(patterns));
}

std::u32string WordPieceTokenizer::normalise(std::u32string text) const {
  if (!file_.normalizer) return text;
  if (file_.normalizer->clean_text) text = clean(text);
  if (file_.normalizer->handle_chinese_chars) text = space_ideographs(text);
  if (file_.normalizer->strip_accents) {
    text = decompose(text);
    std::erase_if(text, is_nonspacing_mark);
  }
  if (file_.normalizer->lowercase) text = to_lower(text);
  return text;
}

std::vector<std::int64_t> WordPieceTokenizer::encode(const std::string& text) const {
  std::vector<std::int64_t> ids = file_.ids_before;
  for (const TextPiece& piece : raw_matcher_.split(decode_utf8(text))) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    for (const TextPiece& part : normalised_matcher_.split(normalise(piece.text))) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        encode_plain(part.text, ids);
      }
    }
  }
  ids.insert(ids.end(), file_.ids_after.begin(), file_.ids_after.end());
  return ids;
}

void WordPieceTokenizer::encode_plain(std::u32string_view text,
                                      std::vector<std::int64_t>& ids) const {
  if (file_.splits_words) {
    for_each_word(text, [&](std::u32string_view word) { encode_word(word, ids); });
  } else {
    encode_word(text, ids);
  }
}

void WordPieceTokenizer::encode_word(std::u32string_view word,
                                     std::vector<std::int64_t>& ids) const {
  const std::size_t first_piece = ids.size();
  const bool too_long = static_cast<std::int64_t>(word.size()) > file_.max_input_chars_per_word;
  for (std::size_t begin = 0; !too_long && begin < word.size();) {
    std::size_t end = word.size();
    auto found = file_.vocab.end();
    for (; end > begin && found == file_.vocab.end(); --end) {
      std::string piece = encode_utf8(word.substr(begin, end - begin));
      if (begin > 0) piece.insert(0, file_.continuing_subword_prefix);
      found = file_.vocab.find(piece);
    }
    if (found == file_.vocab.end()) {
      ids.resize(first_piece);
      break;
    }
    ids.push_back(found->second);
    begin = end + 1;  // the loop stepped once past the match
  }
  if (ids.size() == first_piece) ids.push_back(unk_id_);
}

std::string WordPieceTokenizer::decode(const std::vector<std::int64_t>& ids) const {
  std::string text;
  bool is_first = true;
  for (std::int64_t id : ids) {
    const auto found = token_of_id_.find(id);
    if (found == token_of_id_.end() || special_tokens_.contains(found->second)) continue;
    std::string token = found->second;
    if (!is_first) {
      const bool joins = file_.decoder && token.starts_with(file_.decoder->prefix);
      if (joins) {
        token.erase(0, file_.decoder->prefix.size());
      } else {
        token.insert(token.begin(), ' ');
      }
    }
    if (file_.decoder && file_.decoder->cleanup) clean_up_spaces(token);
    text += token;
    is_first = false;
  }
  return text;
}

}  // namespace zoetrope::model
