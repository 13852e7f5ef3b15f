// See tone_map.h.

#include "data/tone_map.h"

#include <algorithm>
#include <cmath>

namespace zoetrope::data {

namespace {

constexpr std::size_t kNumLevels = 65536;
constexpr std::size_t kNumCodes = 8192;
constexpr double kUnitNits = 100;
constexpr double kHlgScreenNits = 1000;
constexpr float kHlgGamma = 1.2F;

// BT.2087, linear light.
constexpr std::array<std::array<float, 3>, 3> kBt709FromBt2020 = {
    {{1.660491F, -0.587641F, -0.072850F},
     {-0.124550F, 1.132900F, -0.008349F},
     {-0.018151F, -0.100579F, 1.118730F}}};

double pq_nits(double signal) {
  constexpr double m1 = 2610.0 / 16384, m2 = 2523.0 / 4096 * 128;
  constexpr double c1 = 3424.0 / 4096, c2 = 2413.0 / 4096 * 32, c3 = 2392.0 / 4096 * 32;
  const double root = std::pow(signal, 1 / m2);
  return 10000 * std::pow(std::max(root - c1, 0.0) / (c2 - c3 * root), 1 / m1);
}

// Light of the scene, 0 to 1.
double hlg_scene(double signal) {
  constexpr double a = 0.17883277, b = 0.28466892, c = 0.55991073;
  return signal <= 0.5 ? signal * signal / 3 : (std::exp((signal - c) / a) + b) / 12;
}

float hable(float x) {
  return (x * (0.15F * x + 0.05F) + 0.004F) / (x * (0.15F * x + 0.5F) + 0.06F) - 1.0F / 15;
}

}  // namespace

ToneMap::ToneMap(const HdrFormat& format)
    : format_(format),
      white_(hable(static_cast<float>(std::max(format.peak_nits, kUnitNits) / kUnitNits))),
      linear_(kNumLevels),
      code_(kNumCodes) {
  const bool pq = format.transfer == HdrTransfer::kPq;
  for (std::size_t level = 0; level < kNumLevels; ++level) {
    const double signal = static_cast<double>(level) / (kNumLevels - 1);
    const double nits = pq ? pq_nits(signal) : kHlgScreenNits * hlg_scene(signal);
    linear_[level] = static_cast<float>(nits / kUnitNits);
  }
  for (std::size_t code = 0; code < kNumCodes; ++code) {
    const double root = static_cast<double>(code) / (kNumCodes - 1);
    code_[code] = static_cast<std::uint8_t>(std::lround(255 * std::pow(root * root, 1 / 2.4)));
  }
}

// Linear light of BT.2020 in units of 100 nits, of Y' from 0 to 1 and Cb, Cr from -0.5 to 0.5.
std::array<float, 3> ToneMap::light_of(float y, float cb, float cr) const {
  constexpr float kr = 0.2627F, kb = 0.0593F;
  const float red = y + 2 * (1 - kr) * cr, blue = y + 2 * (1 - kb) * cb;
  const float green = (y - kr * red - kb * blue) / (1 - kr - kb);
  std::array<float, 3> light = {red, green, blue};
  for (float& channel : light) {
    const float level = std::clamp(channel, 0.0F, 1.0F) * (kNumLevels - 1) + 0.5F;
    channel = linear_[static_cast<std::size_t>(level)];
  }
  if (format_.transfer == HdrTransfer::kPq) return light;
  const float scene = (0.2627F * light[0] + 0.678F * light[1] + 0.0593F * light[2]) /
                      static_cast<float>(kHlgScreenNits / kUnitNits);
  const float gain = scene > 0 ? std::pow(scene, kHlgGamma - 1) : 0;
  for (float& channel : light) channel *= gain;
  return light;
}

void ToneMap::map_row(std::span<const std::uint16_t> y, const std::uint16_t* cb,
                      const std::uint16_t* cr, std::uint8_t* rgb) const {
  const auto full = static_cast<float>(((1 << format_.depth) - 1) << (16 - format_.depth));
  const float black = format_.full_range ? 0 : 16 * 256;
  const float y_span = format_.full_range ? full : 219 * 256;
  const float c_span = format_.full_range ? full : 224 * 256;
  for (std::size_t x = 0; x < y.size(); ++x) {
    const auto light = light_of((static_cast<float>(y[x]) - black) / y_span,
                                (static_cast<float>(cb[x]) - 32768) / c_span,
                                (static_cast<float>(cr[x]) - 32768) / c_span);
    std::array<float, 3> bt709;
    for (std::size_t row = 0; row < 3; ++row) {
      const auto& mix = kBt709FromBt2020[row];
      bt709[row] = mix[0] * light[0] + mix[1] * light[1] + mix[2] * light[2];
    }
    const float largest = std::max({bt709[0], bt709[1], bt709[2], 1e-6F});
    const float scale = hable(largest) / white_ / largest;
    for (const float channel : bt709) {
      const float root = std::sqrt(std::clamp(channel * scale, 0.0F, 1.0F));
      *rgb++ = code_[static_cast<std::size_t>(root * (kNumCodes - 1) + 0.5F)];
    }
  }
}

}  // namespace zoetrope::data
