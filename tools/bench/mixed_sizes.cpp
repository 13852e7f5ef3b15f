// Trains a small transformer on samples of very different sizes, under mpirun, with ways to share
// them out: the planner, which lets ranks share a long one, equal tokens a rank, and buckets of
// equal shapes. What is compared is the slowest rank's time, in CPU seconds, so that ranks may
// share cores.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <boost/program_options.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "data/planner.h"
#include "launch/mesh.h"
#include "launch/run_main.h"
#include "model/dit.h"
#include "tools/bench/balance_mixes.h"
#include "train/optimizer.h"
#include "train/seat_groups.h"

namespace zoetrope::bench {
namespace {

constexpr std::int64_t kClips = 1 << 16;
constexpr std::int64_t kTextTokens = 8;

struct Settings {
  std::int64_t heads = 2, layers = 4, per_rank = 32, learn = 6, steps = 6, shrink = 48;
  std::string mix = "A", dtype = "bf16";
};

// Latent frames, and tokens of each.
struct Shape {
  std::int64_t frames = 1, per_frame = 1;
  std::int64_t tokens() const { return frames * per_frame; }
  auto operator<=>(const Shape&) const = default;
};
// What one rank runs in a step; the samples of one seat are neighbours.
struct Pack {
  std::vector<Shape> shapes;
  std::vector<data::Seat> seats;
};

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// A data set's clips with so many times fewer tokens a frame: a narrow model then spends as much of
// its time in attention as a wide one on the clips as they are.
std::vector<Shape> shapes_of(const Settings& settings) {
  std::vector<Shape> shapes;
  for (const Clip& clip : draw_mix(settings.mix[0], kClips)) {
    const std::int64_t per_frame = (clip.tokens_per_frame + settings.shrink / 2) / settings.shrink;
    shapes.push_back({clip.frames, std::max<std::int64_t>(1, per_frame)});
  }
  return shapes;
}

model::DitConfig dit_config(const Settings& settings) {
  model::DitConfig config;
  config.num_attention_heads = settings.heads;
  config.attention_head_dim = 64;
  config.num_layers = settings.layers;
  config.ffn_dim = 4 * config.width();
  config.in_channels = config.out_channels = 8;
  config.patch_size = {1, 1, 1};
  config.text_dim = 64;
  return config;
}

std::int64_t tokens_of(const Pack& pack) {
  std::int64_t tokens = 0;
  for (const Shape& shape : pack.shapes) tokens += shape.tokens();
  return tokens;
}

// With samples shared by as many ranks as there are, if that is a power of two.
data::PlannerConfig planner_of(const Settings& settings, int num_ranks) {
  data::PlannerConfig planner;
  planner.global_batch = settings.per_rank * num_ranks;
  planner.max_sp_degree = num_ranks;
  return planner;
}

// What a rank did in a step.
struct Work {
  double seconds = 0;
  std::int64_t tokens = 0;  // its own ones of shared samples
};

// One rank's model and optimiser.
class Rank {
 public:
  Rank(const Settings& settings, launch::Communicator& world)
      : settings_(settings),
        world_(world),
        mesh_({}, world),
        seat_groups_(mesh_, planner_of(settings, world.size())),
        dit_(dit_config(settings), at::kCPU),
        optimizer_(dit_, {}, train::Sharding::kOptimizer, mesh_) {
    optimizer_.fill_weights(dit_.initial_weights(1));
  }

  // Forward, backward and update, without the time that it waits for others. Collective.
  Work step(const Pack& pack) {
    const model::DitInput input = input_of(pack);
    const model::TokenPlan plan = seat_groups_.token_plan(pack.seats, input.grids);
    const at::Tensor target = at::randn({plan.num_own(), dit_.config().out_channels});
    const double start = cpu_seconds();
    optimizer_.begin_gradients();
    optimizer_.begin_pass(true);
    const at::Tensor output =
        dit_.forward(input, settings_.dtype == "bf16" ? at::kBFloat16 : at::kFloat, plan);
    (output - target).square().mean().backward();
    const double ready = cpu_seconds();
    optimizer_.finish_gradients();
    const double arrived = cpu_seconds();
    optimizer_.update(++steps_, 1e-4, 1);
    return {ready - start + cpu_seconds() - arrived, plan.num_own()};
  }

  launch::Communicator& world() { return world_; }

 private:
  model::DitInput input_of(const Pack& pack) const {
    model::DitInput input;
    const std::int64_t tokens = tokens_of(pack);
    for (const Shape& shape : pack.shapes) {
      input.row_of_segment.push_back(static_cast<std::int64_t>(input.grids.size()));
      input.grids.push_back({shape.frames, 1, shape.per_frame});
      input.text_lengths.push_back(kTextTokens);
    }
    const auto samples = static_cast<std::int64_t>(pack.shapes.size());
    input.patches_TK = at::randn({tokens, dit_.config().in_channels});
    input.text_LE = at::randn({samples * kTextTokens, dit_.config().text_dim});
    input.timesteps_U = at::full({samples}, 500.f);
    return input;
  }

  Settings settings_;
  launch::Communicator& world_;
  launch::Mesh mesh_;
  train::SeatGroups seat_groups_;
  model::Dit dit_;
  train::Optimizer optimizer_;
  std::int64_t steps_ = 0;
};

// What the steps of one way took.
struct Result {
  double mean_s = 0, slowest_s = 0;  // summed over steps
  double samples = 0, tokens = 0;
  void add(const Work& mine, launch::Communicator& world) {
    std::vector<double> sum = {mine.seconds, static_cast<double>(mine.tokens)};
    std::vector<double> most = {mine.seconds};
    world.all_reduce_sum(std::span<double>(sum));
    world.all_reduce_max(most);
    mean_s += sum[0] / world.size();
    tokens += sum[1];
    slowest_s += most[0];
  }
  double rate() const { return samples / slowest_s; }
  double token_rate() const { return tokens / slowest_s; }
  double balance() const { return mean_s / slowest_s; }
};

// The steps that a planner draws, placed by `calibration`; learns from them when told to.
class Planned {
 public:
  Planned(const data::PlannerConfig& planner, const std::vector<Shape>& shapes, int num_ranks)
      : shapes_(shapes), num_ranks_(num_ranks), planner_(planner) {
    for (const Shape& shape : shapes) tokens_.push_back(shape.tokens());
  }

  Result run(Rank& rank, std::int64_t first, std::int64_t count,
             const data::Calibration& calibration, data::Calibrator* learn = nullptr) const {
    Result result;
    for (std::int64_t step = first; step < first + count; ++step) {
      const auto plan = data::plan_step(planner_, step, tokens_, num_ranks_, calibration);
      std::vector<data::PlannedSample> mine;
      for (const data::PlannedSample& sample : plan.samples) {
        if (sample.seat.holds(rank.world().rank())) mine.push_back(sample);
      }
      train::join_seats(
          mine, [](const data::PlannedSample& s) -> auto& { return s.seat; });
      Pack pack;
      data::PackContents contents;
      for (const data::PlannedSample& sample : mine) {
        pack.shapes.push_back(shapes_[static_cast<std::size_t>(sample.clip)]);
        pack.seats.push_back(sample.seat);
        contents.add(pack.shapes.back().tokens(),
                     data::shared_cost(1, sample.seat.sp_degree, planner_.sp_overhead));
      }
      const Work work = rank.step(pack);
      if (learn != nullptr) learn->measure(contents, work.seconds);
      result.add(work, rank.world());
      result.samples += static_cast<double>(planner_.global_batch);
    }
    return result;
  }

  data::Calibration start() const { return data::starting_calibration(planner_); }

 private:
  const std::vector<Shape>& shapes_;
  int num_ranks_;
  std::vector<std::int64_t> tokens_;
  data::PlannerConfig planner_;
};

// Each rank runs one batch of one bucket: samples of one shape, as many as make up the mean rank's
// tokens at least. With `cuts` frames are rounded down to a power of two, and what that cuts off is
// not trained on; without, every shape has its own bucket, and no bucket runs dry. Buckets are
// drawn by their number of batches, so that every sample comes equally often.
Result run_buckets(const Settings& settings, const std::vector<Shape>& shapes, bool cuts,
                   Rank& rank) {
  std::map<Shape, double> samples_of;
  double tokens = 0;
  for (Shape shape : shapes) {
    tokens += static_cast<double>(shape.tokens());
    std::int64_t frames = cuts ? 1 : shape.frames;
    while (2 * frames <= shape.frames) frames *= 2;
    samples_of[{frames, shape.per_frame}] += 1;
  }
  const double budget =
      tokens / static_cast<double>(shapes.size()) * static_cast<double>(settings.per_rank);
  std::vector<std::pair<double, Pack>> buckets;  // batches so far, one of them
  double batches = 0;
  for (const auto& [shape, samples] : samples_of) {
    const double size = std::ceil(budget / static_cast<double>(shape.tokens()));
    batches += samples / size;
    const auto count = static_cast<std::size_t>(size);
    buckets.emplace_back(batches, Pack{std::vector(count, shape), std::vector<data::Seat>(count)});
  }
  Result result;
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    Random random(3, Purpose::kTest, static_cast<std::uint64_t>(step),
                  static_cast<std::uint64_t>(rank.world().rank()));
    const double draw = random.uniform() * batches;
    const auto bucket = std::find_if(buckets.begin(), buckets.end() - 1,
                                     [&](const auto& candidate) { return draw < candidate.first; });
    result.add(rank.step(bucket->second), rank.world());
  }
  // On average: a batch of many images is rare, and no few steps would have its share of them.
  result.samples = static_cast<double>(settings.steps * rank.world().size()) *
                   static_cast<double>(shapes.size()) / batches;
  return result;
}

int run(int argc, char** argv, launch::Communicator& world) {
  namespace po = boost::program_options;
  Settings s;
  po::options_description own("Settings");
  own.add_options()("heads", po::value(&s.heads)->default_value(s.heads), "of 64 channels")(
      "layers", po::value(&s.layers)->default_value(s.layers), "blocks")(
      "per-rank", po::value(&s.per_rank)->default_value(s.per_rank), "samples a rank and step")(
      "learn", po::value(&s.learn)->default_value(s.learn), "steps that costs are fitted to")(
      "steps", po::value(&s.steps)->default_value(s.steps), "timed steps of each way")(
      "shrink", po::value(&s.shrink)->default_value(s.shrink), "divides the tokens of a frame")(
      "mix", po::value(&s.mix)->default_value(s.mix), "A, B or C, see bench/balance")(
      "dtype", po::value(&s.dtype)->default_value(s.dtype), "fp32 or bf16");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, "mixed_sizes: samples a second of ways to share out mixed sizes",
                     "  OMP_NUM_THREADS=1 mpirun -np 4 --oversubscribe mixed_sizes --steps 6\n",
                     own, "", common, values)) {
    return kExitOk;
  }
  ZOETROPE_CHECK_CONFIG(s.mix == "A" || s.mix == "B" || s.mix == "C", "--mix is A, B or C, not ",
                        s.mix);
  at::set_num_threads(1);
  const std::vector<Shape> shapes = shapes_of(s);
  Rank rank(s, world);
  data::PlannerConfig planner = planner_of(s, world.size());
  const Planned planned(planner, shapes, world.size());
  planner.max_sp_degree = 1;
  const Planned packed(planner, shapes, world.size());
  data::Calibrator calibrator;
  planned.run(rank, 0, 1, planned.start());  // the first step allocates
  planned.run(rank, 1, s.learn, planned.start(), &calibrator);
  const data::Calibration measured =
      calibrator.publish(planned.start(), 0, world, world.rank(), world.size());
  const std::int64_t first = 1 + s.learn;
  const std::vector<std::pair<std::string, std::function<Result()>>> ways = {
      {"planner", [&] { return planned.run(rank, first, s.steps, measured); }},
      {"equal tokens",
       [&] {
         return packed.run(rank, first, s.steps, {0, {0, 1, 0}, {}});
       }},
      {"whole buckets", [&] { return run_buckets(s, shapes, false, rank); }},
      {"cut buckets", [&] { return run_buckets(s, shapes, true, rank); }}};
  Json line{{"ranks", world.size()},
            {"mix", s.mix},
            {"heads", s.heads},
            {"layers", s.layers},
            {"per_rank", s.per_rank},
            {"steps", s.steps},
            {"shrink", s.shrink},
            {"dtype", s.dtype},
            {"cost",
             {measured.cost.per_sample, measured.cost.per_token, measured.cost.per_token_squared}}};
  for (const auto& [name, way] : ways) {
    const Result result = way();
    line[name] = {{"samples_per_s", result.rate()},
                  {"tokens_per_s", result.token_rate()},
                  {"balance", result.balance()},
                  {"slowest_rank_s", result.slowest_s}};
    if (world.rank() > 0) continue;
    std::printf("%-14s %10.2f samples a second, %10.0f tokens a second, balance %.3f\n",
                name.c_str(), result.rate(), result.token_rate(), result.balance());
    std::fflush(stdout);
  }
  if (world.rank() == 0) std::printf("%s\n", line.dump().c_str());
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope::bench

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::bench::run);
}
