// The VAE's flags arrive in its config, and nonsense is refused.
#include "train/vae_options.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace zoetrope::train {
namespace {
namespace po = boost::program_options;

model::VaeRunConfig parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "program");
  po::options_description options;
  add_vae_options(options);
  po::variables_map values;
  po::store(po::parse_command_line(static_cast<int>(flags.size()), flags.data(), options), values);
  return read_vae_options(values);
}

TEST(VaeOptions, ReachTheConfig) {
  const model::VaeRunConfig plain = parse({});
  EXPECT_EQ(plain.tile, 0);
  EXPECT_EQ(plain.compute_type, at::kFloat);
  const model::VaeRunConfig config =
      parse({"--vae-chunk=2", "--vae-tile=256", "--vae-overlap=64", "--vae-dtype=bf16"});
  EXPECT_EQ(config.chunk, 2);
  EXPECT_EQ(config.tile, 256);
  EXPECT_EQ(config.tile_overlap, 64);
  EXPECT_EQ(config.compute_type, at::kBFloat16);
}

TEST(VaeOptions, RefuseNonsense) {
  EXPECT_THROW(parse({"--vae-chunk=0"}), ConfigError);
  EXPECT_THROW(parse({"--vae-tile=64", "--vae-overlap=64"}), ConfigError);
  EXPECT_THROW(parse({"--vae-dtype=fp16"}), ConfigError);
}

}  // namespace
}  // namespace zoetrope::train
