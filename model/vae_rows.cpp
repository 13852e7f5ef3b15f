// Row loops in fp32. The exponential is a polynomial (relative error below 2e-7) because a call
// into the maths library would keep the loops from being vectorised.
#include "model/vae_rows.h"

// One clone an instruction set, picked when the program starts. Sanitizers run before that is
// possible.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ZOETROPE_VECTORISED                                   \
  [[gnu::optimize("O3", "no-trapping-math", "no-math-errno"), \
    gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define ZOETROPE_VECTORISED
#endif

namespace zoetrope::model::rows {
namespace {

constexpr std::int64_t kLanes = 16;
constexpr float kMinNorm = 1e-12f;

// e^x for x in [-87, 87], Cephes' polynomial after taking out the power of two. std::bit_cast would
// stay a call here: a function without the clones' attributes is not inlined into them.
[[gnu::always_inline]] inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 87.0f ? 87.0f : x);
  const float shifted = x * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float power = shifted - 12582912.0f;
  const float r = (x - power * 0.693359375f) + power * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t exponent = (__builtin_bit_cast(std::uint32_t, shifted) + 127u) << 23;
  return p * __builtin_bit_cast(float, exponent);
}

[[gnu::always_inline]] inline float sigmoid(float x) {
  return 1.0f / (1.0f + exponential(-x));
}

[[gnu::always_inline]] inline float dot_of(const float* __restrict x, const float* __restrict y,
                                           std::int64_t n) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j] * y[i + j];
  }
  for (; i < n; ++i) lanes[0] += x[i] * y[i];
  float total = 0;
  for (const float lane : lanes) total += lane;
  return total;
}

// `to` holds the gradient of x * scale; the scale itself depends on x unless the row is (nearly)
// zero.
[[gnu::always_inline]] inline void backward_through_scale(float* __restrict to,
                                                          const float* __restrict x, float scale,
                                                          std::int64_t n) {
  const bool is_clamped = scale >= __builtin_sqrtf(static_cast<float>(n)) / kMinNorm;
  const float along = is_clamped ? 0.0f : dot_of(to, x, n) * scale * scale / static_cast<float>(n);
  for (std::int64_t i = 0; i < n; ++i) to[i] = scale * (to[i] - x[i] * along);
}

}  // namespace

ZOETROPE_VECTORISED
float rms_scale(const float* x, std::int64_t n) {
  const float length = __builtin_sqrtf(dot_of(x, x, n));
  return __builtin_sqrtf(static_cast<float>(n)) / (length > kMinNorm ? length : kMinNorm);
}

ZOETROPE_VECTORISED
void norm(float* __restrict to, const float* __restrict x, float scale,
          const float* __restrict gamma, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] * scale * gamma[i];
}

ZOETROPE_VECTORISED
void norm_silu(float* __restrict to, const float* __restrict x, float scale,
               const float* __restrict gamma, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float u = x[i] * scale * gamma[i];
    to[i] = u * sigmoid(u);
  }
}

ZOETROPE_VECTORISED
void norm_backward(float* __restrict to, const float* __restrict g, const float* __restrict x,
                   float scale, const float* __restrict gamma, float* __restrict d_gamma,
                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    d_gamma[i] += g[i] * x[i] * scale;
    to[i] = g[i] * gamma[i];
  }
  backward_through_scale(to, x, scale, n);
}

ZOETROPE_VECTORISED
void norm_silu_backward(float* __restrict to, const float* __restrict g, const float* __restrict x,
                        float scale, const float* __restrict gamma, float* __restrict d_gamma,
                        std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float hat = x[i] * scale;
    const float u = hat * gamma[i];
    const float s = sigmoid(u);
    const float d_u = g[i] * s * (1.0f + u * (1.0f - s));
    d_gamma[i] += d_u * hat;
    to[i] = d_u * gamma[i];
  }
  backward_through_scale(to, x, scale, n);
}

}  // namespace zoetrope::model::rows
