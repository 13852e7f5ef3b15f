// Components on named tensors: what is refused, and that packing and per-token timesteps change
// nothing.
#include "model/component.h"

#include <unistd.h>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "model/dit.h"

namespace zoetrope::model {
namespace {

namespace fs = std::filesystem;

// Values that differ everywhere, without a generator.
at::Tensor waves(at::IntArrayRef sizes, double phase) {
  const std::int64_t count = c10::multiply_integers(sizes);
  return at::linspace(phase, phase + 0.37 * static_cast<double>(count), count).sin().reshape(sizes);
}

class DitComponentTest : public testing::Test {
 protected:
  DitComponentTest() {
    DitConfig config;
    config.num_attention_heads = 2;
    config.attention_head_dim = 12;
    config.in_channels = config.out_channels = 3;
    config.text_dim = 5;
    config.freq_dim = 8;
    config.ffn_dim = 16;
    config.num_layers = 1;
    Dit dit(config, at::kCPU);
    dit.init_weights(1);
    double phase = 0;
    const at::NoGradGuard no_grad;
    dit.visit_parameters("", [&](const std::string&, at::Tensor& parameter) {
      parameter.add_(waves(parameter.sizes(), ++phase), 0.1);  // the head starts at zero
    });
    save_dit(dit, folder_, at::kFloat);
    component_ = load_component(folder_, at::kCPU, at::kFloat);
  }
  ~DitComponentTest() override { fs::remove_all(folder_); }

  static TensorMap batch() {
    return {{"hidden_states", waves({2, 3, 2, 4, 2}, 0)},
            {"timestep", waves({2}, 1) * 300 + 400},
            {"encoder_hidden_states", waves({2, 4, 5}, 2)}};
  }
  TensorMap run(const TensorMap& inputs, bool gradients = false) {
    return run_component(*component_, inputs, at::kCPU, gradients);
  }
  std::string refusal(const TensorMap& inputs, bool gradients = false) {
    try {
      run(inputs, gradients);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_ = fs::temp_directory_path() / concat("zoetrope_component_", ::getpid());
  std::unique_ptr<Component> component_;
};

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST_F(DitComponentTest, NamesTheTensorThatIsMissingUnknownOrMisshapen) {
  TensorMap inputs = batch();
  inputs.erase("timestep");
  EXPECT_NE(refusal(inputs).find("tensor timestep [2] or [2, 4] is missing"), std::string::npos);
  inputs = batch();
  inputs["encoder_hidden_state"] = waves({1}, 0);
  EXPECT_NE(refusal(inputs).find("unknown tensor encoder_hidden_state; did you mean"),
            std::string::npos);
  inputs = batch();
  inputs["timestep"] = waves({3}, 0);
  EXPECT_NE(refusal(inputs).find("tensor timestep has shape [3]"), std::string::npos);
  inputs = batch();
  inputs["hidden_states"] = waves({2, 3, 2, 5, 2}, 0);
  EXPECT_NE(refusal(inputs).find("tensor hidden_states has 2x5x2"), std::string::npos);
  EXPECT_NE(refusal(batch(), true).find("tensor cotangent"), std::string::npos);
}

TEST_F(DitComponentTest, PackOfTheSameSamplesGivesTheSame) {
  const TensorMap inputs = batch();
  TensorMap packed;
  for (int i = 0; i < 2; ++i) {
    packed[concat("hidden_states.", i)] = inputs.at("hidden_states")[i];
    packed[concat("timestep.", i)] = inputs.at("timestep").narrow(0, i, 1);
    packed[concat("encoder_hidden_states.", i)] = inputs.at("encoder_hidden_states")[i];
  }
  const at::Tensor whole = run(inputs).at("sample");
  const TensorMap parts = run(packed);
  EXPECT_GT(whole.abs().max().item<double>(), 1e-3);
  EXPECT_LT(difference(at::stack({parts.at("sample.0"), parts.at("sample.1")}), whole), 1e-5);
}

TEST_F(DitComponentTest, TimestepOfEveryTokenReachesThatToken) {
  TensorMap inputs = batch();
  const at::Tensor plain = run(inputs).at("sample");
  inputs["timestep"] = inputs["timestep"].unsqueeze(1).expand({2, 4}).clone();
  EXPECT_LT(difference(run(inputs).at("sample"), plain), 1e-5);
  inputs["timestep"][1][3] += 200;
  const at::Tensor moved = run(inputs).at("sample");
  EXPECT_LT(difference(moved[0], plain[0]), 1e-5);
  EXPECT_GT(difference(moved[1], plain[1]), 1e-4);
}

TEST_F(DitComponentTest, GradientsAreThoseOfFiniteDifferences) {
  TensorMap inputs = batch();
  inputs["timestep"] = inputs["timestep"].unsqueeze(1).expand({2, 4}).clone();
  const at::Tensor cotangent = waves({2, 3, 2, 4, 2}, 3);
  const auto loss = [&](const TensorMap& at) {
    return (run(at).at("sample") * cotangent).sum().item<double>();
  };
  TensorMap with_cotangent = inputs;
  with_cotangent["cotangent"] = cotangent;
  const TensorMap results = run(with_cotangent, true);
  for (const char* name : {"hidden_states", "encoder_hidden_states", "timestep"}) {
    const double step = std::string(name) == "timestep" ? 1 : 1e-2;
    const at::Tensor direction = waves(inputs.at(name).sizes(), 5);
    TensorMap up = inputs, down = inputs;
    up[name] = inputs.at(name) + direction * step;
    down[name] = inputs.at(name) - direction * step;
    const double measured = (loss(up) - loss(down)) / (2 * step);
    const double promised = (results.at(concat("grad.", name)) * direction).sum().item<double>();
    EXPECT_NEAR(promised, measured, 2e-2 * std::abs(measured) + 1e-3) << name;
  }
  EXPECT_TRUE(results.contains("grad.scale_shift_table"));
}

TEST_F(DitComponentTest, IsRefusedByNameWhenUnknown) {
  Json config = read_json(folder_ / "config.json");
  config["_class_name"] = "CogVideoXTransformer3DModel";
  write_json(folder_ / "config.json", config);
  try {
    load_component(folder_, at::kCPU, at::kFloat);
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("CogVideoXTransformer3DModel"), std::string::npos);
  }
}

}  // namespace
}  // namespace zoetrope::model
