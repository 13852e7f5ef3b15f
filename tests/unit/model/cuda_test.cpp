// The CUDA plugin: what is said without it or without a device; on a device, its kernels against
// fp64 and a transformer against the CPU.
#include "model/device.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/dit.h"
#include "model/norms_cuda.h"

namespace zoetrope::model {
namespace {

int num_devices() {
  return cuda_plugin() == nullptr ? 0 : cuda_plugin()->device_count();
}

TEST(SelectDevice, SaysWhatIsMissingForCuda) {
  if (num_devices() > 0) GTEST_SKIP() << num_devices() << " CUDA devices here: nothing is missing";
  const std::string missing =
      cuda_plugin() == nullptr ? "tools/setup --cuda" : "no CUDA device or driver";
  try {
    select_device("cuda", 0);
    FAIL() << "no ConfigError";
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr(missing));
  }
  EXPECT_EQ(select_device("auto", 0), at::Device(at::kCPU));
}

TEST(SelectDevice, CpuIsAlwaysThere) {
  EXPECT_EQ(select_device("cpu", 3), at::Device(at::kCPU));
}

TEST(CudaPlugin, IsOfThisBuild) {
  if (cuda_plugin() == nullptr) GTEST_SKIP() << "libzoetrope_cuda.so was not built";
  EXPECT_EQ(cuda_plugin()->version, kernels::kPluginVersion);
  EXPECT_GE(cuda_plugin()->device_count(), 0);
}

TEST(CudaPlugin, CommunicatorTakesHostMemoryToTheOneBelow) {
  if (cuda_plugin() == nullptr) GTEST_SKIP() << "libzoetrope_cuda.so was not built";
  const auto base = launch::make_single_rank_communicator();
  const auto both = device_communicator(*base, at::Device(at::kCUDA, 0));
  const auto group = both->split(0);
  std::vector<double> values = {1.5, -2};
  group->all_reduce_sum(std::span<double>(values));
  EXPECT_EQ(values, (std::vector<double>{1.5, -2}));
  std::vector<float> mine = {1, 2, 3}, all(3);
  const std::vector<std::size_t> counts = {3};
  group->all_gather(launch::Buffer(std::span(mine)), std::span(all), counts);
  EXPECT_EQ(all, mine);
  EXPECT_EQ(group->all_gather("text"), std::vector<std::string>{"text"});
  EXPECT_EQ(device_communicator(*base, at::kCPU), nullptr);
}

class OnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA plugin or device";
  }
};

double error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got.cpu().to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}
at::Tensor on(at::Device device, const at::Tensor& x) {
  return x.detach().to(device).set_requires_grad(true);
}
at::Tensor leaf64(const at::Tensor& x) {
  return x.detach().to(at::kDouble).clone().set_requires_grad(true);
}

// Tokens of three samples, each with a modulation row; rows_cuda and fp64's plain ones.
struct Samples {
  DitInput input;
  ModulationRows plain, cuda;
  explicit Samples(std::int64_t channels) {
    input.grids = {Grid{1, 10, 13}, Grid{1, 2, 3}, Grid{5, 2, 2}};
    input.row_of_segment = {2, 0, 1};
    input.patches_TK = at::randn({156, channels}).to(at::kDouble);
    plain = modulation_rows(input);
    cuda = rows_on(plain, at::Device(at::kCUDA, 0));
  }
};

TEST_F(OnCuda, FusedPassesEqualFp64) {
  const at::Device device(at::kCUDA, 0);
  const Samples samples(4);
  const std::int64_t width = 768;
  const at::Tensor x = at::randn({156, width}) * 2 + 1, a = at::randn({3, width}),
                   b = at::randn({3, width}), weight = at::randn({width}),
                   g = at::randn({156, width});
  RotaryEmbedding rotary(128);
  const Rotation turn = rotary.rotation(samples.input.grids, at::kCPU);
  RotaryEmbedding cuda_rotary(128);
  const Rotation cuda_turn = cuda_rotary.rotation(samples.input.grids, device);

  const auto chain = [&](const at::Tensor& x_TD, const at::Tensor& a_UD, const at::Tensor& b_UD,
                         const at::Tensor& weight_D, const ModulationRows& rows,
                         const Rotation& rotation) {
    const at::Tensor h = modulated_layer_norm(x_TD, a_UD, b_UD, rows, 1e-6, x_TD.scalar_type());
    const at::Tensor q = rms_norm_rotate(h, weight_D, &rotation, width / 128, 1e-6);
    const at::Tensor u =
        x_TD.is_cuda() ? cuda_bias_gelu(q, weight_D) : at::gelu(q + weight_D, "tanh");
    return gated_residual(x_TD, u, a_UD, rows);
  };
  const at::Tensor x_c = on(device, x), a_c = on(device, a), b_c = on(device, b),
                   weight_c = on(device, weight);
  const at::Tensor x64 = leaf64(x), a64 = leaf64(a), b64 = leaf64(b), weight64 = leaf64(weight);
  const at::Tensor y = chain(x_c, a_c, b_c, weight_c, samples.cuda, cuda_turn);
  const at::Tensor y64 = chain(x64, a64, b64, weight64, samples.plain, turn);
  (y * g.to(device)).sum().backward();
  (y64 * g).sum().backward();
  EXPECT_LT(error(y, y64), 1e-5);
  EXPECT_LT(error(x_c.grad(), x64.grad()), 1e-4);
  EXPECT_LT(error(a_c.grad(), a64.grad()), 1e-4);
  EXPECT_LT(error(b_c.grad(), b64.grad()), 1e-4);
  EXPECT_LT(error(weight_c.grad(), weight64.grad()), 1e-4);
}

TEST_F(OnCuda, TransformerEqualsTheCpus) {
  const at::Device device(at::kCUDA, 0);
  DitConfig config;
  config.num_attention_heads = 2;
  config.num_layers = 2;
  config.ffn_dim = 512;
  config.text_dim = 32;
  Samples samples(config.in_channels * 4);
  samples.input.patches_TK = samples.input.patches_TK.to(at::kFloat);
  samples.input.timesteps_U = at::rand({3}) * 1000;
  samples.input.text_LE = at::randn({12, 32});
  samples.input.text_lengths = {3, 4, 5};
  Dit cpu(config, at::kCPU), cuda(config, at::kCPU);
  for (Dit* dit : {&cpu, &cuda}) {
    dit->init_weights(1);
    dit->visit_parameters("", [](const std::string& name, at::Tensor& parameter) {
      if (name.starts_with("proj_out")) parameter.fill_(0.01);
    });
  }
  cuda.to(device, at::kFloat);
  DitInput input = samples.input;
  for (at::Tensor* x : {&input.patches_TK, &input.timesteps_U, &input.text_LE}) *x = x->to(device);
  cpu.set_requires_grad(true);
  cuda.set_requires_grad(true);
  const at::Tensor wanted = cpu.forward(samples.input), got = cuda.forward(input);
  EXPECT_LT(error(got, wanted.to(at::kDouble)), 1e-4);
  EXPECT_LT(error(cuda.forward(input, at::kBFloat16), wanted.to(at::kDouble)), 0.05);
  wanted.square().sum().backward();
  got.square().sum().backward();
  const auto parameters = cuda.named_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor gradient = cpu.named_parameters()[i].second.grad().to(at::kDouble);
    EXPECT_LT(error(parameters[i].second.grad(), gradient), 1e-3) << parameters[i].first;
  }
}

}  // namespace
}  // namespace zoetrope::model
