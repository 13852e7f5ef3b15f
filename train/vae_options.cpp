// Flags of the VAE.
#include "train/vae_options.h"

#include <string>

#include "base/error.h"

namespace zoetrope::train {

namespace po = boost::program_options;

void add_vae_options(po::options_description& options) {
  auto add = options.add_options();
  add("vae-chunk", po::value<std::int64_t>()->default_value(model::VaeRunConfig().chunk),
      "latent frames that the VAE takes at a time: memory, not results, depend on it");
  add("vae-tile", po::value<std::int64_t>()->default_value(0),
      "side of the VAE's tiles in pixels; 0 = whole frames");
  add("vae-overlap", po::value<std::int64_t>()->default_value(0),
      "pixels over which neighbouring tiles are blended");
  add("vae-dtype", po::value<std::string>()->default_value("fp32"),
      "of the VAE's convolutions: fp32 or bf16");
}

model::VaeRunConfig read_vae_options(const po::variables_map& values) {
  model::VaeRunConfig config;
  config.chunk = values["vae-chunk"].as<std::int64_t>();
  config.tile = values["vae-tile"].as<std::int64_t>();
  config.tile_overlap = values["vae-overlap"].as<std::int64_t>();
  const std::string dtype = values["vae-dtype"].as<std::string>();
  ZOETROPE_CHECK_CONFIG(dtype == "fp32" || dtype == "bf16", "--vae-dtype ", dtype,
                        " is neither fp32 nor bf16");
  config.compute_type = dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  model::check_vae_run_config(config, 1);
  return config;
}

}  // namespace zoetrope::train
