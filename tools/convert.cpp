// convert: a checkpoint or weights folder -> a folder of one component that diffusers loads.
#include <iostream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/dit.h"
#include "model/vae.h"
#include "train/checkpoint.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "convert --input DIR --output DIR [--dtype fp32|bf16]";
constexpr const char* kExamples =
    "  convert --input runs/vae_small --output vae_small --dtype bf16\n"
    "  convert --input runs/tiny --weights model --output transformer\n"
    "--input: a run folder (its newest checkpoint), a checkpoint, or a folder with config.json.\n";

// Where the weights lie: the folder itself, or ema/ or model/ of a checkpoint.
fs::path weights_folder(const fs::path& input, const std::string& weights) {
  if (fs::exists(input / "config.json")) return input;
  return train::resolve_checkpoint(input) / weights;
}

// What a sampler must know about a DiT goes with it.
void write_context(const fs::path& from, const fs::path& to) {
  if (fs::exists(from / "context.json")) {
    write_json(to / "context.json", read_json(from / "context.json"));
  } else if (fs::exists(from.parent_path() / "state.json")) {
    write_json(to / "context.json", read_json(from.parent_path() / "state.json").at("context"));
  }
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  po::options_description own("Options of convert");
  auto add = own.add_options();
  add("input", po::value<std::string>(), "run folder, checkpoint or weights folder");
  add("output", po::value<std::string>(), "folder to write");
  add("format", po::value<std::string>()->default_value("diffusers"), "diffusers");
  add("dtype", po::value<std::string>()->default_value("fp32"), "fp32 or bf16");
  add("weights", po::value<std::string>()->default_value("ema"), "ema or model, of a checkpoint");
  if (!parse_options(argc, argv, kUsage, kExamples, own, "", common, values)) return kExitOk;
  for (const char* name : {"input", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  ZOETROPE_CHECK_CONFIG(text("format") == "diffusers", "--format ", text("format"),
                        " is not supported: diffusers");
  ZOETROPE_CHECK_CONFIG(text("dtype") == "fp32" || text("dtype") == "bf16", "--dtype ",
                        text("dtype"), " is neither fp32 nor bf16");
  ZOETROPE_CHECK_CONFIG(text("weights") == "ema" || text("weights") == "model", "--weights ",
                        text("weights"), " is neither ema nor model");
  const auto dtype = text("dtype") == "bf16" ? at::kBFloat16 : at::kFloat;
  const fs::path input = weights_folder(text("input"), text("weights"));
  const fs::path output = text("output");
  const auto kind = read_json(input / "config.json").value("_class_name", "");
  std::int64_t parameters = 0;
  if (kind == "AutoencoderKLWan") {
    const auto vae = model::load_vae(input, at::kCPU);
    model::save_vae(*vae, output, dtype);
    parameters = vae->num_parameters();
  } else if (kind == "WanTransformer3DModel") {
    const auto dit = model::load_dit(input, at::kCPU);
    model::save_dit(*dit, output, dtype);
    write_context(input, output);
    parameters = dit->num_parameters();
  } else {
    throw ConfigError(concat(input.string(), "/config.json: _class_name \"", kind,
                             "\" is neither AutoencoderKLWan nor WanTransformer3DModel"));
  }
  std::cout << Json{{"component", kind}, {"parameters", parameters}, {"output", output.string()}}
            << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) { return zoetrope::launch::run_main(argc, argv, zoetrope::run); }
