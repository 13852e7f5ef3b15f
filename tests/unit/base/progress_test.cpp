// Progress where stderr is no terminal, as in tests: one log line at the end at least.
#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;

TEST(Progress, EndsWithItsCounts) {
  testing::internal::CaptureStderr();
  init_log(0, 1);
  {
    Progress progress("encoding", 4, true, "clips");
    progress.advance(2);
    progress.advance(1, "1 skipped");
  }
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("encoding: 3/4 (75%) clips, "));
  EXPECT_THAT(text, HasSubstr(" clips/s, took 0 s, 1 skipped\n"));
}

TEST(Progress, WithoutATotalCountsOnly) {
  testing::internal::CaptureStderr();
  init_log(0, 1);
  { Progress("reading", 0).advance(7); }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("reading: 7 it, "));
}

TEST(Progress, IsSilentWhenDisabled) {
  testing::internal::CaptureStderr();
  init_log(0, 1);
  { Progress("reading", 3, false).advance(3); }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(FormatDuration, IsShort) {
  EXPECT_EQ(format_duration(12.4), "12 s");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(245), "4:05");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(360000), "100:00:00");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(0.0 / 0.0), "?");
}

}  // namespace
}  // namespace zoetrope
