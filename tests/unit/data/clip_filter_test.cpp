// What a filter leaves out and what it says; which clips count as near-duplicates.

#include "data/clip_filter.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/config.h"
#include "data/corpus_mix.h"
#include "data/half_float.h"
#include "data/near_duplicates.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

ClipFilter filter_of(const std::string& yaml) {
  auto filter = read_config<ClipFilter>(ConfigNode::from_text("{" + yaml + "}", "test"));
  check_filter(filter);
  return filter;
}

ClipRecord scored_clip(const std::string& id = "one") {
  ClipRecord clip = testing::make_clip(id, {"words"});
  clip.scores = {{"motion", 0.3},       {"static_share", 0.1},    {"frozen_share", 0},
                 {"sharpness", 0.05},   {"brightness", 0.5},      {"contrast", 0.2},
                 {"black_share", 0.25}, {"letterbox_share", 0.4}, {"text_share", 0.03}};
  clip.camera = "pan_left";
  clip.list_scores = {{"aesthetic", 5.5}};
  return clip;
}

TEST(ClipFilter, EveryFieldLeavesOutWhatLiesOutside) {
  EXPECT_EQ(filter_reason(filter_of(""), scored_clip()), "");
  for (const auto& [name, value] : scored_clip().scores) {
    const auto range = [&, name = name](double low, double high) {
      return filter_reason(filter_of(concat(name, ": [", low, ", ", high, "]")), scored_clip());
    };
    EXPECT_EQ(range(value, value), "") << name;
    EXPECT_EQ(range(value + 0.01, 1), "filtered_" + name);
    EXPECT_EQ(range(-1, value - 0.01), "filtered_" + name);
  }
  EXPECT_EQ(filter_reason(filter_of("camera: [static, pan_left]"), scored_clip()), "");
  EXPECT_EQ(filter_reason(filter_of("camera: [static]"), scored_clip()), "filtered_camera");
  EXPECT_EQ(filter_reason(filter_of("list_at_least: {aesthetic: 5.5}"), scored_clip()), "");
  EXPECT_EQ(filter_reason(filter_of("list_at_least: {aesthetic: 6}"), scored_clip()),
            "filtered_aesthetic");
  EXPECT_EQ(filter_reason(filter_of("list_at_most: {aesthetic: 5}"), scored_clip()),
            "filtered_aesthetic");
  ClipRecord copy = scored_clip();
  copy.duplicate_of = "another";
  EXPECT_EQ(filter_reason(filter_of("near_duplicates: keep"), copy), "");
  EXPECT_EQ(filter_reason(filter_of("near_duplicates: drop"), copy), "filtered_near_duplicate");
}

TEST(ClipFilter, ScoresOfTimeDoNotConcernImages) {
  ClipRecord image = scored_clip();
  image.frames = 1;
  image.camera.clear();
  for (const char* name : {"motion", "static_share", "frozen_share"}) image.scores.erase(name);
  EXPECT_EQ(
      filter_reason(filter_of("motion: [0.5, 1], static_share: [0.5, 1], camera: [static]"), image),
      "");
  EXPECT_EQ(filter_reason(filter_of("brightness: [0.6, 1]"), image), "filtered_brightness");
}

TEST(ClipFilter, MissingScoresAreTheUsersMistake) {
  const ClipRecord old = testing::make_clip("old", {"words"});
  EXPECT_THROW(filter_reason(filter_of("motion: [0, 1]"), old), ConfigError);
  EXPECT_THROW(filter_reason(filter_of("camera: [static]"), old), ConfigError);
  EXPECT_THROW(filter_reason(filter_of("list_at_least: {beauty: 1}"), scored_clip()), ConfigError);
  EXPECT_NO_THROW(filter_reason(filter_of(""), old));
}

TEST(ClipFilter, RefusesRangesWithoutSenseAndUnknownNames) {
  for (const char* yaml : {"motion: [1]", "motion: [1, 0]", "motion: [0, 1, 2]", "motoin: [0, 1]",
                           "camera: [pan]", "near_duplicates: merge", "motion: fast"}) {
    EXPECT_THROW(filter_of(yaml), ConfigError) << yaml;
  }
}

TEST(ClipFilter, CountsAreToldByReason) {
  FilterCounts counts;
  for (const char* reason : {"", "filtered_motion", "", "filtered_camera", "filtered_motion"})
    counts.add(reason);
  EXPECT_EQ(counts.describe(), "kept 2 of 5 clips; filtered_camera 1, filtered_motion 2");
  EXPECT_TRUE(filter_of("").takes_all());
  EXPECT_FALSE(filter_of("contrast: [0, 1]").takes_all());
}

TEST(ClipRecord, ScoresSurviveTheManifestAndAreChecked) {
  ClipRecord clip = scored_clip();
  clip.look = std::string(kLookDigits, 'a');
  clip.duplicate_of = "two";
  const ClipRecord again = clip_from_json(to_json(clip), "test");
  EXPECT_EQ(to_json(again), to_json(clip));
  EXPECT_EQ(again.scores, clip.scores);
  EXPECT_EQ(again.list_scores, clip.list_scores);
  for (const auto& [name, bad] :
       std::vector<std::pair<std::string, Json>>{{"look", "xyz"},
                                                 {"look", 3},
                                                 {"duplicate_of", "../up"},
                                                 {"scores", {{"motion", "fast"}}},
                                                 {"scores", 1},
                                                 {"camera", 7}}) {
    Json json = to_json(clip);
    json[name] = bad;
    EXPECT_THROW(clip_from_json(json, "test"), DataError) << name;
  }
}

TEST(CorpusMix, DrawsOnlyWhatTheFilterKeeps) {
  const testing::TempFolder folder;
  std::vector<ClipRecord> clips = testing::some_clips(6);
  for (std::size_t i = 0; i < clips.size(); ++i) {
    clips[i].scores = {{"brightness", 0.1 * static_cast<double>(i)}};
    clips[i].frames = 9;
  }
  testing::write_corpus(folder / "one", clips);
  testing::write_corpus(folder / "two", testing::some_clips(2));
  const CorpusMix all({{folder / "one"}});
  EXPECT_EQ(all.num_clips(), 6);
  EXPECT_EQ(all.filtered(0).describe(), "kept 6 of 6 clips");
  const CorpusMix some({{folder / "one"}}, {}, filter_of("brightness: [0.15, 0.45]"));
  ASSERT_EQ(some.num_clips(), 3);
  EXPECT_EQ(some.filtered(0).describe(), "kept 3 of 6 clips; filtered_brightness 3");
  for (int clip = 0; clip < 3; ++clip) {
    const ClipRecord record = some.clip(clip);
    EXPECT_EQ(record.id, clips[static_cast<std::size_t>(clip) + 2].id);
    std::vector<float> stored = testing::make_latent(record.id).values;
    for (float& value : stored) value = round_to_half(value);
    EXPECT_EQ(some.latent(clip, record).values, stored);
  }
  EXPECT_EQ(some.pool({1, 1, 1}).size(), 3);
  EXPECT_THROW(CorpusMix({{folder / "one"}}, {}, filter_of("brightness: [2, 3]")), ConfigError);
  EXPECT_THROW(CorpusMix({{folder / "two"}}, {}, filter_of("brightness: [0, 1]")), ConfigError);
  EXPECT_THROW(CorpusMix({{folder / "one"}}, {}, ClipFilter{.brightness = {1}}), ConfigError);
}

std::string look_with(const std::vector<int>& bits) {
  std::string look(kLookDigits, '0');
  for (const int bit : bits) look[static_cast<std::size_t>(bit / 4)] = "1248"[bit % 4];
  return look;
}

TEST(NearDuplicates, NameTheFirstThatLooksAlike) {
  std::vector<int> near, far;  // 11 and 12 bits, one in each word of 16 and beyond
  for (int bit = 0; bit < kNearDuplicateBits; ++bit) near.push_back(16 * bit);
  for (int bit = 0; bit <= kNearDuplicateBits; ++bit) far.push_back(16 * bit);
  std::vector<ClipRecord> clips;
  for (const auto& [id, look] :
       std::vector<std::pair<std::string, std::string>>{{"a", look_with({})},
                                                        {"b", ""},
                                                        {"c", look_with(near)},
                                                        {"d", look_with(far)},
                                                        {"e", look_with({5})},
                                                        {"f", ""}}) {
    clips.push_back(testing::make_clip(id, {"words"}));
    clips.back().look = look;
  }
  mark_near_duplicates(clips);
  std::vector<std::string> originals;
  for (const ClipRecord& clip : clips) originals.push_back(clip.duplicate_of);
  // d is near to c, but c is a duplicate itself.
  EXPECT_EQ(originals, (std::vector<std::string>{"", "", "a", "", "a", ""}));
}

TEST(NearDuplicates, AreMarkedInTheManifestInWhateverOrderPartsAreMade) {
  std::vector<ClipRecord> clips = testing::some_clips(6);
  for (ClipRecord& clip : clips) clip.look = std::string(kLookDigits, '0');
  clips[1].look = std::string(kLookDigits, 'f');
  for (const bool backwards : {false, true}) {
    const testing::TempFolder folder;
    testing::write_corpus(folder / "corpus", clips, [&](std::vector<WorkPart>& parts) {
      if (backwards) std::reverse(parts.begin(), parts.end());
    });
    for (const ClipRecord& clip : read_manifest(folder / "corpus")) {
      const bool original = clip.id == clips[0].id || clip.id == clips[1].id;
      EXPECT_EQ(clip.duplicate_of, original ? "" : clips[0].id) << clip.id;
    }
  }
}

}  // namespace
}  // namespace zoetrope::data
