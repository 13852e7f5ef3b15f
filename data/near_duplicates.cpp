// See near_duplicates.h. A look has 12 words of 16 bits; two that differ in at most 11 bits have a
// word in common, so only those that share one are compared.

#include "data/near_duplicates.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "data/clip_scores.h"

namespace zoetrope::data {

namespace {

constexpr std::size_t kWords = 12, kDigitsPerWord = 4;
static_assert(kNearDuplicateBits < kWords, "looks that near must share a word");

}  // namespace

void mark_near_duplicates(std::vector<ClipRecord>& clips) {
  std::array<std::unordered_map<std::string, std::vector<std::size_t>>, kWords> by_word;
  for (std::size_t index = 0; index < clips.size(); ++index) {
    ClipRecord& clip = clips[index];
    clip.duplicate_of.clear();
    if (clip.look.empty()) continue;
    std::size_t original = index;
    for (std::size_t word = 0; word < kWords; ++word) {
      const auto found =
          by_word[word].find(clip.look.substr(word * kDigitsPerWord, kDigitsPerWord));
      if (found == by_word[word].end()) continue;
      for (const std::size_t other : found->second) {
        if (other >= original) break;
        if (look_distance(clip.look, clips[other].look) <= kNearDuplicateBits) original = other;
      }
    }
    if (original != index) {
      clip.duplicate_of = clips[original].id;
      continue;
    }
    for (std::size_t word = 0; word < kWords; ++word)
      by_word[word][clip.look.substr(word * kDigitsPerWord, kDigitsPerWord)].push_back(index);
  }
}

}  // namespace zoetrope::data
