// The calibration record: bit-exact on disk, strict to read, and true to what ranks measure.
#include "data/calibration.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

Calibration some_record() {
  return {40, {0.1, 1.0 / 3, 1e-310}, {1.0000000000000002, 0.7, std::nextafter(1.3, 2)}};
}

TEST(Calibration, JsonComesBackBitForBit) {
  const Calibration record = some_record();
  const std::string text = calibration_to_json(record).dump();
  EXPECT_EQ(calibration_from_json(parse_json(text, "x"), "x"), record);
}

TEST(Calibration, ReaderIsStrict) {
  const auto refused = [](const std::function<void(Json&)>& change) {
    Json json = calibration_to_json(some_record());
    change(json);
    EXPECT_THROW(calibration_from_json(json, "x"), DataError) << json.dump();
  };
  refused([](Json& json) { json.erase("speeds"); });
  refused([](Json& json) { json["more"] = 1; });
  refused([](Json& json) { json["from_step"] = -1; });
  refused([](Json& json) { json["from_step"] = 1.5; });
  refused([](Json& json) { json["cost"] = {1, 2}; });
  refused([](Json& json) { json["cost"] = {1, 2, -3}; });
  refused([](Json& json) { json["cost"] = {0, 0, 0}; });
  refused([](Json& json) { json["speeds"] = {1, 0, 1}; });
  refused([](Json& json) { json["speeds"] = {1, "fast", 1}; });
  refused([](Json& json) { json["speeds"] = 1; });
  refused([](Json& json) { json = Json::array(); });
}

TEST(Calibration, HoldsUntilTheNextRecord) {
  const std::vector<Calibration> records = {{0, {}, {}}, {10, {}, {}}, {20, {}, {}}};
  EXPECT_EQ(calibration_at(records, 0).from_step, 0);
  EXPECT_EQ(calibration_at(records, 9).from_step, 0);
  EXPECT_EQ(calibration_at(records, 10).from_step, 10);
  EXPECT_EQ(calibration_at(records, 99).from_step, 20);
  EXPECT_THROW(calibration_at({}, 0), Error);
}

// Ranks of known speeds measure packs of known costs: both are found, whatever was believed.
TEST(Calibration, FitFindsCostsAndSpeeds) {
  const CostModel truth{2e-3, 1.1e-6, 8.6e-11};
  const std::vector<double> speeds = {1.05, 0.9, 1.1, 0.95};
  std::vector<MeasuredPacks> packs(4);
  Random random(1, Purpose::kTest);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (int step = 0; step < 30; ++step) {
      PackContents contents;
      double seconds = 0;
      for (int i = 0; i < 6; ++i) {
        const std::int64_t tokens = random.integer(64, 60000);
        contents.add(tokens, 1);
        seconds += truth(tokens) / speeds[rank];
      }
      packs[rank].add(contents, seconds);
    }
  }
  const Calibration found = fit_calibration({}, packs, 0.5);
  EXPECT_NEAR(found.cost.per_sample / truth.per_sample, 1, 1e-2);
  EXPECT_NEAR(found.cost.per_token / truth.per_token, 1, 1e-2);
  EXPECT_NEAR(found.cost.per_token_squared / truth.per_token_squared, 1, 1e-2);
  for (std::size_t rank = 0; rank < 4; ++rank) EXPECT_NEAR(found.speeds[rank], speeds[rank], 1e-3);
  // From known speeds, half the weight goes half the way.
  const Calibration half = fit_calibration({0, {}, {1, 1, 1, 1}}, packs, 0.5);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_NEAR(half.speeds[rank], (1 + found.speeds[rank]) / 2, 1e-12);
  }
}

TEST(Calibration, StaysWhenNothingWasMeasured) {
  const Calibration record = some_record();
  const std::vector<MeasuredPacks> nothing(3);
  EXPECT_EQ(fit_calibration(record, nothing, 0.5), record);
}

}  // namespace
}  // namespace zoetrope::data
