// PSNR and SSIM in double. The window is separable: rows first, then columns.
#include "train/image_quality.h"

#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace zoetrope::train {
namespace {

constexpr int kColours = 3;
constexpr double kDeviation = 1.5;
constexpr double kC1 = 0.01 * 255 * 0.01 * 255, kC2 = 0.03 * 255 * 0.03 * 255;

std::array<double, kSsimWindow> gaussian() {
  std::array<double, kSsimWindow> window{};
  double sum = 0;
  for (int i = 0; i < kSsimWindow; ++i) {
    const double x = i - kSsimWindow / 2;
    sum += window[i] = std::exp(-x * x / (2 * kDeviation * kDeviation));
  }
  for (double& weight : window) weight /= sum;
  return window;
}

// What the window averages of two pictures: x, y, xx, yy, xy.
using Moments = std::array<double, 5>;

Moments moments_at(double x, double y) {
  return {x, y, x * x, y * y, x * y};
}

void add_weighted(Moments& sum, const Moments& value, double weight) {
  for (std::size_t m = 0; m < sum.size(); ++m) sum[m] += weight * value[m];
}

double similarity(const Moments& m) {
  const double xx = m[2] - m[0] * m[0], yy = m[3] - m[1] * m[1], xy = m[4] - m[0] * m[1];
  return (2 * m[0] * m[1] + kC1) * (2 * xy + kC2) /
         ((m[0] * m[0] + m[1] * m[1] + kC1) * (xx + yy + kC2));
}

// Sum of the similarity over the windows of one colour of one frame.
double plane_sum(const std::uint8_t* a, const std::uint8_t* b, int height, int width) {
  static const auto kWeights = gaussian();
  const int columns = width - kSsimWindow + 1, rows = height - kSsimWindow + 1;
  std::vector<Moments> along(static_cast<std::size_t>(height) * columns);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < columns; ++x) {
      for (int i = 0; i < kSsimWindow; ++i) {
        const std::size_t at = (static_cast<std::size_t>(y) * width + x + i) * kColours;
        add_weighted(along[y * columns + x], moments_at(a[at], b[at]), kWeights[i]);
      }
    }
  }
  double sum = 0;
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      Moments m{};
      for (int i = 0; i < kSsimWindow; ++i)
        add_weighted(m, along[(y + i) * columns + x], kWeights[i]);
      sum += similarity(m);
    }
  }
  return sum;
}

void check_sizes(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  ZOETROPE_CHECK(a.size() == b.size() && !a.empty(), "clips of ", a.size(), " and ", b.size(),
                 " bytes cannot be compared");
}

}  // namespace

double psnr_db(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  check_sizes(a, b);
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = static_cast<double>(a[i]) - b[i];
    squares += error * error;
  }
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.size()) / squares);
}

double ssim(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, int height,
            int width) {
  check_sizes(a, b);
  const std::size_t frame_bytes = static_cast<std::size_t>(height) * width * kColours;
  ZOETROPE_CHECK(height >= kSsimWindow && width >= kSsimWindow && a.size() % frame_bytes == 0,
                 "SSIM of frames of ", width, "x", height, " pixels in ", a.size(),
                 " bytes: at least ", kSsimWindow, "x", kSsimWindow, " are needed");
  double sum = 0;
  for (std::size_t frame = 0; frame < a.size(); frame += frame_bytes) {
    for (int colour = 0; colour < kColours; ++colour) {
      sum += plane_sum(a.data() + frame + colour, b.data() + frame + colour, height, width);
    }
  }
  const double windows = static_cast<double>(height - kSsimWindow + 1) * (width - kSsimWindow + 1);
  return sum / (windows * kColours * static_cast<double>(a.size() / frame_bytes));
}

}  // namespace zoetrope::train
