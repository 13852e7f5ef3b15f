// Every shipped config is read, and its model is built on the meta device.
#include <filesystem>
#include <map>

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include "base/config.h"
#include "base/files.h"
#include "model/dit.h"
#include "model/vae.h"
#include "train/train_config.h"

namespace zoetrope::train {
namespace {

// Published counts (Wan) and those of configs/README.md.
const std::map<std::string, std::int64_t> kDitParameters = {
    {"dit_tiny", 4'944'192}, {"wan_1_3b", 1'418'996'800}, {"wan_14b", 14'288'491'584},
    {"dit_s", 31'331'776},   {"dit_b", 121'645'888},      {"dit_l", 416'257'088},
    {"dit_xl", 611'141'824},
};

TEST(ShippedConfigs, BuildTheModelsTheyDescribe) {
  std::size_t dits = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shipped_folder("configs"))) {
    if (entry.path().extension() != ".yaml") continue;
    const auto config = load_config<TrainConfig>(entry.path());
    const std::string name = entry.path().stem().string();
    if (config.task == "vae") {
      EXPECT_GT(model::Vae(config.vae.model, at::kMeta).num_parameters(), 0) << name;
      continue;
    }
    ++dits;
    const std::int64_t built = model::Dit(config.dit.model, at::kMeta).num_parameters();
    EXPECT_EQ(built, model::count_parameters(config.dit.model)) << name;
    ASSERT_TRUE(kDitParameters.contains(name)) << name << " has " << built;
    EXPECT_EQ(built, kDitParameters.at(name)) << name;
  }
  EXPECT_EQ(dits, kDitParameters.size());
}

}  // namespace
}  // namespace zoetrope::train
