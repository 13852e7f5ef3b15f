// Finds added tokens in a text.
#include "model/tokenizer_added.h"

#include <algorithm>

#include "base/error.h"
#include "model/tokenizer_unicode.h"

namespace zoetrope::model {
namespace {

bool is_inside_word(std::u32string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && is_word_character(text[begin - 1])) ||
         (end < text.size() && is_word_character(text[end]));
}

std::size_t skip_spaces_back(std::u32string_view text, std::size_t position, std::size_t limit) {
  while (position > limit && is_white_space(text[position - 1])) --position;
  return position;
}

std::size_t skip_spaces(std::u32string_view text, std::size_t position) {
  while (position < text.size() && is_white_space(text[position])) ++position;
  return position;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens,
                                     std::vector<std::u32string> patterns)
    : tokens_(std::move(tokens)), patterns_(std::move(patterns)) {
  ZOETROPE_CHECK(tokens_.size() == patterns_.size(), tokens_.size(), " added tokens with ",
                 patterns_.size(), " patterns");
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    ZOETROPE_CHECK(!patterns_[i].empty(), "added token ", tokens_[i].id, " has an empty pattern");
    by_first_character_[patterns_[i].front()].push_back(i);
  }
}

const AddedToken* AddedTokenMatcher::longest_match(std::u32string_view text,
                                                   std::size_t* length) const {
  const auto candidates = by_first_character_.find(text.front());
  if (candidates == by_first_character_.end()) return nullptr;
  const AddedToken* best = nullptr;
  *length = 0;
  for (std::size_t i : candidates->second) {
    if (patterns_[i].size() > *length && text.starts_with(patterns_[i])) {
      best = &tokens_[i];
      *length = patterns_[i].size();
    }
  }
  return best;
}

std::vector<TextPiece> AddedTokenMatcher::split(std::u32string_view text) const {
  std::vector<TextPiece> pieces;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    const AddedToken* token = longest_match(text.substr(at), &length);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + length;
    at = end;
    if (token->single_word && is_inside_word(text, begin, end)) continue;
    if (token->lstrip) begin = skip_spaces_back(text, begin, std::min(done, begin));
    if (token->rstrip) end = skip_spaces(text, end);
    if (done < begin) pieces.push_back({-1, std::u32string(text.substr(done, begin - done))});
    pieces.push_back({token->id, {}});
    done = end;
  }
  if (done < text.size()) pieces.push_back({-1, std::u32string(text.substr(done))});
  return pieces;
}

}  // namespace zoetrope::model
