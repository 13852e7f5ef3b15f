// UTF-8 and character classes through ICU, pinned to Unicode 8 where `tokenizers` is.
#include "model/tokenizer_unicode.h"

#include <algorithm>
#include <array>

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr int kTableVersion = 8;

// Characters whose category is another one since Unicode 8.
struct OldCategory {
  char32_t character;
  UCharCategory category;
};
constexpr std::array<OldCategory, 6> kOldCategories = {{
    {0x166D, U_OTHER_PUNCTUATION},
    {0x1734, U_NON_SPACING_MARK},
    {0x1885, U_OTHER_LETTER},
    {0x1886, U_OTHER_LETTER},
    {0xA9BD, U_COMBINING_SPACING_MARK},
    {0x111C9, U_OTHER_PUNCTUATION},
}};

// Got its decomposition after the tables were frozen.
constexpr UChar32 kUndecomposed = 0x11938;

UCharCategory category_in_tables(char32_t c) {
  const auto* old = std::find_if(kOldCategories.begin(), kOldCategories.end(),
                                 [c](const OldCategory& entry) { return entry.character == c; });
  if (old != kOldCategories.end()) return old->category;
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  const bool is_newer = age[0] > kTableVersion || (age[0] == kTableVersion && age[1] > 0);
  return is_newer ? U_UNASSIGNED : static_cast<UCharCategory>(u_charType(static_cast<UChar32>(c)));
}

bool is_ascii(char32_t c) {
  return c < 0x80;
}

std::u32string from_utf16(const icu::UnicodeString& text) {
  std::u32string points;
  points.reserve(text.length());
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    points.push_back(static_cast<char32_t>(text.char32At(i)));
  }
  return points;
}

std::u32string decompose_run(std::u32string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(status);
  icu::UnicodeString utf16;
  for (char32_t c : text) utf16.append(static_cast<UChar32>(c));
  const icu::UnicodeString decomposed = nfd ? nfd->normalize(utf16, status) : utf16;
  ZOETROPE_CHECK(U_SUCCESS(status), "ICU cannot normalise text: ", u_errorName(status));
  return from_utf16(decomposed);
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  ZOETROPE_CHECK(text.size() < (std::size_t{1} << 31), "a text of ", text.size(), " bytes");
  const char* bytes = text.data();
  const auto length = static_cast<int32_t>(text.size());
  std::u32string points;
  points.reserve(text.size());
  for (int32_t i = 0; i < length;) {
    UChar32 c = 0;
    U8_NEXT_OR_FFFD(bytes, i, length, c);
    points.push_back(static_cast<char32_t>(c));
  }
  return points;
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (char32_t c : text) {
    char unit[U8_MAX_LENGTH];
    int32_t length = 0;
    U8_APPEND_UNSAFE(unit, length, c);
    bytes.append(unit, length);
  }
  return bytes;
}

bool is_white_space(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_WHITE_SPACE);
}

bool is_word_character(char32_t c) {
  const auto point = static_cast<UChar32>(c);
  return u_hasBinaryProperty(point, UCHAR_ALPHABETIC) ||
         u_hasBinaryProperty(point, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(point) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

bool is_bert_control(char32_t c) {
  if (c == U'\t' || c == U'\n' || c == U'\r') return false;
  return (U_MASK(category_in_tables(c)) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool is_nonspacing_mark(char32_t c) {
  return !is_ascii(c) && category_in_tables(c) == U_NON_SPACING_MARK;
}

bool is_bert_punctuation(char32_t c) {
  if (is_ascii(c)) return c > U' ' && c < 0x7F && !u_isalnum(static_cast<UChar32>(c));
  return (U_MASK(category_in_tables(c)) & U_GC_P_MASK) != 0;
}

bool is_cjk_ideograph(char32_t c) {
  static constexpr std::array<std::array<char32_t, 2>, 7> kBlocks = {{
      {0x3400, 0x4DBF},
      {0x4E00, 0x9FFF},
      {0xF900, 0xFAFF},
      {0x20000, 0x2A6DF},
      {0x2A700, 0x2B81F},
      {0x2B920, 0x2CEAF},
      {0x2F800, 0x2FA1F},
  }};
  return std::any_of(kBlocks.begin(), kBlocks.end(),
                     [c](const auto& block) { return c >= block[0] && c <= block[1]; });
}

std::u32string decompose(std::u32string_view text) {
  if (std::all_of(text.begin(), text.end(), is_ascii)) return std::u32string(text);
  std::u32string result;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(kUndecomposed, begin), text.size());
    result += decompose_run(text.substr(begin, end - begin));
    if (end < text.size()) result.push_back(kUndecomposed);
    begin = end + 1;
  }
  return result;
}

std::u32string to_lower(std::u32string_view text) {
  constexpr char32_t kCapitalDottedI = 0x130, kDotAbove = 0x307;
  std::u32string lower;
  lower.reserve(text.size());
  for (char32_t c : text) {
    // The one character whose lower case is two: u_tolower leaves the dot out.
    if (c == kCapitalDottedI) {
      lower.append({U'i', kDotAbove});
    } else {
      lower.push_back(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
    }
  }
  return lower;
}

}  // namespace zoetrope::model
