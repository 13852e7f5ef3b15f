// Shares of kinds of clips, and which caption is drawn.
#include "data/clip_draw.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"

namespace zoetrope::data {

bool ClipKind::operator<(const ClipKind& other) const {
  return std::tie(corpus, is_image, rule) < std::tie(other.corpus, other.is_image, other.rule);
}

void check_draw(const DrawConfig& draw) {
  ZOETROPE_CHECK_CONFIG(draw.image_share == -1 || draw.image_share >= 0, "draw.image_share is ",
                        draw.image_share, ": a share is 0 to 1, or -1 for what the corpora have");
  for (const auto& [kind, weight] : draw.captions) {
    ZOETROPE_CHECK_CONFIG(weight > 0, "draw.captions: ", kind, " has weight ", weight,
                          ", expected more than 0");
  }
}

std::size_t size_rule(const DrawConfig& draw, std::int64_t tokens) {
  std::size_t rule = 0;
  while (rule < draw.sizes.size() && draw.sizes[rule].max_tokens > 0 &&
         tokens > draw.sizes[rule].max_tokens) {
    ++rule;
  }
  return rule;
}

double size_weight(const DrawConfig& draw, std::size_t rule) {
  return rule < draw.sizes.size() ? draw.sizes[rule].weight : 1;
}

std::map<ClipKind, double> shares_of(const DrawConfig& draw,
                                     const std::map<ClipKind, std::int64_t>& clips,
                                     const std::vector<double>& corpus_weights) {
  double total_weight = 0;
  for (const double weight : corpus_weights) total_weight += weight;
  std::vector<double> corpus_mass(corpus_weights.size());
  std::map<ClipKind, double> shares;
  for (const auto& [kind, count] : clips) {
    shares[kind] = static_cast<double>(count) * size_weight(draw, kind.rule);
    corpus_mass[static_cast<std::size_t>(kind.corpus)] += shares[kind];
  }
  double images = 0;
  for (auto& [kind, share] : shares) {
    const auto corpus = static_cast<std::size_t>(kind.corpus);
    share *= corpus_weights[corpus] / total_weight / corpus_mass[corpus];
    if (kind.is_image) images += share;
  }
  if (draw.image_share < 0) return shares;
  const auto has = [&](bool is_image) {
    return std::any_of(shares.begin(), shares.end(),
                       [&](const auto& entry) { return entry.first.is_image == is_image; });
  };
  ZOETROPE_CHECK_CONFIG(has(true) || draw.image_share == 0, "draw.image_share is ",
                        draw.image_share, ", but there is no image to draw");
  ZOETROPE_CHECK_CONFIG(has(false) || draw.image_share == 1, "draw.image_share is ",
                        draw.image_share, ", but there is no video to draw");
  for (auto& [kind, share] : shares) {
    share *= kind.is_image ? draw.image_share / images : (1 - draw.image_share) / (1 - images);
  }
  return shares;
}

const std::string& draw_text_id(const DrawConfig& draw, const ClipRecord& clip, Random random) {
  const auto any_of = [&](const auto& texts) -> decltype(auto) {
    return texts[static_cast<std::size_t>(
        random.integer(0, static_cast<std::int64_t>(texts.size()) - 1))];
  };
  if (draw.captions.empty()) return any_of(clip.text_ids);
  std::map<std::string, std::vector<const std::string*>> by_kind;
  for (std::size_t i = 0; i < clip.text_ids.size(); ++i) {
    by_kind[clip.caption_kind(i)].push_back(&clip.text_ids[i]);
  }
  const auto weight_of = [&](const std::string& kind) {
    const auto found = draw.captions.find(kind);
    return found == draw.captions.end() ? 1.0 : found->second;
  };
  double total = 0;
  for (const auto& [kind, ids] : by_kind) total += weight_of(kind);
  double place = random.uniform() * total;
  auto kind = by_kind.begin();
  for (; std::next(kind) != by_kind.end() && place >= weight_of(kind->first); ++kind) {
    place -= weight_of(kind->first);
  }
  return *any_of(kind->second);
}

}  // namespace zoetrope::data
