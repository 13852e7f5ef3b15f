// Row loops in fp32. Sums keep 16 partial sums: vectorised, and more exact than one running sum.
#include "model/row_kernels.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

// One clone an instruction set, picked when the program starts. Sanitizers run before that is
// possible.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ZOETROPE_VECTORISED \
  [[gnu::optimize("O3"), gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define ZOETROPE_VECTORISED
#endif

namespace zoetrope::model::rows {
namespace {

constexpr std::int64_t kLanes = 16;

// Inlined into each clone.
[[gnu::always_inline]] inline float fold(const float* lanes) {
  float total = 0;
  for (std::int64_t i = 0; i < kLanes; ++i) total += lanes[i];
  return total;
}

// exp for x <= 0 to 2 units in the last place: 2^k times a polynomial on |r| <= ln 2 / 2 (Cephes,
// Moshier). Below -87 it gives exp(-87), 1e-38.
[[gnu::always_inline]] inline float exp_of_negative(float x) {
  x = x < -87.0F ? -87.0F : x;
  constexpr float kRoundToWhole = 12582912.0F;  // 1.5 2^23: adding it leaves whole numbers
  const float shifted = x * 1.44269504F + kRoundToWhole;
  const float whole = shifted - kRoundToWhole;
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  float y = 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * r * r + r + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) + 127) << 23;
  return y * __builtin_bit_cast(float, exponent);
}

// To the nearest bf16, ties to even; x is finite.
[[gnu::always_inline]] inline std::uint16_t round_finite(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)), for u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kGeluSlope = 0.7978845608F, kGeluCube = 0.044715F;
[[gnu::always_inline]] inline float gelu_gate(float x) {
  const float v = 2 * kGeluSlope * (x + kGeluCube * x * x * x);
  const float e = exp_of_negative(v < 0 ? v : -v);
  return (v < 0 ? e : 1.0F) / (1 + e);
}

}  // namespace

bool has_bf16_products() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

bool is_intel_cpu() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

bool has_fast_bf16_products() {
#if defined(__x86_64__) && defined(__GNUC__)
  constexpr unsigned kAmxBf16 = 1U << 22;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool has_amx = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16);
  return has_amx || (has_bf16_products() && __builtin_cpu_is("amd"));
#else
  return false;
#endif
}

ZOETROPE_VECTORISED
void widen(const std::uint16_t* __restrict from, float* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    to[i] = std::bit_cast<float>(static_cast<std::uint32_t>(from[i]) << 16);
}

ZOETROPE_VECTORISED
void narrow(const float* __restrict from, std::uint16_t* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    // A NaN whose low bits carry would become infinite or zero.
    to[i] = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
  }
}

ZOETROPE_VECTORISED
float sum(const float* __restrict x, std::int64_t n) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
  }
  for (; i < n; ++i) lanes[0] += x[i];
  return fold(lanes);
}

ZOETROPE_VECTORISED
float dot(const float* __restrict x, const float* __restrict y, std::int64_t n) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * y[i + j];
  }
  for (; i < n; ++i) lanes[0] += x[i] * y[i];
  return fold(lanes);
}

ZOETROPE_VECTORISED
float centred_square_sum(const float* __restrict x, float mean, std::int64_t n) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += (x[i + j] - mean) * (x[i + j] - mean);
  }
  for (; i < n; ++i) lanes[0] += (x[i] - mean) * (x[i] - mean);
  return fold(lanes);
}

ZOETROPE_VECTORISED
void add(float* __restrict to, const float* __restrict x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += x[i];
}

ZOETROPE_VECTORISED
void add_product(float* __restrict to, const float* __restrict x, const float* __restrict y,
                 std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += x[i] * y[i];
}

ZOETROPE_VECTORISED
void multiply(float* __restrict to, const float* __restrict x, const float* __restrict y,
              std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] * y[i];
}

ZOETROPE_VECTORISED
void times(float* __restrict x, float factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

ZOETROPE_VECTORISED
float max(const float* __restrict x, std::int64_t n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = x[0];
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  float largest = lanes[0];
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

ZOETROPE_VECTORISED
void interleave(std::uint16_t* __restrict to, const std::uint16_t* __restrict x,
                const std::uint16_t* __restrict y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    to[2 * i] = x[i];
    to[2 * i + 1] = y[i];
  }
}

ZOETROPE_VECTORISED
float exp_scaled(std::uint16_t* __restrict to, const float* __restrict x, float scale, float shift,
                 std::int64_t n) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      const float p = exp_of_negative(scale * x[i + j] - shift);
      to[i + j] = round_finite(p);
      lanes[j] += p;
    }
  }
  for (; i < n; ++i) {
    const float p = exp_of_negative(scale * x[i] - shift);
    to[i] = round_finite(p);
    lanes[0] += p;
  }
  return fold(lanes);
}

ZOETROPE_VECTORISED
void score_gradient(std::uint16_t* __restrict p, std::uint16_t* __restrict d,
                    const float* __restrict score, const float* __restrict d_p,
                    const float* __restrict lse, const float* __restrict delta, float scale,
                    std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float probability = exp_of_negative(scale * score[i] - lse[i]);
    p[i] = round_finite(probability);
    d[i] = round_finite(scale * probability * (d_p[i] - delta[i]));
  }
}

ZOETROPE_VECTORISED
void modulate(float* __restrict to, const float* __restrict x, float mean, float rstd,
              const float* __restrict multiplier, const float* __restrict shift, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = (x[i] - mean) * rstd * multiplier[i] + shift[i];
}

ZOETROPE_VECTORISED
void modulate_backward(float* __restrict to, const float* __restrict g, const float* __restrict x,
                       float mean, float rstd, const float* __restrict multiplier,
                       float* __restrict d_multiplier, float* __restrict d_shift, std::int64_t n) {
  float sums[kLanes] = {}, products[kLanes] = {};
  const auto accumulate = [&](std::int64_t i, std::int64_t lane) __attribute__((always_inline)) {
    const float xhat = (x[i] - mean) * rstd;
    const float scaled = g[i] * multiplier[i];
    d_shift[i] += g[i];
    d_multiplier[i] += g[i] * xhat;
    sums[lane] += scaled;
    products[lane] += scaled * xhat;
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) accumulate(i + j, j);
  }
  for (; i < n; ++i) accumulate(i, 0);
  const float mean_g = fold(sums) / static_cast<float>(n);
  const float mean_gx = fold(products) / static_cast<float>(n);
  for (i = 0; i < n; ++i) {
    const float xhat = (x[i] - mean) * rstd;
    to[i] = rstd * (g[i] * multiplier[i] - mean_g - xhat * mean_gx);
  }
}

ZOETROPE_VECTORISED
void scale(float* __restrict to, const float* __restrict x, float rstd,
           const float* __restrict weight, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] * rstd * weight[i];
}

ZOETROPE_VECTORISED
void scale_backward(float* __restrict to, const float* __restrict g, const float* __restrict x,
                    float rstd, const float* __restrict weight, float* __restrict d_weight,
                    std::int64_t n) {
  float products[kLanes] = {};
  const auto accumulate = [&](std::int64_t i, std::int64_t lane) __attribute__((always_inline)) {
    const float xhat = x[i] * rstd;
    d_weight[i] += g[i] * xhat;
    products[lane] += g[i] * weight[i] * xhat;
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) accumulate(i + j, j);
  }
  for (; i < n; ++i) accumulate(i, 0);
  const float mean_gx = fold(products) / static_cast<float>(n);
  for (i = 0; i < n; ++i) to[i] = rstd * (g[i] * weight[i] - x[i] * rstd * mean_gx);
}

ZOETROPE_VECTORISED
void gate(float* __restrict to, const float* __restrict residual, const float* __restrict update,
          const float* __restrict gates, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = residual[i] + gates[i] * update[i];
}

ZOETROPE_VECTORISED
void gelu(float* __restrict to, const float* __restrict x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] * gelu_gate(x[i]);
}

ZOETROPE_VECTORISED
void gelu_backward(float* __restrict to, const float* __restrict g, const float* __restrict x,
                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float gate = gelu_gate(x[i]);
    const float slope = 2 * kGeluSlope * (1 + 3 * kGeluCube * x[i] * x[i]);
    to[i] = g[i] * (gate + x[i] * gate * (1 - gate) * slope);
  }
}

ZOETROPE_VECTORISED
void rotate(float* __restrict x, const float* __restrict cosines,
            const float* __restrict signed_sines, std::int64_t heads, std::int64_t n) {
  for (std::int64_t head = 0; head < heads; ++head, x += n) {
    for (std::int64_t i = 0; i < n; i += 2) {
      const float even = x[i], odd = x[i + 1];
      x[i] = even * cosines[i] + odd * signed_sines[i];
      x[i + 1] = odd * cosines[i + 1] + even * signed_sines[i + 1];
    }
  }
}

}  // namespace zoetrope::model::rows
