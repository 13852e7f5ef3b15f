// How often clips and captions are drawn. Clips of one kind (corpus, image or video, size) are
// drawn alike: each of them exactly once an epoch of that kind.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/random.h"
#include "data/clip_record.h"

namespace zoetrope::data {

struct SizeWeight {
  std::int64_t max_tokens = 0;
  double weight = 1;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("max_tokens", max_tokens,
          "clips of up to so many tokens that no rule before takes; 0 = all", at_least(0));
    visit("weight", weight, "how often each is drawn, against a clip of weight 1",
          between(1e-6, 1e6));
  }
};

struct DrawConfig {
  double image_share = -1;
  std::vector<SizeWeight> sizes;
  std::map<std::string, double> captions;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("image_share", image_share,
          "share of the samples that are images; -1 = as the corpora have them", between(-1, 1));
    visit("sizes", sizes,
          "how often clips are drawn by size, as [{max_tokens: 1000, weight: 2}, {weight: 1}]; "
          "clips that no rule takes weigh 1");
    visit("captions", captions,
          "of a clip with several kinds of captions, how often each kind is drawn, as "
          "{short: 1, dense: 3}; kinds that are not named weigh 1; empty = all captions alike");
  }
  bool has_kinds() const { return image_share >= 0 || !sizes.empty(); }
};

// ConfigError for a share between -1 and 0 or a caption's weight that is not above 0.
void check_draw(const DrawConfig& draw);
// The number of the rule that takes a clip of so many tokens; sizes.size(): none does.
std::size_t size_rule(const DrawConfig& draw, std::int64_t tokens);
double size_weight(const DrawConfig& draw, std::size_t rule);

// A kind of clips.
struct ClipKind {
  std::int64_t corpus = 0;
  bool is_image = false;
  std::size_t rule = 0;
  bool operator<(const ClipKind& other) const;
};
// Shares of the samples of kinds with so many clips; they add up to 1. In each corpus a clip's
// share is as its size weighs, the corpora have theirs by `corpus_weights`; then the shares of all
// images, and those of all videos, are multiplied so that images have theirs. ConfigError when
// there are none of what image_share asks for.
std::map<ClipKind, double> shares_of(const DrawConfig& draw,
                                     const std::map<ClipKind, std::int64_t>& clips,
                                     const std::vector<double>& corpus_weights);

// The text to train with: a kind of captions by weight among those that the clip has, then one of
// its captions of this kind. Without weights all captions alike. The clip has captions.
const std::string& draw_text_id(const DrawConfig& draw, const ClipRecord& clip, Random random);

}  // namespace zoetrope::data
