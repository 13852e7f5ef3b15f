// The DiT equals diffusers 0.36.0 on a tiny random model: outputs, gradients, files.
// Golden files: tests/golden/make_dit_golden.py.
#include "model/dit.h"

#include <filesystem>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "model/weights.h"

namespace zoetrope::model {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

std::filesystem::path golden() {
  return std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden" / "dit_tiny";
}

double relative_error(const at::Tensor& got, const at::Tensor& wanted) {
  return (got - wanted).abs().max().item<double>() / wanted.abs().max().item<double>();
}

// A batch [B, ...] as packed segments with one modulation row each, or with one row a token.
DitInput pack(const Tensors& tensors, const DitConfig& config, at::Tensor latents,
              at::Tensor text) {
  DitInput input;
  std::vector<at::Tensor> patches;
  for (std::int64_t b = 0; b < latents.size(0); ++b) {
    patches.push_back(patchify(latents[b], config.patch_size, &input.grids.emplace_back()));
    input.row_of_segment.push_back(b);
    input.text_lengths.push_back(text.size(1));
  }
  input.patches_TK = at::cat(patches);
  input.text_LE = text.flatten(0, 1);
  input.timesteps_U = tensors.at("timestep");
  if (input.timesteps_U.dim() == 2) {  // clean tokens use row 0, the others row 1
    input.row_of_token_T = (input.timesteps_U.flatten() > 0).to(at::kLong);
    input.timesteps_U = at::stack({input.timesteps_U.min(), input.timesteps_U.max()});
    input.row_of_segment.assign(input.row_of_segment.size(), -1);
  }
  return input;
}

at::Tensor unpack(const at::Tensor& tokens, const DitInput& input, const DitConfig& config) {
  std::vector<at::Tensor> latents;
  std::int64_t begin = 0;
  for (const Grid& grid : input.grids) {
    latents.push_back(unpatchify(tokens.narrow(0, begin, grid.tokens()), grid, config.patch_size,
                                 config.out_channels));
    begin += grid.tokens();
  }
  return at::stack(latents);
}

class DitParity : public ::testing::TestWithParam<const char*> {};

TEST_P(DitParity, OutputsAndGradientsEqualDiffusers) {
  const Tensors tensors = load_tensors(golden() / GetParam());
  const auto dit = load_dit(golden(), at::kCPU);
  dit->set_requires_grad(true);
  at::Tensor latents = tensors.at("hidden_states").clone().set_requires_grad(true);
  at::Tensor text = tensors.at("encoder_hidden_states").clone().set_requires_grad(true);
  const DitInput input = pack(tensors, dit->config(), latents, text);
  const at::Tensor sample = unpack(dit->forward(input), input, dit->config());
  EXPECT_LT(relative_error(sample, tensors.at("sample")), 1e-5);

  (sample * tensors.at("cotangent")).sum().backward();
  EXPECT_LT(relative_error(latents.grad(), tensors.at("grad.hidden_states")), 1e-4);
  EXPECT_LT(relative_error(text.grad(), tensors.at("grad.encoder_hidden_states")), 1e-4);
  for (const auto& [name, parameter] : dit->named_parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_LT(relative_error(parameter.grad(), tensors.at("grad." + name)), 1e-4) << name;
  }
}

TEST_P(DitParity, Bf16StaysWithinItsRounding) {
  const Tensors tensors = load_tensors(golden() / GetParam());
  const auto dit = load_dit(golden(), at::kCPU);
  const DitInput input = pack(tensors, dit->config(), tensors.at("hidden_states"),
                              tensors.at("encoder_hidden_states"));
  const at::Tensor sample = unpack(dit->forward(input, at::kBFloat16), input, dit->config());
  EXPECT_EQ(sample.scalar_type(), at::kFloat);
  EXPECT_LT(relative_error(sample, tensors.at("sample")), 0.02);
  EXPECT_GT(relative_error(sample, tensors.at("sample")), 0);
}

INSTANTIATE_TEST_SUITE_P(Golden, DitParity,
                         ::testing::Values("batch.safetensors", "per_token.safetensors"),
                         [](const auto& param_info) {
                           return param_info.index == 0 ? "Batch" : "PerTokenTimesteps";
                         });

TEST(DitFiles, ComeBackBitForBitWithTheConfigOfDiffusers) {
  const auto dit = load_dit(golden(), at::kCPU);
  const auto folder = std::filesystem::temp_directory_path() / "zoetrope_dit_files_come_back";
  save_dit(*dit, folder, at::kFloat);
  const Tensors written = load_tensors(folder / "diffusion_pytorch_model.safetensors");
  const Tensors original = load_tensors(golden() / "diffusion_pytorch_model.safetensors");
  EXPECT_EQ(written.size(), original.size());
  for (const auto& [name, tensor] : original) EXPECT_TRUE(tensor.equal(written.at(name))) << name;
  EXPECT_EQ(written.at("patch_embedding.weight").sizes(), at::IntArrayRef({32, 4, 1, 2, 2}));
  const Json config = read_json(folder / "config.json"),
             wanted = read_json(golden() / "config.json");
  for (const auto& [key, value] : wanted.items()) EXPECT_EQ(config.at(key), value) << key;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace zoetrope::model
