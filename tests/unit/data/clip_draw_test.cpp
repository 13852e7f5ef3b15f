// Kinds of clips and captions come as often as asked for, and each clip of a kind equally often.
#include "data/clip_draw.h"

#include <array>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/corpus_mix.h"
#include "data/planner.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::TempFolder;

// Latent frames, height and width by turns: 4, 24 and 60 tokens.
constexpr std::array<std::array<int, 3>, 3> kShapes = {{{1, 2, 2}, {3, 2, 4}, {3, 4, 5}}};

void write_mixed_corpus(const std::filesystem::path& folder, int count,
                        const std::vector<int>& shapes) {
  const CorpusJob job(folder, testing::make_header());
  PartWriter writer(folder, 0);
  writer.add_text(testing::make_text(""));
  for (int i = 0; i < count; ++i) {
    const auto [t, h, w] = kShapes[static_cast<std::size_t>(shapes[i % shapes.size()])];
    ClipRecord clip = testing::make_clip(concat(folder.filename().string(), 1000 + i), {});
    clip.latent_frames = t;
    clip.latent_height = h;
    clip.latent_width = w;
    writer.add(clip, testing::make_latent(clip.id, t, h, w), {hash_text(clip.source), clip.id});
  }
  writer.publish();
  merge_corpus(folder, {0});
}

class Draw : public ::testing::Test {
 protected:
  Draw() {
    write_mixed_corpus(folder_ / "a", 30, {0, 1, 2});     // ten of each
    write_mixed_corpus(folder_ / "b", 40, {1, 2, 2, 2});  // ten and thirty
  }
  CorpusMix both(double a = 1, double b = 1) const {
    return CorpusMix({{folder_ / "a", a}, {folder_ / "b", b}});
  }
  // How often each clip is drawn.
  static std::vector<int> counts(const CorpusMix& mix, const DrawConfig& draw, int samples) {
    const ClipPool pool = mix.pool({1, 1, 1}, draw);
    std::vector<int> counts(static_cast<std::size_t>(mix.num_clips()));
    for (int g = 0; g < samples; ++g) ++counts[static_cast<std::size_t>(pool.draw(g, 5))];
    return counts;
  }
  // Draws of clips by tokens.
  static std::map<std::int64_t, int> by_tokens(const CorpusMix& mix, const DrawConfig& draw) {
    const ClipPool pool = mix.pool({1, 1, 1}, draw);
    std::map<std::int64_t, int> sums;
    const auto all = counts(mix, draw, 4096);
    for (std::size_t clip = 0; clip < all.size(); ++clip) {
      sums[pool.tokens(static_cast<std::int64_t>(clip))] += all[clip];
    }
    return sums;
  }
  TempFolder folder_;
};

TEST_F(Draw, WithoutWeightsEveryClipComesOnceAnEpoch) {
  const CorpusMix a({{folder_ / "a"}});
  EXPECT_EQ(counts(a, {}, 30 * 7), std::vector<int>(30, 7));
  DrawConfig captions_alone;
  captions_alone.captions = {{"short", 2}};
  EXPECT_EQ(counts(a, captions_alone, 30 * 7), std::vector<int>(30, 7));
}

TEST_F(Draw, ImagesHaveTheirShareWhateverTheCorporaHave) {
  for (const double share : {0.0, 0.25, 0.5}) {
    DrawConfig draw;
    draw.image_share = share;
    EXPECT_EQ(by_tokens(both(), draw)[4], share * 4096);
  }
  DrawConfig only_images;
  only_images.image_share = 1;
  EXPECT_EQ(by_tokens(both(), only_images)[4], 4096);
  // Corpora keep their shares of the videos: 1/2 * 2/3 of a's samples against 1/2.
  DrawConfig half;
  half.image_share = 0.5;
  const auto all = counts(both(), half, 1 << 16);
  const int of_a = std::accumulate(all.begin(), all.begin() + 30, 0);
  EXPECT_NEAR(of_a / 65536.0, 0.5 + 0.5 * 0.4, 1e-3);
}

TEST_F(Draw, SizesWeighEachClip) {
  DrawConfig draw;
  draw.sizes = {{10, 4}, {30, 0.5}};  // images 4, small videos a half, the others 1
  const auto sums = by_tokens(CorpusMix({{folder_ / "a"}}), draw);
  EXPECT_NEAR(sums.at(4), 4096 * 4 / 5.5, 1);
  EXPECT_NEAR(sums.at(24), 4096 * 0.5 / 5.5, 1);
  EXPECT_NEAR(sums.at(60), 4096 * 1 / 5.5, 1);
}

TEST_F(Draw, EachClipOfAKindComesEquallyOften) {
  DrawConfig draw;
  draw.image_share = 0.3;
  draw.sizes = {{30, 3}};
  const CorpusMix mix = both(2, 1);
  const auto all = counts(mix, draw, 9 * 4096);                        // whole blocks
  std::map<std::pair<bool, std::int64_t>, std::pair<int, int>> range;  // by corpus and tokens
  const ClipPool pool = mix.pool({1, 1, 1}, draw);
  for (std::int64_t clip = 0; clip < mix.num_clips(); ++clip) {
    const int count = all[static_cast<std::size_t>(clip)];
    auto [found, is_new] =
        range.try_emplace(std::pair(clip < 30, pool.tokens(clip)), std::pair(count, count));
    found->second.first = std::min(found->second.first, count);
    found->second.second = std::max(found->second.second, count);
  }
  EXPECT_EQ(range.size(), 5u);
  for (const auto& [kind, counts] : range) {
    EXPECT_GT(counts.first, 100);
    EXPECT_LE(counts.second - counts.first, 1) << kind.first << ", " << kind.second << " tokens";
  }
}

TEST_F(Draw, AStepIsAFunctionOfSeedAndStepAlone) {
  DrawConfig draw;
  draw.image_share = 0.4;
  draw.sizes = {{30, 2}};
  const CorpusMix mix = both(), same = both();
  const ClipPool pool = mix.pool({1, 1, 1}, draw), other = same.pool({1, 1, 1}, draw);
  PlannerConfig planner;
  planner.global_batch = 16;
  const auto clips = [&](const ClipPool& from, std::int64_t step, int ranks) {
    std::map<std::int64_t, std::int64_t> by_index;
    const auto plan = plan_step(planner, step, from, ranks, starting_calibration(planner));
    for (const PlannedSample& sample : plan.samples) by_index[sample.global_index] = sample.clip;
    return by_index;
  };
  for (const std::int64_t step : {1000, 3, 77}) {
    EXPECT_EQ(clips(pool, step, 4), clips(other, step, 1));
  }
}

TEST_F(Draw, WhatCannotBeDrawnIsRefused) {
  const auto refused = [&](const DrawConfig& draw, const std::string& corpus) {
    const CorpusMix mix({{folder_ / corpus}});
    return message_of<ConfigError>([&] { mix.pool({1, 1, 1}, draw); });
  };
  EXPECT_THAT(refused({.image_share = 0.3}, "b"), HasSubstr("there is no image to draw"));
  EXPECT_THAT(refused({.image_share = -0.5}, "a"), HasSubstr("image_share is -0.5"));
  EXPECT_THAT(refused({.captions = {{"short", 0}}}, "a"), HasSubstr("short has weight 0"));
}

TEST(CaptionDraw, KindsComeByWeightAndTheirCaptionsAlike) {
  ClipRecord clip;
  clip.text_ids = {"s", "d1", "d2", "c"};
  clip.captions = clip.text_ids;
  clip.caption_kinds = {"short", "dense", "dense", kPlainCaption};
  const auto shares = [&](const std::map<std::string, double>& weights) {
    DrawConfig draw;
    draw.captions = weights;
    std::map<std::string, double> counts;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      counts[draw_text_id(draw, clip, Random(3, Purpose::kCaptionChoice, 1, i))] += 1.0 / kDraws;
    }
    return counts;
  };
  const auto expect = [](const std::map<std::string, double>& found, double s, double d, double c) {
    EXPECT_NEAR(found.at("s"), s, 0.015);
    EXPECT_NEAR(found.at("d1"), d, 0.015);
    EXPECT_NEAR(found.at("d2"), d, 0.015);
    EXPECT_NEAR(found.at("c"), c, 0.015);
  };
  expect(shares({}), 0.25, 0.25, 0.25);
  expect(shares({{"short", 1}, {"dense", 3}}), 0.2, 0.3, 0.2);
  expect(shares({{"dense", 0.5}, {"short", 0.25}, {"caption", 0.25}}), 0.25, 0.25, 0.25);
  clip.caption_kinds.clear();  // of an older corpus: all are of one kind
  expect(shares({{"short", 1}, {"dense", 3}}), 0.25, 0.25, 0.25);
}

}  // namespace
}  // namespace zoetrope::data
