// Log lines: format, and which rank's lines reach stderr and the file.
#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/files.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class Log : public testing::Test {
 protected:
  ~Log() override { init_log(0, 1); }
  TempFolder folder_;
};

TEST_F(Log, ALineHasTimeAndLevel) {
  testing::internal::CaptureStderr();
  init_log(0, 1);
  log_info("loss ", 0.5, " at {step} 100%");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("....-..-.. ..:..:..\\.... info: loss 0.5 at .step. 100%\n"));
}

TEST_F(Log, SeveralRanksAreNamed) {
  testing::internal::CaptureStderr();
  init_log(3, 8, folder_ / "log.txt");
  log_info("quiet");
  log_warn("loud");
  std::string on_terminal = testing::internal::GetCapturedStderr();
  EXPECT_THAT(on_terminal, HasSubstr("warning rank 3: loud"));
  EXPECT_THAT(on_terminal, Not(HasSubstr("quiet")));
  EXPECT_THAT(read_file(folder_ / "log.txt"), HasSubstr("info rank 3: quiet"));
}

TEST_F(Log, AppendsToTheFileAndKeepsDebugOffTheTerminal) {
  testing::internal::CaptureStderr();
  init_log(0, 1, folder_ / "log.txt");
  log_debug("first");
  init_log(0, 1, folder_ / "log.txt");
  log_error("second");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr("first")));
  std::string text = read_file(folder_ / "log.txt");
  EXPECT_THAT(text, HasSubstr("debug: first\n"));
  EXPECT_THAT(text, HasSubstr("error: second\n"));
}

TEST_F(Log, ThreadsDoNotMixLines) {
  testing::internal::CaptureStderr();
  init_log(0, 1, folder_ / "log.txt");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i) log_info("abcdefghijklmnopqrstuvwxyz");
    });
  }
  for (auto& thread : threads) thread.join();
  testing::internal::GetCapturedStderr();
  std::string text = read_file(folder_ / "log.txt"), ending = ": abcdefghijklmnopqrstuvwxyz\n";
  std::size_t count = 0;
  for (auto at = text.find(ending); at != std::string::npos; at = text.find(ending, at + 1))
    ++count;
  EXPECT_EQ(count, 400u);
}

TEST_F(Log, RefusesAFileItCannotOpenAndARankOutside) {
  EXPECT_THROW(init_log(0, 1, folder_.path()), Error);
  EXPECT_THROW(init_log(2, 2), Error);
}

}  // namespace
}  // namespace zoetrope
