// train: fits the model that a config describes, alone or under mpirun.
#include <iostream>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/files.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "train/trainer.h"

namespace po = boost::program_options;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "train --config FILE.yaml [--set a.b=value]... [--resume auto|none|DIR]";
constexpr const char* kExamples =
    "  mpirun -np 2 train --config dit_tiny.yaml --set dit.corpus=corpus --set run.dir=runs/tiny\n"
    "  train --config vae_small.yaml --set vae.videos='[clips]' --dry-run\n"
    "  mpirun -np 4 train --config dit_b.yaml --set mesh.shard=2 --set dit.corpus=corpus\n"
    "mesh.shard=N: groups of N ranks hold the optimiser's state once between them, not N times;\n"
    "mesh.sequence=N: groups of N ranks share the tokens of every sample, for long videos.\n"
    "The ranks' number must be a multiple of both together. A checkpoint loads on any mesh.\n"
    "A run goes on where it stopped: --resume auto is the default.\n";

void print_plan(const train::TrainConfig& config, launch::Communicator& world) {
  launch::Mesh mesh(config.mesh, world);
  const auto task = train::make_task(config, mesh);
  if (world.rank() != 0) return;
  const std::int64_t parameters = task->module().num_parameters();
  // fp32: weight and gradient on every rank; two moments and the average once a shard group
  const std::int64_t bytes = parameters * 4 * 2 + parameters * 4 * 3 / config.mesh.shard;
  std::cout << "task: " << config.task << "\nparameters: " << parameters
            << "\nmemory for weights, gradients, AdamW and average: " << (bytes >> 20)
            << " MiB a rank\nmesh: " << mesh.describe() << "\n"
            << task->describe();
}

int run(int argc, char** argv, launch::Communicator& world) {
  CommonOptions common;
  po::options_description own("Options of train");
  own.add_options()(
      "resume", po::value<std::string>()->default_value("auto"),
      "auto: go on from the newest whole checkpoint of run.dir; none: start afresh; or a "
      "checkpoint or run folder");
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own, "", common, values)) return kExitOk;
  ZOETROPE_CHECK_CONFIG(!common.config.empty(), "--config is missing: ", kUsage);
  ZOETROPE_CHECK_CONFIG(common.device != "cuda",
                        "--device cuda: training runs on CPUs only; forward and "
                        "bench/train_step run on CUDA devices");
  if (common.seed_given) common.sets.push_back(concat("seed=", common.seed));
  const auto config = load_config<train::TrainConfig>(find_config(common.config), common.sets);
  if (common.print_config) {
    if (world.rank() == 0) std::cout << print_config(config, true);
    return kExitOk;
  }
  at::set_num_threads(launch::threads_per_rank());
  if (common.dry_run) {
    print_plan(config, world);
    return kExitOk;
  }
  train::Trainer trainer(config, world);
  trainer.start(values["resume"].as<std::string>());
  trainer.run();
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
