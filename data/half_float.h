// IEEE 754 binary16 in plain integers: what shards store. Rounding is to nearest, ties to even;
// NaN stays NaN, and a magnitude of 65520 or more becomes infinity.
#pragma once

#include <bit>
#include <cstdint>

namespace zoetrope::data {

inline std::uint16_t float_to_half(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  bits &= 0x7fffffffu;
  std::uint32_t half = 0;
  if (bits > 0x7f800000u) {
    half = 0x7e00u;
  } else if (bits >= 0x477ff000u) {  // 65520
    half = 0x7c00u;
  } else if (bits < 0x38800000u) {  // below 2^-14: adding 0.5 rounds to multiples of 2^-24
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + 0.5f) - 0x3f000000u;
  } else {
    const std::uint32_t odd = (bits >> 13) & 1u;
    half = (bits + 0xfffu + odd - (112u << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

// 4-D or 2-D float arrays survive storage with 11 bits of precision: the value that will be read
// back.
inline float round_to_half(float value) {
  return half_to_float(float_to_half(value));
}

}  // namespace zoetrope::data
