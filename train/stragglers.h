// Names the ranks that take longer than the others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/communicator.h"

namespace zoetrope::train {

// Mean seconds a step of one rank, without its waiting for others.
struct RankTimes {
  double compute_s = 0, data_wait_s = 0;
};

class Stragglers {
 public:
  // Ranks are compared every `every_steps` steps; 0 = never. Collective.
  Stragglers(std::int64_t every_steps, launch::Communicator& world);
  // One step's times of this rank. On every every_steps-th step collective: rank 0 warns of each
  // rank that judge() names.
  void add(std::int64_t step, double compute_s, double data_wait_s);
  // Ranks that took over 1.3 x the median for the third time running (the sixth, ninth...).
  std::vector<int> judge(const std::vector<RankTimes>& ranks);

 private:
  std::int64_t every_steps_;
  launch::Communicator& world_;
  std::vector<std::string> hosts_;
  std::vector<int> times_running_;
  RankTimes sums_;
  std::int64_t steps_ = 0;
};

}  // namespace zoetrope::train
