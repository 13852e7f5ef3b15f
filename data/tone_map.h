// HDR pictures (PQ or HLG, BT.2020) -> 8-bit BT.709 for SDR screens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zoetrope::data {

enum class HdrTransfer { kPq, kHlg };

// Per pixel: SMPTE ST 2084, or BT.2100 HLG with the system gamma 1.2 of a 1,000 nit screen, to
// linear light in units of 100 nits; BT.2020 to BT.709 primaries (BT.2087); the Hable curve f(x) =
// (x(0.15x + 0.05) + 0.004) / (x(0.15x + 0.5) + 0.06) - 1/15 on the largest channel, the others in
// proportion, so that `peak_nits` becomes white; then the inverse of BT.1886 (x^(1/2.4)).
class ToneMap {
 public:
  ToneMap(HdrTransfer transfer, double peak_nits);
  // `hdr` is R'G'B' of 16 bits, full range; `sdr` as long.
  void map(std::span<const std::uint16_t> hdr, std::uint8_t* sdr) const;

 private:
  HdrTransfer transfer_;
  float peak_;                 // in units of 100 nits
  std::vector<float> linear_;  // of each 16-bit level
  std::vector<std::uint8_t>
      code_;  // of the square root of linear light, which keeps the dark apart
};

}  // namespace zoetrope::data
