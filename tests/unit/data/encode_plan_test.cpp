// How a job is cut into parts: by the list alone, large enough, small enough, each text once.
#include "data/encode_plan.h"

#include <set>

#include <gtest/gtest.h>

#include "base/files.h"

namespace zoetrope::data {
namespace {

std::vector<WorkItem> items_of_sizes(const std::vector<std::int64_t>& sizes) {
  std::vector<WorkItem> items;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = "v" + std::to_string(i);
    items.push_back({name, {}, {name, "key" + name}, sizes[i]});
  }
  return items;
}

constexpr std::int64_t kMb = 1 << 20;

TEST(EncodePlan, PartsFollowTheListAndCloseAtTheLimit) {
  const auto parts = cut_parts(items_of_sizes({kMb, kMb, kMb, 5 * kMb, 100, 100}), {}, 2 * kMb);
  std::vector<std::vector<std::int64_t>> firsts;
  for (const WorkPart& part : parts) {
    EXPECT_EQ(part.number, static_cast<std::int64_t>(firsts.size()));
    firsts.emplace_back();
    for (const WorkGroup& group : part.groups) firsts.back().push_back(group.items.front());
  }
  // 8 MiB make parts of 128 KiB: one clip each, until those that are small.
  EXPECT_EQ(firsts, (std::vector<std::vector<std::int64_t>>{{0}, {1}, {2}, {3}, {4, 5}}));
}

TEST(EncodePlan, ThereAreEnoughPartsToShareOutAndNoneIsTiny) {
  for (const std::int64_t size : {1000, 100'000, 3'000'000}) {
    const auto parts =
        cut_parts(items_of_sizes(std::vector<std::int64_t>(20'000, size)), {}, 256 * kMb);
    const std::int64_t total = 20'000 * size;
    EXPECT_LE(static_cast<std::int64_t>(parts.size()), 513);
    EXPECT_GE(static_cast<std::int64_t>(parts.size()),
              std::min<std::int64_t>(500, total / (kMb / 8)));
    for (const WorkPart& part : parts) EXPECT_LE(part.bytes, 257 * kMb);
  }
}

TEST(EncodePlan, EachTextIsInTheFirstPartThatNeedsItAndTheEmptyOneInTheFirst) {
  auto items = items_of_sizes({kMb, kMb, kMb});
  items[0].captions = {"red", "blue"};
  items[1].captions = {"blue", "green"};
  items[2].captions = {"known", "red"};
  KnownParts known;
  known.first_part = 7;
  known.text_ids = {hash_text("known")};
  const auto parts = cut_parts(items, known, kMb);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].number, 7);
  EXPECT_EQ(parts[0].texts, (std::vector<std::string>{"", "red", "blue"}));
  EXPECT_EQ(parts[1].texts, (std::vector<std::string>{"green"}));
  EXPECT_TRUE(parts[2].texts.empty());
}

TEST(EncodePlan, EqualContentIsOneGroupAndUnreadableFilesAreNot) {
  auto items = items_of_sizes({10, 10, 10, 10});
  items[2].origin.key = items[0].origin.key;
  items[1].origin.key = items[3].origin.key = "";
  const auto parts = cut_parts(items, {}, kMb);
  ASSERT_EQ(parts.size(), 1u);
  std::vector<std::vector<std::int64_t>> groups;
  for (const WorkGroup& group : parts[0].groups) groups.push_back(group.items);
  EXPECT_EQ(groups, (std::vector<std::vector<std::int64_t>>{{0, 2}, {1}, {3}}));
}

}  // namespace
}  // namespace zoetrope::data
