// The loader: the same steps whatever the threads and wherever it starts, and it never hangs.
#include "data/loader.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::some_clips;
using testing::TempFolder;
namespace fs = std::filesystem;

class LoaderTest : public ::testing::Test {
 protected:
  LoaderTest() {
    testing::write_corpus(folder_ / "c", some_clips(17));
    corpora_ = std::make_unique<CorpusMix>(std::vector<CorpusMix::Part>{{folder_ / "c"}});
    for (std::int64_t i = 0; i < corpora_->num_clips(); ++i) tokens_.push_back(10 + i * i);
    config_.planner.global_batch = 6;
    config_.planner.seed = 5;
  }

  std::vector<LoadedStep> take(const LoaderConfig& config, std::int64_t first, int count,
                               int rank = 0, int num_ranks = 1) const {
    Loader loader(*corpora_, config, tokens_, rank, num_ranks, first);
    std::vector<LoadedStep> steps;
    for (int i = 0; i < count; ++i) steps.push_back(loader.next());
    return steps;
  }

  // Flips a bit of a clip's latents.
  ClipRecord damage(std::int64_t index) const {
    const ClipRecord clip = corpora_->clip(index);
    testing::overwrite_byte(folder_ / "c" / "latents" / clip.shard, testing::place_of(clip) + 3);
    return clip;
  }

  TempFolder folder_;
  std::unique_ptr<CorpusMix> corpora_;
  std::vector<std::int64_t> tokens_;
  LoaderConfig config_;
};

void expect_equal(const std::vector<LoadedStep>& a, const std::vector<LoadedStep>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].plan.step, b[i].plan.step);
    ASSERT_EQ(a[i].samples.size(), b[i].samples.size());
    for (std::size_t k = 0; k < a[i].samples.size(); ++k) {
      EXPECT_EQ(a[i].samples[k].plan.global_index, b[i].samples[k].plan.global_index);
      EXPECT_EQ(a[i].samples[k].clip_id, b[i].samples[k].clip_id);
      EXPECT_EQ(a[i].samples[k].latent.values, b[i].samples[k].latent.values);
      EXPECT_EQ(a[i].samples[k].text.id, b[i].samples[k].text.id);
      EXPECT_EQ(a[i].samples[k].text.values, b[i].samples[k].text.values);
    }
  }
}

TEST_F(LoaderTest, ThreadsPrefetchAndCacheDoNotChangeTheContent) {
  const auto reference = take(config_, 0, 12);
  for (std::size_t i = 0; i < reference.size(); ++i) {
    EXPECT_EQ(reference[i].plan.step, static_cast<std::int64_t>(i));
    EXPECT_EQ(reference[i].samples.size(), 6u);
  }
  LoaderConfig other = config_;
  other.num_threads = 3;
  other.prefetch_steps = 7;
  other.ram_cache_bytes = 600;  // one record
  expect_equal(take(other, 0, 12), reference);
  other.ram_cache_bytes = 0;
  expect_equal(take(other, 0, 12), reference);
}

TEST_F(LoaderTest, ResumingGivesTheSameSteps) {
  auto steps = take(config_, 0, 12);
  steps.erase(steps.begin(), steps.begin() + 7);
  LoaderConfig other = config_;
  other.num_threads = 2;
  expect_equal(take(other, 7, 5), steps);
}

TEST_F(LoaderTest, RanksTogetherHaveWhatOneRankHas) {
  const auto whole = take(config_, 3, 4);
  const auto rank0 = take(config_, 3, 4, 0, 2), rank1 = take(config_, 3, 4, 1, 2);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::map<std::int64_t, const LoadedSample*> by_index;
    for (const auto* part : {&rank0[i], &rank1[i]}) {
      EXPECT_FALSE(part->samples.empty());
      for (const LoadedSample& sample : part->samples) by_index[sample.plan.global_index] = &sample;
    }
    ASSERT_EQ(by_index.size(), whole[i].samples.size());
    for (const LoadedSample& sample : whole[i].samples) {
      EXPECT_EQ(by_index.at(sample.plan.global_index)->clip_id, sample.clip_id);
      EXPECT_EQ(by_index.at(sample.plan.global_index)->text.id, sample.text.id);
    }
  }
}

TEST_F(LoaderTest, CalibrationHoldsFromItsStepWhateverIsLoadedAhead) {
  Calibration record{0, {0, 1, 0}, {1, 3}};  // rank 1 is three times as fast
  config_.num_threads = 3;
  config_.prefetch_steps = 5;
  Loader loader(*corpora_, config_, tokens_, 0, 2, 4);
  std::vector<LoadedStep> steps = {loader.next()};
  record.from_step = 4 + loader.lead_steps();
  loader.calibrate(record);
  while (steps.back().plan.step < record.from_step + 3) steps.push_back(loader.next());
  const auto plain = take(config_, 4, static_cast<int>(steps.size()), 0, 2);
  bool moved = false;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool same = hash_plan(steps[i].plan) == hash_plan(plain[i].plan);
    if (steps[i].plan.step < record.from_step) {
      EXPECT_TRUE(same) << "step " << steps[i].plan.step;
    }
    moved = moved || !same;
  }
  EXPECT_TRUE(moved);
  EXPECT_LT(steps.back().samples.size(), 3u);
  // A run that resumes with both records has the same steps.
  const Calibration first = starting_calibration(config_.planner);
  Loader resumed(*corpora_, config_, tokens_, 0, 2, record.from_step - 1, {first, record});
  std::vector<LoadedStep> again;
  for (int i = 0; i < 5; ++i) again.push_back(resumed.next());
  expect_equal(again, {steps.end() - 5, steps.end()});
  record.from_step = 4;
  EXPECT_THAT(message_of<Error>([&] { loader.calibrate(record); }), HasSubstr("too late"));
}

TEST_F(LoaderTest, HeaviestStepHoldsTheLongestClips) {
  Loader loader(*corpora_, config_, tokens_, 0, 1, 0);
  std::set<std::int64_t> clips;
  for (const LoadedSample& sample : loader.load_heaviest().samples) clips.insert(sample.plan.clip);
  EXPECT_EQ(clips, (std::set<std::int64_t>{11, 12, 13, 14, 15, 16}));
}

TEST_F(LoaderTest, DropsAndChoosesCaptionsAtTheAskedRates) {
  config_.caption_dropout = 0.3;
  config_.planner.global_batch = 100;
  const std::string null_id = hash_text("");
  int num_draws = 0, num_dropped = 0;
  std::map<std::ptrdiff_t, int> chosen;
  for (const LoadedStep& step : take(config_, 0, 40)) {
    for (const LoadedSample& sample : step.samples) {
      ++num_draws;
      if (sample.text.id == null_id) {
        ++num_dropped;
        continue;
      }
      const auto ids = corpora_->clip(sample.plan.clip).text_ids;
      const auto found = std::find(ids.begin(), ids.end(), sample.text.id);
      ASSERT_NE(found, ids.end());
      ++chosen[found - ids.begin()];
    }
  }
  ASSERT_EQ(num_draws, 4000);
  EXPECT_NEAR(num_dropped, 4000 * 0.3, 4 * std::sqrt(4000 * 0.3 * 0.7));
  const double kept = num_draws - num_dropped;
  ASSERT_EQ(chosen.size(), 3u);
  for (const auto& [position, count] : chosen) {
    EXPECT_NEAR(count, kept / 3, 4 * std::sqrt(kept * 2 / 9)) << "caption " << position;
  }
}

TEST_F(LoaderTest, DropoutOfZeroAndOneAreExact) {
  for (const double dropout : {0.0, 1.0}) {
    config_.caption_dropout = dropout;
    for (const LoadedStep& step : take(config_, 0, 10)) {
      for (const LoadedSample& sample : step.samples) {
        EXPECT_EQ(sample.text.id == hash_text(""), dropout == 1.0);
      }
    }
  }
}

TEST_F(LoaderTest, EndsAtOnceWhenNobodyTakesTheSteps) {
  config_.num_threads = 3;
  config_.prefetch_steps = 1;
  for (int i = 0; i < 20; ++i) {
    Loader loader(*corpora_, config_, tokens_, 0, 1, 0);
    if (i % 2 == 0) loader.next();
  }
}

TEST_F(LoaderTest, ABadRecordComesOutOfNextAndStaysSo) {
  const ClipRecord clip = damage(4);
  Loader loader(*corpora_, config_, tokens_, 0, 1, 0);
  const auto take_an_epoch = [&] {
    for (int i = 0; i < 3; ++i) loader.next();
  };
  EXPECT_THAT(message_of<DataError>(take_an_epoch), HasSubstr(clip.id));
  EXPECT_THAT(message_of<DataError>(take_an_epoch), HasSubstr(clip.id));
}

TEST_F(LoaderTest, ABadRecordIsReplacedByOneThatIsNotLongerOnRequest) {
  const auto whole = take(config_, 0, 9);
  damage(4);
  damage(11);
  config_.replace_bad_records = true;
  const auto rest = take(config_, 0, 9);
  int num_replaced = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(hash_plan(rest[i].plan), hash_plan(whole[i].plan));
    for (std::size_t k = 0; k < whole[i].samples.size(); ++k) {
      const LoadedSample &before = whole[i].samples[k], &now = rest[i].samples[k];
      EXPECT_EQ(now.plan.global_index, before.plan.global_index);
      const bool is_bad = before.plan.clip == 4 || before.plan.clip == 11;
      if (!is_bad) {
        EXPECT_EQ(now.clip_id, before.clip_id);
        continue;
      }
      ++num_replaced;
      EXPECT_NE(now.clip_id, before.clip_id);
      EXPECT_LT(now.plan.clip, before.plan.clip);  // later clips are longer
      EXPECT_EQ(now.latent.id, now.clip_id);
    }
  }
  EXPECT_GE(num_replaced, 5);
  expect_equal(take(config_, 0, 9), rest);
}

TEST_F(LoaderTest, CorporaAreMixedByWeight) {
  testing::write_corpus(folder_ / "d", some_clips(40));
  const CorpusMix mix({{folder_ / "c", 1}, {folder_ / "d", 3}});
  EXPECT_EQ(mix.num_clips(), 57);
  const ClipPool pool = mix.pool({1, 2, 1});
  EXPECT_EQ(pool.tokens(20), 3 * 2 * 5);
  config_.planner.global_batch = 64;
  Loader loader(mix, config_, pool, 0, 1, 0);
  int num_first = 0;
  for (int step = 0; step < 64; ++step) {
    for (const LoadedSample& sample : loader.next().samples) {
      num_first += sample.plan.clip < 17;
      EXPECT_EQ(sample.clip_id, mix.clip(sample.plan.clip).id);
    }
  }
  EXPECT_EQ(num_first, 1024);  // of 4,096
}

TEST_F(LoaderTest, HeldOutClipsAreNeverDrawn) {
  testing::write_corpus(folder_ / "d", some_clips(40));
  const CorpusMix mix({{folder_ / "c"}, {folder_ / "d"}}, {}, {}, 100);  // a tenth: 1 and 4
  EXPECT_EQ(mix.num_clips(), 16 + 36);
  const auto held_out = mix.held_out();
  ASSERT_EQ(held_out.size(), 5u);
  EXPECT_EQ(held_out[0].clip.id, mix.part(0).clip(0).id);
  EXPECT_EQ(held_out[4].clip.id, mix.part(1).clip(3).id);
  EXPECT_EQ(held_out[4].corpus, &mix.part(1));
  EXPECT_EQ(mix.clip(0).id, mix.part(0).clip(1).id);
  EXPECT_EQ(mix.clip(16).id, mix.part(1).clip(4).id);
  EXPECT_EQ(mix.clip(51).id, mix.part(1).clip(39).id);
  EXPECT_EQ(mix.latent(16, mix.clip(16)).id, mix.clip(16).id);
  EXPECT_EQ(mix.pool({1, 1, 1}).size(), 52);
  EXPECT_EQ(CorpusMix({{folder_ / "d"}}, {}, {}, 2).held_out().size(), 2u);
  testing::write_corpus(folder_ / "one", some_clips(1));
  EXPECT_THAT(message_of<ConfigError>([&] { CorpusMix({{folder_ / "one"}}, {}, {}, 1); }),
              HasSubstr("nothing is left to train on"));
}

TEST_F(LoaderTest, CorporaOfOtherEncodersDoNotMix) {
  testing::write_corpus(folder_ / "d", some_clips(2));
  Json header = testing::make_header();
  header["format"] = kCorpusFormat;
  header["vae"]["hash"] = "cccc";
  write_json(folder_ / "d" / "corpus.json", header);
  EXPECT_THAT(message_of<ConfigError>([&] {
                CorpusMix({{folder_ / "c"}, {folder_ / "d"}});
              }),
              HasSubstr("do not mix: vae"));
}

TEST_F(LoaderTest, RefusesSettingsThatCannotWork) {
  const auto message = [&](const LoaderConfig& config) {
    return message_of<ConfigError>([&] { Loader loader(*corpora_, config, tokens_, 0, 1, 0); });
  };
  LoaderConfig bad = config_;
  bad.caption_dropout = 1.5;
  EXPECT_THAT(message(bad), HasSubstr("caption_dropout is 1.5"));
  bad = config_;
  bad.num_threads = 0;
  EXPECT_THAT(message(bad), HasSubstr("num_threads is 0"));
  bad = config_;
  bad.planner.global_batch = 0;
  EXPECT_THAT(message(bad), HasSubstr("global_batch is 0"));
  tokens_.pop_back();
  EXPECT_THAT(message_of<Error>([&] { Loader loader(*corpora_, config_, tokens_, 0, 1, 0); }),
              HasSubstr("a pool of 16 clips for 17"));
}

}  // namespace
}  // namespace zoetrope::data
