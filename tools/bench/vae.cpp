// Times encoding and decoding with the full Wan 2.1 VAE (127 M parameters, random weights) as the
// programs run it. Prints one JSON line with the keys of the Python peer.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <boost/program_options.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/vae_stream.h"

namespace zoetrope {
namespace {

struct Settings {
  std::int64_t frames = 17, height = 128, width = 128, repeat = 3, chunk = 4, tile = 0, overlap = 0;
  std::string dtype = "fp32";
};

template <class Run>
double median_seconds(std::int64_t repeat, const Run& run) {
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

at::Tensor encode(model::Vae& vae, const at::Tensor& pixels, const model::VaeRunConfig& config) {
  model::VaeStream stream(vae, config);
  std::vector<at::Tensor> latents;
  const std::int64_t stride = vae.config().time_stride(), frames = pixels.size(2);
  for (std::int64_t first = 0; first < frames;) {
    const std::int64_t whole = config.chunk * stride - (first == 0 ? stride - 1 : 0);
    const std::int64_t count = std::min(whole, frames - first);
    latents.push_back(stream.encode(pixels.narrow(2, first, count)));
    first += count;
  }
  return at::cat(latents, 2);
}

at::Tensor decode(model::Vae& vae, const at::Tensor& latents, const model::VaeRunConfig& config) {
  model::VaeStream stream(vae, config);
  std::vector<at::Tensor> frames;
  for (std::int64_t first = 0; first < latents.size(2); first += config.chunk) {
    const std::int64_t count = std::min(config.chunk, latents.size(2) - first);
    frames.push_back(stream.decode(latents.narrow(2, first, count)));
  }
  return at::cat(frames, 2);
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  Settings s;
  po::options_description own("Sizes");
  auto add = own.add_options();
  add("frames", po::value(&s.frames)->default_value(s.frames), "of the clip");
  add("height", po::value(&s.height)->default_value(s.height), "pixels");
  add("width", po::value(&s.width)->default_value(s.width), "pixels");
  add("dtype", po::value(&s.dtype)->default_value(s.dtype),
      "of weights and convolutions: fp32 or bf16");
  add("repeat", po::value(&s.repeat)->default_value(s.repeat), "timed runs after an untimed one");
  add("chunk", po::value(&s.chunk)->default_value(s.chunk), "latent frames at a time");
  add("tile", po::value(&s.tile)->default_value(s.tile), "side of tiles in pixels; 0 = none");
  add("overlap", po::value(&s.overlap)->default_value(s.overlap), "pixels that tiles share");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, "vae: times the Wan 2.1 VAE",
                     "  vae --frames 17 --height 128 --width 128 --dtype bf16", own, "", common,
                     values)) {
    return kExitOk;
  }
  ZOETROPE_CHECK_CONFIG(s.dtype == "fp32" || s.dtype == "bf16", "--dtype is fp32 or bf16, not ",
                        s.dtype);
  ZOETROPE_CHECK_CONFIG(s.repeat >= 1, "--repeat must be at least 1");
  const at::ScalarType type = s.dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  model::Vae vae(model::VaeConfig{}, at::kCPU);
  vae.init_weights(0);
  vae.to(at::kCPU, type);
  const model::VaeRunConfig config{
      .compute_type = type, .chunk = s.chunk, .tile = s.tile, .tile_overlap = s.overlap};

  const at::NoGradGuard no_grad;
  const at::Tensor pixels = at::rand({1, 3, s.frames, s.height, s.width}) * 2 - 1;
  const at::Tensor latents = encode(vae, pixels, config);
  decode(vae, latents, config);
  const double encode_s = median_seconds(s.repeat, [&] { encode(vae, pixels, config); });
  const double decode_s = median_seconds(s.repeat, [&] { decode(vae, latents, config); });
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double megapixels = static_cast<double>(s.frames * s.height * s.width) * 1e-6;
  Json line;
  line["peer"] = "zoetrope-vae";
  line["dtype"] = s.dtype;
  line["frames"] = s.frames;
  line["h"] = s.height;
  line["w"] = s.width;
  line["encode_s"] = encode_s;
  line["decode_s"] = decode_s;
  line["encode_mpix_s"] = megapixels / encode_s;
  line["decode_mpix_s"] = megapixels / decode_s;
  line["rss_mib"] = usage.ru_maxrss / 1024;
  std::printf("%s\n", line.dump().c_str());
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
