// train: fits the model that a config describes, alone or under mpirun.
#include <cstdlib>
#include <iostream>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "launch/stop_signal.h"
#include "model/device.h"
#include "train/run_plan.h"
#include "train/trainer.h"

namespace po = boost::program_options;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "train --config FILE.yaml [--set a.b=value]... [--resume auto|none|DIR]";
constexpr const char* kExamples =
    "  mpirun -np 2 train --config dit_tiny.yaml --set dit.corpus=corpus --set run.dir=runs/tiny\n"
    "  train --config wan_14b.yaml --set mesh.shard=64 --set hardware.memory_gb=512 --dry-run "
    "--ranks 128\n"
    "  mpirun -np 4 train --config dit_b.yaml --set mesh.shard=2 --set dit.corpus=corpus\n"
    "mesh.shard=N: groups of N ranks hold the optimiser's state once between them, not N times;\n"
    "mesh.sequence=N: groups of N ranks share the tokens of every sample, for long videos.\n"
    "The ranks' number must be a multiple of both together. A checkpoint loads on any mesh.\n"
    "SIGUSR1 or SIGTERM: finish the step, save, end with 0; a second one ends at once.\n"
    "--dry-run builds nothing: it prints parameters, memory, tokens, FLOPs and time of a step, "
    "and\n"
    "ends with 2 when a rank would need more memory than it has; so does the run itself.\n"
    "A run goes on where it stopped: --resume auto is the default.\n";

// The autoencoder is trained on CPUs.
at::Device device_for(const std::string& task, const std::string& asked) {
  return model::select_device(task == "vae" && asked == "auto" ? "cpu" : asked,
                              launch::local_rank().index);
}

int run(int argc, char** argv, launch::Communicator& world) {
  CommonOptions common;
  po::options_description own("Options of train");
  own.add_options()(
      "resume", po::value<std::string>()->default_value("auto"),
      "auto: go on from the newest whole checkpoint of run.dir; none: start afresh; or a "
      "checkpoint or run folder")("ranks", po::value<int>(),
                                  "with --dry-run: plan for so many ranks");
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own, "", common, values)) return kExitOk;
  ZOETROPE_CHECK_CONFIG(!common.config.empty(), "--config is missing: ", kUsage);
  if (common.seed_given) common.sets.push_back(concat("seed=", common.seed));
  const auto config = load_config<train::TrainConfig>(find_config(common.config), common.sets);
  if (common.print_config) {
    if (world.rank() == 0) std::cout << print_config(config, true);
    return kExitOk;
  }
  const at::Device device = device_for(config.task, common.device);
  const bool plans_for_others = values.count("ranks") > 0;
  ZOETROPE_CHECK_CONFIG(common.dry_run || !plans_for_others,
                        "--ranks is for --dry-run; mpirun -np starts ranks");
  const int ranks = plans_for_others ? values["ranks"].as<int>() : world.size();
  ZOETROPE_CHECK_CONFIG(ranks >= 1, "--ranks is ", ranks, ", at least 1 is needed");
  const train::RunPlan plan = train::plan_run(config, ranks, device);
  if (common.dry_run && world.rank() == 0) std::cout << train::describe(plan) << std::flush;
  train::check_fits(plan, config);
  if (common.dry_run) return kExitOk;
  // Packs change their sizes: a thousand kernels, which is the default, would never be used again.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", /*overwrite=*/0);
  at::set_num_threads(launch::threads_per_rank());
  launch::listen_for_stop_signals();
  const auto on_device = model::device_communicator(world, device);
  train::Trainer trainer(config, on_device ? *on_device : world, device);
  trainer.start(values["resume"].as<std::string>());
  trainer.run();
  if (world.rank() == 0) {
    log_info("memory of rank 0: at most ", train::peak_bytes(device) >> 20, " MiB, planned ",
             plan.memory.total() >> 20, " MiB");
  }
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
