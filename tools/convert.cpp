// convert: a checkpoint, weights or adapters -> the files of diffusers, Wan's own code or ComfyUI.
#include <iostream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/vae.h"
#include "model/weight_formats.h"
#include "train/checkpoint.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "convert --input PATH --output DIR [--format diffusers|wan|comfy|zoetrope] [--dtype fp32|bf16]";
constexpr const char* kExamples =
    "  convert --input runs/vae_small --output vae_small --dtype bf16\n"
    "  convert --input runs/tiny --weights model --output transformer\n"
    "  convert --input Wan2.1-T2V-1.3B --output transformer --format zoetrope\n"
    "  convert --input runs/lora --output comfy --format comfy\n"
    "--input: a run folder (its newest checkpoint), a checkpoint, a folder with config.json\n"
    "(diffusers' or Wan's own), or one safetensors file of ComfyUI or musubi-tuner.\n"
    "zoetrope and diffusers are the same files. Adapters stay adapters; --merge adds them to the\n"
    "weights that they were trained on. comfy writes one file.\n";

model::WeightFormat parse_format(const std::string& name) {
  if (name == "diffusers" || name == "zoetrope") return model::WeightFormat::kDiffusers;
  if (name == "wan") return model::WeightFormat::kWan;
  ZOETROPE_CHECK_CONFIG(name == "comfy", "--format ", name,
                        " is none of diffusers, wan, comfy, zoetrope");
  return model::WeightFormat::kComfy;
}

fs::path weights_path(const std::string& input, const std::string& weights) {
  if (fs::is_regular_file(input) || model::holds_lora(input)) return input;
  return train::resolve_weights(input, "transformer", weights);
}

std::string class_name(const fs::path& input) {
  if (!fs::exists(input / "config.json")) return "";
  return read_json(input / "config.json").value("_class_name", "");
}

std::int64_t count_values(const model::TensorMap& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

struct Options {
  fs::path input, output;
  model::WeightFormat format = model::WeightFormat::kDiffusers;
  at::ScalarType dtype = at::kFloat;
  bool merge = false;
};

Json convert_vae(const Options& options) {
  ZOETROPE_CHECK_CONFIG(options.format == model::WeightFormat::kDiffusers,
                        "a VAE is written as --format diffusers or zoetrope only");
  const auto vae = model::load_vae(options.input, at::kCPU);
  model::save_vae(*vae, options.output, options.dtype);
  return {{"component", "AutoencoderKLWan"}, {"parameters", vae->num_parameters()}};
}

Json convert_lora(const Options& options) {
  const model::LoraWeights lora = model::read_lora_weights(options.input);
  model::write_lora_weights(lora, options.output, options.format);
  return {{"component", "lora"},
          {"parameters", count_values(lora.tensors)},
          {"rank", lora.config.rank},
          {"alpha", lora.config.alpha}};
}

Json convert_dit(const Options& options) {
  model::DitWeights weights;
  if (options.merge) {
    const auto dit = model::load_dit(options.input, at::kCPU);  // merges what it reads
    weights.config = dit->config();
    for (const auto& [name, tensor] : dit->named_parameters()) weights.tensors[name] = tensor;
  } else {
    weights = model::read_dit_weights(options.input);
  }
  model::write_dit_weights(weights, options.output, options.format, options.dtype);
  const Json context = train::context_of(options.input);  // what a sampler must know goes with it
  if (!context.empty()) write_json(options.output / "context.json", context);
  return {{"component", "WanTransformer3DModel"}, {"parameters", count_values(weights.tensors)}};
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  po::options_description own("Options of convert");
  auto add = own.add_options();
  add("input", po::value<std::string>(), "run folder, checkpoint, weights folder or file");
  add("output", po::value<std::string>(), "folder to write");
  add("format", po::value<std::string>()->default_value("diffusers"),
      "diffusers, wan, comfy or zoetrope");
  add("dtype", po::value<std::string>()->default_value("fp32"), "fp32 or bf16; of full weights");
  add("weights", po::value<std::string>()->default_value("ema"), "ema or model, of a checkpoint");
  add("merge", po::bool_switch(), "adapters of a run: write the weights with the adapters in them");
  if (!parse_options(argc, argv, kUsage, kExamples, own, "", common, values)) return kExitOk;
  for (const char* name : {"input", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  ZOETROPE_CHECK_CONFIG(text("dtype") == "fp32" || text("dtype") == "bf16", "--dtype ",
                        text("dtype"), " is neither fp32 nor bf16");
  ZOETROPE_CHECK_CONFIG(text("weights") == "ema" || text("weights") == "model", "--weights ",
                        text("weights"), " is neither ema nor model");
  Options options{weights_path(text("input"), text("weights")), text("output"),
                  parse_format(text("format")),
                  text("dtype") == "bf16" ? at::kBFloat16 : at::kFloat, values["merge"].as<bool>()};
  const bool is_lora = model::holds_lora(options.input);
  ZOETROPE_CHECK_CONFIG(!options.merge || (is_lora && fs::is_directory(options.input)),
                        "--merge is for the adapters of a run; ", options.input.string(),
                        " has none, or does not say which weights they belong to");
  const std::string kind = class_name(options.input);
  Json done = kind == "AutoencoderKLWan"  ? convert_vae(options)
              : is_lora && !options.merge ? convert_lora(options)
                                          : convert_dit(options);
  done["output"] = options.output.string();
  std::cout << done << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
