// PSNR and SSIM against scikit-image's (golden/make_quality_golden.py wrote the file).
#include "train/image_quality.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace zoetrope::train {
namespace {

TEST(ImageQuality, EqualsScikitImage) {
  const auto file = std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden" / "quality.json";
  const Json cases = read_json(file);
  ASSERT_EQ(cases.size(), 3u);
  for (const Json& test : cases) {
    const auto first = test.at("first").get<std::vector<std::uint8_t>>();
    const auto second = test.at("second").get<std::vector<std::uint8_t>>();
    const int height = test.at("height").get<int>(), width = test.at("width").get<int>();
    EXPECT_NEAR(ssim(first, second, height, width), test.at("ssim").get<double>(), 1e-9);
    EXPECT_NEAR(psnr_db(first, second), test.at("psnr_db").get<double>(), 1e-9);
    EXPECT_NEAR(ssim(first, first, height, width), 1, 1e-12);
    EXPECT_TRUE(std::isinf(psnr_db(first, first)));
  }
}

TEST(ImageQuality, RefusesWhatCannotBeCompared) {
  const std::vector<std::uint8_t> frame(11 * 11 * 3), other(11 * 12 * 3), small(10 * 11 * 3);
  EXPECT_THROW(psnr_db(frame, other), Error);
  EXPECT_THROW(ssim(small, small, 10, 11), Error);
  EXPECT_THROW(ssim(frame, frame, 12, 11), Error);
}

}  // namespace
}  // namespace zoetrope::train
