// config.json of the VAE: what is written reads back, what cannot be computed is refused by name.
#include "model/vae_config.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"

namespace zoetrope::model {
namespace {

std::string refusal(const std::function<void(Json&)>& change) {
  Json json = vae_config_to_json(VaeConfig{});
  change(json);
  try {
    vae_config_from_json(json);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(VaeConfig, WritesWhatDiffusersExpects) {
  VaeConfig config;
  config.base_dim = 32;
  config.z_dim = 8;
  config.dim_mult = {1, 2, 2};
  config.temporal_downsample = {true, true};
  config.is_residual = true;
  config.patch_size = 2;
  const Json json = vae_config_to_json(config);
  EXPECT_EQ(json["_class_name"], "AutoencoderKLWan");
  EXPECT_EQ(json["in_channels"], 12);
  EXPECT_EQ(json["out_channels"], 12);
  EXPECT_EQ(json["scale_factor_temporal"], 4);
  EXPECT_EQ(json["scale_factor_spatial"], 8);
  EXPECT_EQ(json["temperal_downsample"], Json::parse("[true, true]"));
  EXPECT_TRUE(json["decoder_base_dim"].is_null());
  EXPECT_EQ(json["latents_std"].size(), 8u);
  EXPECT_EQ(vae_config_to_json(vae_config_from_json(json)), json);
}

TEST(VaeConfig, ReadsAConfigWithoutTheNewerKeys) {
  const Json json =
      Json::parse(R"({"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.33.0",
    "base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [],
    "temperal_downsample": [false, true, true], "dropout": 0.0})");
  const VaeConfig config = vae_config_from_json(json);
  EXPECT_EQ(config.space_stride(), 8);
  EXPECT_EQ(config.patch_size, 1);
  EXPECT_FALSE(config.is_residual);
}

TEST(VaeConfig, NamesWhatItRefuses) {
  EXPECT_EQ(refusal([](Json&) {}), "accepted");
  EXPECT_EQ(refusal([](Json& json) { json["attn_scales"] = {0.5}; }),
            "VAE config: attn_scales must be empty, not [0.5]");
  EXPECT_EQ(refusal([](Json& json) { json["dropout"] = 0.1; }),
            "VAE config: dropout must be 0, not 0.1");
  EXPECT_EQ(refusal([](Json& json) { json["new_layers"] = 1; }),
            "VAE config: unknown key new_layers");
  EXPECT_EQ(refusal([](Json& json) { json["_class_name"] = "AutoencoderKL"; }),
            "VAE config: _class_name is AutoencoderKL, not AutoencoderKLWan");
  EXPECT_EQ(refusal([](Json& json) { json["base_dim"] = "wide"; }),
            "VAE config: base_dim has the wrong type: \"wide\"");
  EXPECT_EQ(refusal([](Json& json) { json["scale_factor_spatial"] = 16; }),
            "VAE config: scale_factor_spatial is 16, the other fields make it 8");
  EXPECT_EQ(refusal([](Json& json) { json["in_channels"] = 12; }),
            "VAE config: in_channels is 12, the other fields make it 3");
  EXPECT_EQ(refusal([](Json& json) { json["latents_mean"] = {1.0}; }),
            "VAE config: latents_mean has 1 numbers, z_dim is 16");
  EXPECT_EQ(refusal([](Json& json) { json["temperal_downsample"] = {true}; }),
            "VAE config: temporal_downsample has 1 entries, dim_mult with 4 stages needs 3");
  EXPECT_EQ(refusal([](Json& json) {
              json["is_residual"] = true, json["dim_mult"] = {1, 2, 2, 4};
            }),
            "VAE config: dim_mult 2 -> 4 at stage 3 has no averaging shortcut: 2 * 1 is not a "
            "multiple of 4");
}

}  // namespace
}  // namespace zoetrope::model
