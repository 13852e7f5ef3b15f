// evaluate: scores a checkpoint or a folder of videos, and writes scores.json and report.html.
#include <iostream>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "train/evaluate_reconstruction.h"
#include "train/evaluate_shapes.h"
#include "train/vae_options.h"

namespace po = boost::program_options;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "evaluate (--checkpoint DIR | --videos DIR) --suite shapes|reconstruction --output DIR";
constexpr const char* kExamples =
    "  evaluate --checkpoint runs/tiny --suite shapes --output runs/tiny/evaluation\n"
    "  evaluate --videos shapes_test --suite shapes --output judged    # make_shapes' own clips: "
    "100 %\n"
    "  evaluate --checkpoint vae_small --videos clips --suite reconstruction --output psnr\n"
    "shapes: samples held-out prompts and judges colour, shape and direction from the pixels.\n"
    "reconstruction: encodes and decodes the videos with a VAE and measures PSNR and SSIM.\n";

po::options_description own_options() {
  po::options_description own("Options of evaluate");
  auto add = own.add_options();
  add("checkpoint", po::value<std::string>()->default_value(""),
      "run folder, checkpoint, folder or shipped NAME");
  add("videos", po::value<std::string>()->default_value(""),
      "folder of videos (shapes: with truth.jsonl)");
  add("suite", po::value<std::string>()->default_value("shapes"), "shapes or reconstruction");
  add("output", po::value<std::string>(), "folder for scores.json and report.html");
  add("prompts", po::value<int>()->default_value(32), "held-out prompts to sample (shapes)");
  add("frames", po::value<int>()->default_value(17), "of each sample");
  add("height", po::value<int>()->default_value(64), "of each sample");
  add("width", po::value<int>()->default_value(64), "of each sample");
  add("steps", po::value<int>()->default_value(20), "solver steps");
  add("guidance", po::value<double>()->default_value(3), "classifier-free guidance");
  add("solver", po::value<std::string>()->default_value("unipc"), "unipc or euler");
  add("shift", po::value<double>()->default_value(3), "of the noise levels");
  add("weights", po::value<std::string>()->default_value("ema"), "ema or model");
  add("max-frames", po::value<int>()->default_value(17),
      "frames of each video (reconstruction); 0 = all");
  add("max-pixels", po::value<std::int64_t>()->default_value(0),
      "scale larger frames (reconstruction); 0 = native");
  train::add_vae_options(own);
  return own;
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "", common, values))
    return kExitOk;
  ZOETROPE_CHECK_CONFIG(values.count("output") > 0, "--output is missing: ", kUsage);
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  const at::Device device = model::select_device(common.device, launch::local_rank().index);
  at::set_num_threads(launch::threads_per_rank());
  std::string command = "evaluate";
  for (int i = 1; i < argc; ++i) command += concat(" ", argv[i]);

  Json scores;
  if (text("suite") == "shapes") {
    train::ShapesEvaluation suite;
    suite.checkpoint = text("checkpoint");
    suite.videos = text("videos");
    suite.weights = text("weights");
    suite.output = text("output");
    suite.command = command;
    suite.num_prompts = values["prompts"].as<int>();
    suite.frames = values["frames"].as<int>();
    suite.height = values["height"].as<int>();
    suite.width = values["width"].as<int>();
    suite.seed = static_cast<std::uint64_t>(common.seed);
    suite.sampling.steps = values["steps"].as<int>();
    suite.sampling.guidance = values["guidance"].as<double>();
    suite.sampling.solver = text("solver");
    suite.sampling.shift = values["shift"].as<double>();
    suite.vae_run = train::read_vae_options(values);
    suite.device = device;
    scores = train::evaluate_shapes(suite);
  } else if (text("suite") == "reconstruction") {
    train::ReconstructionEvaluation suite;
    suite.vae = text("checkpoint");
    suite.videos = text("videos");
    suite.output = text("output");
    suite.command = command;
    suite.max_frames = values["max-frames"].as<int>();
    suite.max_pixels = values["max-pixels"].as<std::int64_t>();
    suite.vae_run = train::read_vae_options(values);
    suite.device = device;
    scores = train::evaluate_reconstruction(suite);
  } else {
    throw ConfigError(concat("--suite ", text("suite"), " is neither shapes nor reconstruction"));
  }
  std::cout << scores << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
