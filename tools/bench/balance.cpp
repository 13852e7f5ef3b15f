// Simulates how evenly plans load up to 8,192 ranks, beside other ways to place samples, and times
// the planner. What is simulated: lengths drawn from synthetic mixes, a cost model of a layer, and
// noise in costs and speeds. What is real: drawing, placement, calibration.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <numeric>
#include <sstream>

#include <boost/program_options.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "data/planner.h"
#include "launch/run_main.h"
#include "tools/bench/balance_baselines.h"

namespace zoetrope::bench {
namespace {

constexpr std::int64_t kClips = std::int64_t{1} << 20;

struct Settings {
  std::string mixes = "A,B,C", ranks = "64,1024,8192", per_rank = "8,32";
  std::int64_t steps = 20;
  int max_sp_degree = 64;
  double sp_overhead = 0.03, cost_error = 0.02, speed_error = 0.02;
  bool baselines = true, noise = true;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

// The value that a share `q` of the values does not exceed.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size());
  return values[std::min(static_cast<std::size_t>(position), values.size() - 1)];
}

// One row: the middle of the steps and the level that 95 % of them reach.
class Row {
 public:
  void add(const StepBalance& step) {
    executed_.push_back(step.executed);
    net_.push_back(step.net);
  }
  Json print(const std::string& name, const Json& setting) const {
    Json json = setting;
    json["way"] = name;
    json["executed_p50"] = quantile(executed_, 0.5);
    json["executed_p95"] = quantile(executed_, 0.05);
    json["net_p50"] = quantile(net_, 0.5);
    json["net_p95"] = quantile(net_, 0.05);
    std::printf("%-30s %8.4f %8.4f %8.4f %8.4f\n", name.c_str(), quantile(executed_, 0.5),
                quantile(executed_, 0.05), quantile(net_, 0.5), quantile(net_, 0.05));
    return json;
  }

 private:
  std::vector<double> executed_, net_;
};

// One mix on one mesh.
class Simulation {
 public:
  Simulation(const Settings& settings, char mix, int num_ranks, int per_rank)
      : settings_(settings), num_ranks_(num_ranks), clips_(draw_mix(mix, kClips)) {
    for (const Clip& clip : clips_) tokens_.push_back(clip.tokens());
    config_.global_batch = std::int64_t{1} * num_ranks * per_rank;
    config_.max_sp_degree = settings.max_sp_degree;
    config_.sp_overhead = settings.sp_overhead;
    truth_ = layer_cost();
    setting_ = Json{{"mix", std::string(1, mix)}, {"ranks", num_ranks}, {"per_rank", per_rank}};
    std::printf("\nmix %c, %d ranks, %d samples a rank: %lld steps\n%-30s %8s %8s %8s %8s\n", mix,
                num_ranks, per_rank, static_cast<long long>(settings.steps), "", "exec p50", "p95",
                "net p50", "p95");
  }

  Json run() {
    Json rows = Json::array();
    if (settings_.baselines) run_baselines(rows);
    run_planner(rows);
    if (settings_.noise) run_noise(rows);
    return rows;
  }

 private:
  double error_of(std::int64_t index, double size, std::uint64_t of) const {
    return 1 + size * Random(1, Purpose::kTest, of, static_cast<std::uint64_t>(index)).normal();
  }

  StepSamples samples_of(const data::StepPlan& plan) const {
    StepSamples step;
    step.num_ranks = num_ranks_;
    auto drawn = plan.samples;
    std::sort(drawn.begin(), drawn.end(),
              [](const auto& a, const auto& b) { return a.global_index < b.global_index; });
    for (const data::PlannedSample& sample : drawn) {
      step.clips.push_back(clips_[static_cast<std::size_t>(sample.clip)]);
      step.tokens.push_back(step.clips.back().tokens());
      step.costs.push_back(truth_(step.tokens.back()));
    }
    step.total = std::accumulate(step.costs.begin(), step.costs.end(), 0.0);
    return step;
  }

  data::StepPlan plan_of(std::int64_t step, const data::Calibration& calibration) const {
    return data::plan_step(config_, step, tokens_, num_ranks_, calibration);
  }

  void run_baselines(Json& rows) const {
    using Way = std::function<StepBalance(const StepSamples&, std::int64_t)>;
    const double overhead = settings_.sp_overhead;
    const int fixed_degree = std::min(8, num_ranks_);
    const std::vector<std::pair<std::string, Way>> ways = {
        {"pad and mask", [](const auto& step, auto) { return in_order(step, true); }},
        {"random packing", [](const auto& step, auto) { return in_order(step, false); }},
        {"buckets",
         [](const auto& step, auto n) {
           return buckets(step, Random(2, Purpose::kTest, static_cast<std::uint64_t>(n)));
         }},
        {"equal tokens",
         [](const auto& step, auto) {
           return without_adapting(step, {0, 1, 0}, 1, 0);
         }},
        {"equal cost, no sharing",
         [&](const auto& step, auto) { return without_adapting(step, truth_, 1, 0); }},
        {concat("every sample on ", fixed_degree, " ranks"), [&](const auto& step, auto) {
           return without_adapting(step, truth_, fixed_degree, overhead);
         }}};
    std::vector<Row> results(ways.size());
    for (std::int64_t n = 0; n < settings_.steps; ++n) {
      const StepSamples step = samples_of(plan_of(n, {0, truth_, {}}));
      for (std::size_t i = 0; i < ways.size(); ++i) results[i].add(ways[i].second(step, n));
    }
    for (std::size_t i = 0; i < ways.size(); ++i) {
      rows.push_back(results[i].print(ways[i].first, setting_));
    }
  }

  void run_planner(Json& rows) const {
    using Clock = std::chrono::steady_clock;
    const auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
    const data::Calibration calibration{0, truth_, {}};
    const data::RankLayout mesh{num_ranks_, 8, settings_.max_sp_degree};
    Row row;
    std::vector<double> whole_ms, place_ms;
    for (std::int64_t n = 0; n < settings_.steps; ++n) {
      const auto start = Clock::now();
      const data::StepPlan plan = plan_of(n, calibration);
      const auto planned = Clock::now();
      const StepSamples step = samples_of(plan);
      const auto ready = Clock::now();
      const auto placement =
          data::place_samples(step.tokens, mesh, {settings_.sp_overhead, 0}, calibration);
      place_ms.push_back(ms(Clock::now() - ready));
      whole_ms.push_back(ms(planned - start));
      row.add(execute(plan, [&](std::int64_t clip) { return truth_(tokens(clip)); }, {}).balance);
    }
    Json json = row.print("planner", setting_);
    json["place_ms_p50"] = quantile(place_ms, 0.5);
    json["place_ms_p95"] = quantile(place_ms, 0.95);
    json["plan_ms_p50"] = quantile(whole_ms, 0.5);
    json["plan_ms_p95"] = quantile(whole_ms, 0.95);
    std::printf("%-30s placing %.2f ms (p95 %.2f), with drawing and checks %.2f ms (p95 %.2f)\n",
                "", quantile(place_ms, 0.5), quantile(place_ms, 0.95), quantile(whole_ms, 0.5),
                quantile(whole_ms, 0.95));
    rows.push_back(json);
  }

  std::int64_t tokens(std::int64_t clip) const { return tokens_[static_cast<std::size_t>(clip)]; }

  struct Executed {
    StepBalance balance;
    data::Timeline times;
  };
  template <class CostOf>
  Executed execute(const data::StepPlan& plan, const CostOf& cost_of,
                   const std::vector<double>& speeds) const {
    data::Placement placement;
    std::vector<double> costs;
    for (const data::PlannedSample& sample : plan.samples) {
      placement.order.push_back(static_cast<std::int32_t>(costs.size()));
      placement.seats.push_back(sample.seat);
      costs.push_back(cost_of(sample.clip));
    }
    Executed result;
    result.times = data::run_seats(placement, costs, speeds, num_ranks_, settings_.sp_overhead);
    const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
    const double speed =
        speeds.empty() ? num_ranks_ : std::accumulate(speeds.begin(), speeds.end(), 0.0);
    result.balance = {result.times.balance, total / speed / result.times.makespan};
    return result;
  }

  std::vector<data::PackContents> packs_of(const data::StepPlan& plan) const {
    std::vector<data::PackContents> packs(static_cast<std::size_t>(num_ranks_));
    for (const data::PlannedSample& sample : plan.samples) {
      const auto [first, degree] = sample.seat;
      const double share = data::shared_cost(1, degree, settings_.sp_overhead);
      for (int rank = first; rank < first + degree; ++rank) {
        packs[static_cast<std::size_t>(rank)].add(tokens(sample.clip), share);
      }
    }
    return packs;
  }

  // The steps before and after three records, each of ten steps' measured times.
  void run_with_noise(Json& rows, const std::string& name, const data::CostModel& believed,
                      double cost_error, double speed_error) const {
    constexpr std::int64_t kRecords = 3, kStepsARecord = 10;
    std::vector<double> speeds;
    for (int rank = 0; rank < num_ranks_; ++rank) speeds.push_back(error_of(rank, speed_error, 1));
    const auto cost_of = [&](std::int64_t clip) {
      return truth_(tokens(clip)) * error_of(clip, cost_error, 2);
    };
    data::Calibration calibration{0, believed, {}};
    std::int64_t step = 0;
    const auto evaluate = [&](const std::string& when) {
      Row row;
      for (std::int64_t n = 0; n < settings_.steps; ++n) {
        row.add(execute(plan_of(step++, calibration), cost_of, speeds).balance);
      }
      rows.push_back(row.print(name + when, setting_));
    };
    evaluate(", before");
    for (std::int64_t record = 0; record < kRecords; ++record) {
      std::vector<data::MeasuredPacks> measured(speeds.size());
      for (std::int64_t n = 0; n < kStepsARecord; ++n) {
        const data::StepPlan plan = plan_of(step++, calibration);
        const auto packs = packs_of(plan);
        const auto busy = execute(plan, cost_of, speeds).times.busy;
        for (std::size_t rank = 0; rank < busy.size(); ++rank) {
          if (busy[rank] > 0) measured[rank].add(packs[rank], busy[rank]);
        }
      }
      calibration = data::fit_calibration(calibration, measured, 0.5);
    }
    evaluate(", after");
  }

  void run_noise(Json& rows) const {
    const double cost = settings_.cost_error, speed = settings_.speed_error;
    run_with_noise(rows, "cost error", truth_, cost, 0);
    run_with_noise(rows, "rank speeds", truth_, 0, speed);
    run_with_noise(rows, "both, attention unknown", {0, 1, 0}, cost, speed);
  }

  const Settings& settings_;
  int num_ranks_;
  std::vector<Clip> clips_;
  std::vector<std::int64_t> tokens_;
  data::PlannerConfig config_;
  data::CostModel truth_;
  Json setting_;
};

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  Settings s;
  po::options_description own("Simulation");
  own.add_options()("mixes", po::value(&s.mixes)->default_value(s.mixes), "data sets: A, B, C")(
      "ranks", po::value(&s.ranks)->default_value(s.ranks), "numbers of ranks")(
      "per-rank", po::value(&s.per_rank)->default_value(s.per_rank), "samples a rank and step")(
      "steps", po::value(&s.steps)->default_value(s.steps), "steps a row")(
      "max-sp", po::value(&s.max_sp_degree)->default_value(s.max_sp_degree),
      "ranks that may share a sample")("sp-overhead",
                                       po::value(&s.sp_overhead)->default_value(s.sp_overhead),
                                       "cost added per doubling of the ranks that share a sample")(
      "cost-error", po::value(&s.cost_error)->default_value(s.cost_error),
      "deviation of a clip's cost from its prediction")(
      "speed-error", po::value(&s.speed_error)->default_value(s.speed_error),
      "deviation of the ranks' speeds")(
      "baselines", po::value(&s.baselines)->default_value(s.baselines), "other ways beside")(
      "noise", po::value(&s.noise)->default_value(s.noise), "errors, before and after calibration");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, "balance: how evenly plans load the ranks, in simulation",
                     "  balance --mixes A --ranks 1024 --per-rank 32", own, "", common, values)) {
    return kExitOk;
  }
  ZOETROPE_CHECK_CONFIG(s.steps >= 1, "--steps is ", s.steps, ", expected at least 1");
  Json rows = Json::array();
  for (const std::string& mix : split(s.mixes)) {
    ZOETROPE_CHECK_CONFIG(mix == "A" || mix == "B" || mix == "C", "no mix ", mix);
    for (const std::string& ranks : split(s.ranks)) {
      for (const std::string& per_rank : split(s.per_rank)) {
        const Json more = Simulation(s, mix[0], std::stoi(ranks), std::stoi(per_rank)).run();
        rows.insert(rows.end(), more.begin(), more.end());
      }
    }
  }
  std::printf("%s\n", Json{{"balance", rows}}.dump().c_str());
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope::bench

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::bench::run);
}
