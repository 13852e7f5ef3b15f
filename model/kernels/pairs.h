// Channels of a row in pairs, fp32 or bf16 in memory, fp32 in registers; on the host and on a
// device.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define ZOETROPE_BOTH __host__ __device__ inline
#else
#define ZOETROPE_BOTH inline
#endif

namespace zoetrope::model::kernels {

struct BFloat16 {
  std::uint16_t bits;
};
struct alignas(8) Pair {
  float a, b;
};

ZOETROPE_BOTH float widen(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, sizeof(x));
  return x;
}
// To nearest even; a NaN stays one.
ZOETROPE_BOTH std::uint16_t narrow(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Pair i of a row, on a device in one access.
template <class Whole>
ZOETROPE_BOTH Whole load_as(const void* place) {
#ifdef __CUDA_ARCH__
  return *static_cast<const Whole*>(place);
#else
  Whole whole;
  std::memcpy(&whole, place, sizeof(whole));
  return whole;
#endif
}
template <class Whole>
ZOETROPE_BOTH void store_as(void* place, Whole whole) {
#ifdef __CUDA_ARCH__
  *static_cast<Whole*>(place) = whole;
#else
  std::memcpy(place, &whole, sizeof(whole));
#endif
}
ZOETROPE_BOTH Pair load(const float* row, std::int64_t i) {
  return load_as<Pair>(row + 2 * i);
}
ZOETROPE_BOTH Pair load(const BFloat16* row, std::int64_t i) {
  const auto both = load_as<std::uint32_t>(row + 2 * i);
  return {widen(static_cast<std::uint16_t>(both)), widen(static_cast<std::uint16_t>(both >> 16))};
}
ZOETROPE_BOTH void store(float* row, std::int64_t i, Pair pair) {
  store_as(row + 2 * i, pair);
}
ZOETROPE_BOTH void store(BFloat16* row, std::int64_t i, Pair pair) {
  store_as(row + 2 * i, narrow(pair.a) | static_cast<std::uint32_t>(narrow(pair.b)) << 16);
}
ZOETROPE_BOTH void accumulate(float* row, std::int64_t i, Pair pair) {
  const Pair old = load(row, i);
  store(row, i, {old.a + pair.a, old.b + pair.b});
}

}  // namespace zoetrope::model::kernels
