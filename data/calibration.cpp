// Calibration: checks, JSON, and the fit over all ranks' packs.
#include "data/calibration.h"

#include <cmath>
#include <cstring>

#include "base/error.h"

namespace zoetrope::data {
namespace {

// Share of a new measurement in a rank's speed.
constexpr double kSpeedWeight = 0.5;
// Costs for given speeds, speeds for given costs, ...: converges by a factor of ~10 a round.
constexpr int kFitRounds = 4;

struct Message {
  std::int64_t place;
  std::array<double, MeasuredPacks::kNumbers> numbers;
};

double number_of(const Json& json, const std::string& origin) {
  ZOETROPE_CHECK_DATA(json.is_number(), origin, ": expected a number, found ", json.dump());
  return json.get<double>();
}

const Json& array_of(const Json& json, const char* key, const std::string& origin) {
  ZOETROPE_CHECK_DATA(json.at(key).is_array(), origin, ": ", key, " is not a list");
  return json.at(key);
}

void normalise(std::vector<double>& speeds) {
  double sum = 0;
  for (const double speed : speeds) sum += speed;
  for (double& speed : speeds) speed *= static_cast<double>(speeds.size()) / sum;
}

MeasuredPacks at_equal_speed(std::span<const MeasuredPacks> of_ranks,
                             const std::vector<double>& speeds) {
  MeasuredPacks all;
  for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) all.add(of_ranks[rank], speeds[rank]);
  return all;
}

}  // namespace

void check_calibration(const Calibration& calibration, int num_ranks) {
  check_cost_model(calibration.cost, "calibration");
  const auto& speeds = calibration.speeds;
  ZOETROPE_CHECK_CONFIG(speeds.empty() || speeds.size() == static_cast<std::size_t>(num_ranks),
                        "calibration has ", speeds.size(), " speeds for ", num_ranks, " ranks");
  for (std::size_t rank = 0; rank < speeds.size(); ++rank) {
    ZOETROPE_CHECK_CONFIG(std::isfinite(speeds[rank]) && speeds[rank] > 0,
                          "calibration: speed of rank ", rank, " is ", speeds[rank],
                          ", expected > 0");
  }
}

Json calibration_to_json(const Calibration& calibration) {
  const CostModel& cost = calibration.cost;
  return Json{{"from_step", calibration.from_step},
              {"cost", {cost.per_sample, cost.per_token, cost.per_token_squared}},
              {"speeds", calibration.speeds}};
}

Calibration calibration_from_json(const Json& json, const std::string& origin) {
  ZOETROPE_CHECK_DATA(json.is_object(), origin, ": a calibration is an object");
  for (const char* key : {"from_step", "cost", "speeds"}) {
    ZOETROPE_CHECK_DATA(json.contains(key), origin, ": calibration without ", key);
  }
  for (const auto& [key, value] : json.items()) {
    ZOETROPE_CHECK_DATA(key == "from_step" || key == "cost" || key == "speeds", origin,
                        ": calibration has an unknown key ", key);
  }
  ZOETROPE_CHECK_DATA(json.at("from_step").is_number_integer() && json.at("from_step") >= 0, origin,
                      ": from_step is ", json.at("from_step").dump());
  Calibration result;
  result.from_step = json.at("from_step").get<std::int64_t>();
  const Json& cost = array_of(json, "cost", origin);
  ZOETROPE_CHECK_DATA(cost.size() == 3, origin, ": cost has ", cost.size(), " numbers, not 3");
  result.cost = {number_of(cost[0], origin), number_of(cost[1], origin),
                 number_of(cost[2], origin)};
  for (const Json& speed : array_of(json, "speeds", origin)) {
    result.speeds.push_back(number_of(speed, origin));
  }
  try {
    check_calibration(result, static_cast<int>(result.speeds.size()));
  } catch (const ConfigError& error) {
    throw DataError(concat(origin, ": ", error.what()));
  }
  return result;
}

const Calibration& calibration_at(std::span<const Calibration> records, std::int64_t step) {
  ZOETROPE_CHECK(!records.empty() && records[0].from_step <= step, "no calibration for step ",
                 step);
  std::size_t found = 0;
  while (found + 1 < records.size() && records[found + 1].from_step <= step) ++found;
  return records[found];
}

Calibration fit_calibration(const Calibration& last, std::span<const MeasuredPacks> of_ranks,
                            double weight) {
  Calibration next = last;
  std::vector<double> speeds = last.speeds;
  if (speeds.empty()) speeds.assign(of_ranks.size(), 1);
  CostModel cost;
  for (int round = 0; round < kFitRounds; ++round) {
    cost = fit_cost_model(at_equal_speed(of_ranks, speeds));
    if (!(cost(1) > 0)) return next;
    for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) {
      if (of_ranks[rank].packs > 0) speeds[rank] = of_ranks[rank].speed(cost);
    }
    normalise(speeds);
  }
  next.cost = cost;
  for (std::size_t rank = 0; rank < last.speeds.size(); ++rank) {
    speeds[rank] = last.speeds[rank] + weight * (speeds[rank] - last.speeds[rank]);
  }
  next.speeds = std::move(speeds);
  normalise(next.speeds);
  return next;
}

Calibration Calibrator::publish(const Calibration& last, std::int64_t from_step,
                                launch::Communicator& world, int place, int num_places) {
  const Message mine{place, packs_.numbers()};
  packs_ = {};
  const auto texts = world.all_gather({reinterpret_cast<const char*>(&mine), sizeof(mine)});
  std::string record;
  if (world.rank() == 0) {
    std::vector<MeasuredPacks> of_places(static_cast<std::size_t>(num_places));
    for (const std::string& text : texts) {
      Message message = mine;
      ZOETROPE_CHECK(text.size() == sizeof(message), "measured packs of ", text.size(), " bytes");
      std::memcpy(&message, text.data(), sizeof(message));
      ZOETROPE_CHECK(message.place >= 0 && message.place < num_places, "measured packs of place ",
                     message.place, " of ", num_places);
      of_places[static_cast<std::size_t>(message.place)].add(
          MeasuredPacks::from_numbers(message.numbers), 1);
    }
    Calibration next = fit_calibration(last, of_places, kSpeedWeight);
    next.from_step = from_step;
    record = calibration_to_json(next).dump();
  }
  record = world.all_gather(record)[0];
  return calibration_from_json(parse_json(record, "rank 0"), "rank 0");
}

}  // namespace zoetrope::data
