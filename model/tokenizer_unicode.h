// Unicode as tokenizers see it: UTF-8, decomposition, and the character classes of BERT, through
// ICU.
//
// Hugging Face `tokenizers` classifies characters by the tables of Unicode 8: marks, punctuation
// and format characters that came later are plain letters to it. Vocabularies were trained that
// way, so these functions answer the same, whatever version of ICU is installed.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope::model {

// Each ill-formed sequence (its maximal subpart, as the Unicode standard recommends) becomes
// U+FFFD.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);

bool is_white_space(char32_t c);       // White_Space
bool is_word_character(char32_t c);    // \w of regular expressions
bool is_bert_control(char32_t c);      // Cc, Cf, Co but tab, line feed, carriage return
bool is_nonspacing_mark(char32_t c);   // Mn
bool is_bert_punctuation(char32_t c);  // P*, and the ASCII symbols
bool is_cjk_ideograph(char32_t c);     // the blocks that BERT splits into single characters

std::u32string decompose(std::u32string_view text);  // NFD
// Character by character, without context: a final sigma is a sigma.
std::u32string to_lower(std::u32string_view text);

}  // namespace zoetrope::model
