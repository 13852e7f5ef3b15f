// The calibration record: what samples cost and how fast ranks are, from one step on. Rank 0
// publishes it, every rank places by it, every checkpoint holds it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/cost_model.h"
#include "launch/communicator.h"

namespace zoetrope::data {

struct Calibration {
  std::int64_t from_step = 0;  // in force from this step until the next record's
  CostModel cost;
  std::vector<double> speeds;  // of each rank, 1 = the mean; empty: all 1

  bool operator==(const Calibration&) const = default;
};

// ConfigError for a speed that is not > 0 and finite, a count that is not `num_ranks`, a bad cost.
void check_calibration(const Calibration& calibration, int num_ranks);

// {"from_step": 40, "cost": [a0, a1, a2], "speeds": [1.01, 0.99]}; doubles come back bit for bit.
// Reading is strict: an unknown or missing key, another type or a value out of range is a
// DataError.
Json calibration_to_json(const Calibration& calibration);
Calibration calibration_from_json(const Json& json, const std::string& origin);

// The last record with from_step <= step, of records sorted by from_step.
const Calibration& calibration_at(std::span<const Calibration> records, std::int64_t step);

// The next record, of every rank's measured packs since the last one. Costs and speeds are fitted
// in turn; a rank's speed moves from `last` towards the mean of predicted / measured by `weight`
// (all the way when `last` knows no speeds), and the mean speed is 1. `last` stays when the packs
// determine no cost.
Calibration fit_calibration(const Calibration& last, std::span<const MeasuredPacks> of_ranks,
                            double weight);

// Measures this rank's packs and agrees on the next record with the others.
class Calibrator {
 public:
  void measure(const PackContents& pack, double seconds) { packs_.add(pack, seconds); }
  // Collective. Rank 0 fits and publishes: the same bits on every rank. Starts measuring anew.
  // `place`: which of the `num_places` that the planner deals samples to this rank is, or belongs
  // to: ranks that run the same samples count as one.
  Calibration publish(const Calibration& last, std::int64_t from_step, launch::Communicator& world,
                      int place, int num_places);

 private:
  MeasuredPacks packs_;
};

}  // namespace zoetrope::data
