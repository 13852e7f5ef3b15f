// See tone_map.h.

#include "data/tone_map.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace zoetrope::data {

namespace {

constexpr int kNumLevels = 65536;
constexpr int kNumCodes = 8192;
constexpr double kUnitNits = 100;
constexpr double kHlgScreenNits = 1000;
constexpr float kHlgGamma = 1.2F;

// BT.2087, linear light.
constexpr std::array<std::array<float, 3>, 3> kBt709FromBt2020 = {
    {{1.6605F, -0.5876F, -0.0728F}, {-0.1246F, 1.1329F, -0.0083F}, {-0.0182F, -0.1006F, 1.1187F}}};

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

ToneMap::ToneMap(HdrTransfer transfer, double peak_nits)
    : transfer_(transfer),
      peak_(static_cast<float>(std::max(peak_nits, kUnitNits) / kUnitNits)),
      linear_(kNumLevels),
      code_(kNumCodes) {
  for (int level = 0; level < kNumLevels; ++level) {
    const double signal = level / double{kNumLevels - 1};
    const double nits =
        transfer == HdrTransfer::kPq ? pq_nits(signal) : kHlgScreenNits * hlg_scene(signal);
    linear_[static_cast<std::size_t>(level)] = static_cast<float>(nits / kUnitNits);
  }
  for (int code = 0; code < kNumCodes; ++code) {
    const double root = code / double{kNumCodes - 1};
    code_[static_cast<std::size_t>(code)] =
        static_cast<std::uint8_t>(std::lround(255 * std::pow(root * root, 1 / 2.4)));
  }
}

void ToneMap::map(std::span<const std::uint16_t> hdr, std::uint8_t* sdr) const {
  const float white = hable(peak_);
  for (std::size_t at = 0; at + 2 < hdr.size(); at += 3) {
    std::array<float, 3> bt2020 = {linear_[hdr[at]], linear_[hdr[at + 1]], linear_[hdr[at + 2]]};
    if (transfer_ == HdrTransfer::kHlg) {
      const float scene = (0.2627F * bt2020[0] + 0.678F * bt2020[1] + 0.0593F * bt2020[2]) /
                          static_cast<float>(kHlgScreenNits / kUnitNits);
      const float gain = scene > 0 ? std::pow(scene, kHlgGamma - 1) : 0;
      for (float& channel : bt2020) channel *= gain;
    }
    std::array<float, 3> bt709;
    for (std::size_t row = 0; row < 3; ++row) {
      const auto& mix = kBt709FromBt2020[row];
      bt709[row] = mix[0] * bt2020[0] + mix[1] * bt2020[1] + mix[2] * bt2020[2];
    }
    const float largest = std::max({bt709[0], bt709[1], bt709[2], 1e-6F});
    const float scale = hable(largest) / white / largest;
    for (const float channel : bt709) {
      const float root = std::sqrt(std::clamp(channel * scale, 0.0F, 1.0F));
      *sdr++ = code_[static_cast<std::size_t>(root * (kNumCodes - 1) + 0.5F)];
    }
  }
}

}  // namespace zoetrope::data
