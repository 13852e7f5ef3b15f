// HDR pictures (PQ or HLG, BT.2020) -> 8-bit BT.709 for SDR screens.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace zoetrope::data {

enum class HdrTransfer { kPq, kHlg };

// BT.2020 Y'CbCr (non-constant luminance) 4:4:4 in 16 bits: samples of `depth` bits moved up, as
// swscale keeps them.
struct HdrFormat {
  HdrTransfer transfer = HdrTransfer::kPq;
  double peak_nits = 1000;  // becomes white
  bool full_range = false;
  int depth = 10;
};

// Per pixel: SMPTE ST 2084, or BT.2100 HLG with the system gamma 1.2 of a 1,000 nit screen, to
// linear light in units of 100 nits; BT.2020 to BT.709 primaries (BT.2087); the Hable curve f(x) =
// (x(0.15x + 0.05) + 0.004) / (x(0.15x + 0.5) + 0.06) - 1/15 on the largest channel, the others in
// proportion, so that the peak becomes white; then the inverse of BT.1886 (x^(1/2.4)).
class ToneMap {
 public:
  explicit ToneMap(const HdrFormat& format);
  // One row; `rgb` gets three bytes for each sample.
  void map_row(std::span<const std::uint16_t> y, const std::uint16_t* cb, const std::uint16_t* cr,
               std::uint8_t* rgb) const;

 private:
  std::array<float, 3> light_of(float y, float cb, float cr) const;

  HdrFormat format_;
  float white_;                // of the Hable curve
  std::vector<float> linear_;  // of each 16-bit level of R', G' or B'
  std::vector<std::uint8_t>
      code_;  // of the square root of linear light, which keeps the dark apart
};

}  // namespace zoetrope::data
