// Times the fused passes of a transformer block, forward and backward, on one device: seconds and
// the memory traffic that they amount to if every tensor is read and written once.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <boost/program_options.hpp>

#include "base/error.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "model/norms.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;

// One pass: y of leaves; bytes that forward and backward move.
struct Pass {
  std::string name;
  std::vector<at::Tensor> leaves;
  std::function<at::Tensor()> forward;
  double bytes;
};

at::Tensor leaf(at::IntArrayRef shape, at::Device device, at::ScalarType type) {
  return at::randn(shape).to(device, type).set_requires_grad(true);
}

// Reading a number back waits for the device.
double seconds(const Pass& pass, int repeats) {
  std::vector<double> times;
  for (int i = 0; i < repeats + 1; ++i) {
    const auto start = Clock::now();
    const at::Tensor y = pass.forward();
    y.backward(y.detach());
    pass.leaves[0].grad().flatten()[0].item<float>();
    for (const at::Tensor& leaf : pass.leaves) leaf.mutable_grad().reset();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(times.begin() + 1, times.end());  // the first one allocates
  return times[1 + repeats / 2];
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  std::int64_t tokens = 4096, width = 768;
  int repeats = 9;
  po::options_description own("Shapes");
  own.add_options()("tokens", po::value(&tokens)->default_value(tokens), "rows, one sample")(
      "width", po::value(&width)->default_value(width), "channels, a multiple of 128")(
      "repeats", po::value(&repeats)->default_value(repeats), "timed runs; the median counts");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, "fused: times the fused passes, bf16 activations",
                     "  fused --tokens 4096 --width 768", own, "", common, values)) {
    return kExitOk;
  }
  const at::Device device = model::select_device(common.device, 0);
  ZOETROPE_CHECK_CONFIG(tokens > 0 && width > 0 && width % 128 == 0 && repeats > 0, "--tokens ",
                        tokens, " --width ", width, " --repeats ", repeats,
                        ": expected more than 0, and a width that is a multiple of 128");
  model::DitInput input;
  input.grids = {model::Grid{1, 1, tokens}};
  input.row_of_segment = {0};
  input.patches_TK = at::randn({tokens, 1}).to(device);
  const model::ModulationRows rows = model::rows_on(model::modulation_rows(input), device);
  model::RotaryEmbedding rotary(128);
  const model::Rotation turn = rotary.rotation(input.grids, device);
  const at::Tensor x = leaf({tokens, width}, device, at::kFloat);
  const at::Tensor update = leaf({tokens, width}, device, at::kBFloat16);
  const at::Tensor row = leaf({1, width}, device, at::kFloat);
  const at::Tensor weight = leaf({width}, device, at::kFloat);
  const double elements = static_cast<double>(tokens) * static_cast<double>(width);
  const std::vector<Pass> passes = {
      {"LayerNorm + modulation",
       {x, row},
       [&] { return model::modulated_layer_norm(x, row, row, rows, 1e-6, at::kBFloat16); },
       elements * (4 + 2 + 2 + 4 + 4)},
      {"gated residual",
       {x, update, row},
       [&] { return model::gated_residual(x, update, row, rows); },
       elements * (4 + 2 + 4 + 4 + 2 + 2)},
      {"RMSNorm + rotation",
       {update, weight},
       [&] { return model::rms_norm_rotate(update, weight, &turn, width / 128, 1e-6); },
       elements * (2 + 2 + 2 + 2 + 2)},
  };
  std::printf("%-24s %10s %10s\n", "pass and its backward", "ms", "GB/s");
  for (const Pass& pass : passes) {
    const double time = seconds(pass, repeats);
    std::printf("%-24s %10.3f %10.1f\n", pass.name.c_str(), time * 1e3, pass.bytes / time * 1e-9);
  }
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
