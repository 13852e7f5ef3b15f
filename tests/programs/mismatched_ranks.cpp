// Two ranks that call different collectives: the job that a watchdog must end.
// argv[1]: folder for the heartbeats.
#include <span>
#include <vector>

#include "launch/run_main.h"
#include "launch/watchdog.h"

namespace zoetrope {
namespace {

int run(int, char** argv, launch::Communicator& world) {
  launch::WatchdogConfig config;
  config.setup_s = config.step_s = 2;
  launch::Watchdog watchdog(config, argv[1], world.rank(), world.size());
  watchdog.enter(launch::Phase::kStep, 1);
  std::vector<double> values(100, world.rank());
  world.all_reduce_sum(std::span<double>(values));
  watchdog.enter(launch::Phase::kStep, 2);
  if (world.rank() == 0) world.all_reduce_sum(std::span<double>(values));
  world.barrier();
  return 0;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
