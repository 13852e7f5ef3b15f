// GoogleTest under mpirun: every rank runs every test; rank 0 prints, and a failure on any rank
// fails all. Tests here use EXPECT, never ASSERT: a rank that returns early leaves the others
// waiting.
#include <iostream>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "launch/mpi_communicator.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "tests/distributed/world.h"

namespace zoetrope {
namespace {
launch::Communicator* current_world = nullptr;

// Failures of the other ranks, gathered after each test so that rank 0 can name them.
class GatherFailures : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed() || current_world->rank() == 0) return;
    failures_ +=
        concat("rank ", current_world->rank(), " ", result.file_name() ? result.file_name() : "?",
               ":", result.line_number(), ": ", result.message(), "\n");
  }
  void OnTestEnd(const testing::TestInfo&) override {
    const auto all = current_world->all_gather(failures_);
    failures_.clear();
    if (current_world->rank() != 0) return;
    for (const std::string& text : all) {
      if (!text.empty()) ADD_FAILURE() << text;
    }
  }

 private:
  std::string failures_;
};

int run(int argc, char** argv, launch::Communicator& world) {
  current_world = &world;
  model::select_device("auto", launch::local_rank().index);  // before torch is asked for one
  at::set_num_threads(1);
  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (world.rank() != 0) {
    delete listeners.Release(listeners.default_result_printer());
    testing::GTEST_FLAG(output) = "";
    delete listeners.Release(listeners.default_xml_generator());
  }
  listeners.Append(new GatherFailures);  // GoogleTest owns its listeners
  return RUN_ALL_TESTS();
}

}  // namespace

launch::Communicator& world() {
  return *current_world;
}

}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
