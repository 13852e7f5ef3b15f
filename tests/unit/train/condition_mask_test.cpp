// Condition masks come at their rates, and each is what its name says.
#include "train/condition_mask.h"

#include <map>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

namespace zoetrope::train {
namespace {

ConditionMask draw(const ConditionConfig& config, const model::Grid& grid, int sample) {
  return draw_condition(config, grid,
                        Random(5, Purpose::kCondition, 1, static_cast<std::uint64_t>(sample)));
}

// Which frames are wholly clean, as text: "10001".
std::string frames_of(const ConditionMask& mask, const model::Grid& grid) {
  std::string text;
  const at::Tensor by_frame = mask.clean_T.view({grid.t, grid.h * grid.w});
  for (std::int64_t frame = 0; frame < grid.t; ++frame) {
    text += by_frame[frame].all().item<bool>() ? '1' : '0';
  }
  return text;
}

TEST(ConditionMask, KindsComeAtTheirRates) {
  ConditionConfig config;
  config.first = 0.2;
  config.last = 0.05;
  config.ends = 0.1;
  config.prefix = 0.1;
  config.suffix = 0.05;
  config.join = 0.05;
  config.frames = 0.1;
  config.region = 0.05;
  const std::map<std::string, double> rates = {{"first", 0.2},  {"last", 0.05},   {"ends", 0.1},
                                               {"prefix", 0.1}, {"suffix", 0.05}, {"join", 0.05},
                                               {"frames", 0.1}, {"region", 0.05}, {"none", 0.3}};
  constexpr int kDraws = 20000;
  std::map<std::string, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[draw(config, {5, 3, 4}, i).kind];
  double chi_square = 0;
  for (const auto& [kind, rate] : rates) {
    const double expected = rate * kDraws;
    chi_square += (counts[kind] - expected) * (counts[kind] - expected) / expected;
  }
  EXPECT_EQ(counts.size(), rates.size());
  EXPECT_LT(chi_square, 26.1);  // 8 degrees of freedom, 0.1 %
}

TEST(ConditionMask, EachIsWhatItsNameSays) {
  const model::Grid grid{6, 2, 3};
  const auto all = [&](double ConditionConfig::*kind) {
    ConditionConfig config;
    config.*kind = 1;
    std::map<std::string, int> seen;
    for (int i = 0; i < 500; ++i) ++seen[frames_of(draw(config, grid, i), grid)];
    return seen;
  };
  EXPECT_EQ(all(&ConditionConfig::first), (std::map<std::string, int>{{"100000", 500}}));
  EXPECT_EQ(all(&ConditionConfig::last), (std::map<std::string, int>{{"000001", 500}}));
  EXPECT_EQ(all(&ConditionConfig::ends), (std::map<std::string, int>{{"100001", 500}}));
  const auto prefixes = all(&ConditionConfig::prefix), suffixes = all(&ConditionConfig::suffix);
  EXPECT_EQ(prefixes.size(), 5u);
  EXPECT_TRUE(prefixes.contains("111110") && prefixes.contains("100000"));
  EXPECT_EQ(suffixes.size(), 5u);
  EXPECT_TRUE(suffixes.contains("011111") && suffixes.contains("000001"));
  const auto joins = all(&ConditionConfig::join);
  EXPECT_EQ(joins.size(), 10u);  // 1..4 at the start, the rest at the end, one missing at least
  for (const auto& [frames, count] : joins) {
    EXPECT_EQ(frames.front(), '1') << frames;
    EXPECT_EQ(frames.back(), '1') << frames;
    EXPECT_NE(frames.find('0'), std::string::npos) << frames;
  }
  const auto any = all(&ConditionConfig::frames);
  EXPECT_GT(any.size(), 40u);  // of 62
  EXPECT_FALSE(any.contains("000000") || any.contains("111111"));
}

TEST(ConditionMask, RegionIsABoxInEveryFrame) {
  ConditionConfig config;
  config.region = 1;
  const model::Grid grid{3, 4, 5};
  for (int i = 0; i < 200; ++i) {
    const at::Tensor edited = draw(config, grid, i).clean_T.view({3, 4, 5}).logical_not();
    EXPECT_TRUE(edited[0].equal(edited[1]) && edited[0].equal(edited[2]));
    const auto rows = edited[0].any(1).sum().item<std::int64_t>();
    const auto columns = edited[0].any(0).sum().item<std::int64_t>();
    EXPECT_EQ(edited[0].sum().item<std::int64_t>(), rows * columns);
    EXPECT_GE(rows * columns, 1);
    EXPECT_LT(rows * columns, 20);
  }
}

TEST(ConditionMask, SamplesTooSmallForTheirMaskGetNone) {
  ConditionConfig config;
  config.join = 1;
  EXPECT_EQ(draw(config, {2, 4, 4}, 1).kind, "none");
  EXPECT_EQ(draw(config, {3, 4, 4}, 1).kind, "join");
  config.join = 0;
  config.first = 1;
  EXPECT_EQ(draw(config, {1, 4, 4}, 1).kind, "none");
  EXPECT_FALSE(draw(config, {1, 4, 4}, 1).clean_T.defined());
}

}  // namespace
}  // namespace zoetrope::train
