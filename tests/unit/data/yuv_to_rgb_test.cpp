// Rows against the definition of Y'CbCr in double precision.

#include "data/yuv_to_rgb.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "data/ffmpeg.h"

namespace zoetrope::data {
namespace {

struct Matrix {
  const char* name;
  int number;  // SWS_CS_*
  double kr, kb;
};
constexpr Matrix kMatrices[] = {{"BT.601", SWS_CS_ITU601, 0.299, 0.114},
                                {"BT.709", SWS_CS_ITU709, 0.2126, 0.0722},
                                {"FCC", SWS_CS_FCC, 0.30, 0.11},
                                {"SMPTE 240M", SWS_CS_SMPTE240M, 0.212, 0.087},
                                {"BT.2020", SWS_CS_BT2020, 0.2627, 0.0593}};

// Red, green and blue, 0 to 255, of samples as the header describes them.
std::array<double, 3> exact_rgb(const Matrix& matrix, int y, int cb, int cr) {
  const double y_level = (y / 4.0 - 16) * 255 / 219;
  const double cb_level = (cb - 512) / 4.0 * 255 / 224, cr_level = (cr - 512) / 4.0 * 255 / 224;
  const double luma = (y_level - 16) / 219;
  const double blue_off = cb_level / 224, red_off = cr_level / 224;
  const double red = luma + 2 * (1 - matrix.kr) * red_off;
  const double blue = luma + 2 * (1 - matrix.kb) * blue_off;
  const double green = (luma - matrix.kr * red - matrix.kb * blue) / (1 - matrix.kr - matrix.kb);
  std::array<double, 3> rgb = {red, green, blue};
  for (double& channel : rgb) channel = std::clamp(channel * 255, 0.0, 255.0);
  return rgb;
}

TEST(YuvToRgb, IsTheNearestLevelForEveryMatrix) {
  std::mt19937_64 random(1);
  std::uniform_int_distribution<int> level(0, 1023);
  for (const Matrix& matrix : kMatrices) {
    const YuvToRgb to_rgb(sws_getCoefficients(matrix.number));
    std::vector<std::uint16_t> y(20000), cb(y.size()), cr(y.size());
    for (auto* plane : {&y, &cb, &cr}) {
      for (auto& sample : *plane) sample = static_cast<std::uint16_t>(level(random));
    }
    std::vector<std::uint8_t> rgb(3 * y.size());
    to_rgb.map_row(y, cb.data(), cr.data(), rgb.data());
    double worst = 0;
    for (std::size_t x = 0; x < y.size(); ++x) {
      const auto exact = exact_rgb(matrix, y[x], cb[x], cr[x]);
      for (std::size_t channel = 0; channel < 3; ++channel)
        worst = std::max(worst, std::abs(rgb[3 * x + channel] - exact[channel]));
    }
    EXPECT_LE(worst, 0.51) << matrix.name;
  }
}

TEST(YuvToRgb, WritesEveryWidthAndNotAByteMore) {
  const YuvToRgb to_rgb(sws_getCoefficients(SWS_CS_ITU709));
  const auto grey_of = [](double x) {
    return ((119 + 5 * x) / 4 - 16 - 16.0 * 219 / 255) * (255.0 / 219) * (255.0 / 219);
  };
  for (std::size_t width = 1; width <= 130; ++width) {
    std::vector<std::uint16_t> y(width), none(width, 512);
    for (std::size_t x = 0; x < width; ++x) y[x] = static_cast<std::uint16_t>(119 + 5 * x);
    std::vector<std::uint8_t> rgb(3 * width + 64, 7);
    to_rgb.map_row(y, none.data(), none.data(), rgb.data());
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t channel = 0; channel < 3; ++channel)
        ASSERT_NEAR(rgb[3 * x + channel], grey_of(static_cast<double>(x)), 0.51);
    }
    EXPECT_TRUE(std::all_of(rgb.begin() + static_cast<std::ptrdiff_t>(3 * width), rgb.end(),
                            [](std::uint8_t byte) { return byte == 7; }))
        << width;
  }
}

}  // namespace
}  // namespace zoetrope::data
