// What a program ends with, by what it throws.
#include "launch/run_main.h"

#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::launch {
namespace {

int exit_code_of(const std::function<void()>& body) {
  return run_main(0, nullptr, [&](int, char**) {
    body();
    return 0;
  });
}

TEST(RunMain, TurnsWhatIsThrownIntoItsExitCode) {
  EXPECT_EQ(exit_code_of([] {}), 0);
  EXPECT_EQ(exit_code_of([] { throw Error("x"); }), kExitFailure);
  EXPECT_EQ(exit_code_of([] { throw ConfigError("x"); }), kExitUserMistake);
  EXPECT_EQ(exit_code_of([] { throw DataError("x"); }), kExitBadData);
  EXPECT_EQ(exit_code_of([] { throw std::bad_alloc(); }), kExitOutOfMemory);
  EXPECT_EQ(exit_code_of([] { throw 7; }), kExitFailure);
}

TEST(RunMain, PrintsOneLineWithoutABacktrace) {
  testing::internal::CaptureStderr();
  exit_code_of([] {
    throw std::runtime_error(
        "sizes 3 and 4 differ\nException raised from f at g.cpp:1 (most recent call first):\n#0");
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: sizes 3 and 4 differ\n");
}

TEST(SingleRank, CollectivesAreTheIdentity) {
  const auto alone = make_single_rank_communicator();
  std::vector<float> values = {1, 2};
  alone->all_reduce_sum(std::span<float>(values));
  EXPECT_EQ(values, (std::vector<float>{1, 2}));
  EXPECT_EQ(alone->all_gather("x"), std::vector<std::string>{"x"});
  EXPECT_EQ(alone->split(5)->size(), 1);
  EXPECT_THROW(alone->broadcast(std::span<float>(values), 1), Error);
}

TEST(Threads, FollowTheEnvironmentFirst) {
  setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(threads_per_rank(), 3);
  unsetenv("OMP_NUM_THREADS");
  setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "1000000", 1);
  EXPECT_EQ(threads_per_rank(), 1);
  unsetenv("OMPI_COMM_WORLD_LOCAL_SIZE");
}

}  // namespace
}  // namespace zoetrope::launch
