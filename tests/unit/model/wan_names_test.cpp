// Names of Wan's own code, as diffusers translates them (tests/golden/make_names_golden.py).
#include "model/wan_names.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace zoetrope::model {
namespace {

Json golden() {
  return read_json(std::string(ZOETROPE_TEST_FOLDER) + "/golden/wan_names.json");
}

TEST(WanNames, TranslateAsDiffusersDoes) {
  const Json names = golden().at("tensors");
  EXPECT_EQ(names.size(), 69u);
  for (const auto& [native, ours] : names.items()) {
    EXPECT_EQ(from_native_name(native), ours.get<std::string>());
    EXPECT_EQ(to_native_name(ours.get<std::string>()), native);
  }
}

TEST(WanNames, UnknownNamesHaveNoTranslation) {
  for (const char* name : {"", "blocks", "blocks.", "blocks.x.modulation", "blocks.0", "blocks.0.",
                           "blocks.0.attn3.to_q.weight", "blocks.0.modulationx", "head", "norm2"}) {
    EXPECT_EQ(to_native_name(name), "") << name;
    EXPECT_EQ(from_native_name(name), "") << name;
  }
}

TEST(WanNames, ConfigSurvivesTheRoundTrip) {
  DitConfig config;
  config.num_attention_heads = 3;
  config.attention_head_dim = 64;
  config.text_dim = 384;
  config.in_channels = 36;
  config.patch_size = {1, 4, 4};
  config.qk_norm = false;
  EXPECT_EQ(dit_config_to_json(dit_config_from_native(native_config(config))),
            dit_config_to_json(config));
  Json image_to_video = native_config(config);
  image_to_video["model_type"] = "i2v";
  EXPECT_THROW(dit_config_from_native(image_to_video), ConfigError);
}

}  // namespace
}  // namespace zoetrope::model
