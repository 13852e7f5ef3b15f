// AVX-512 by intrinsics: a compiler that sees only loops spills the accumulators of `multiply`.
#include "model/winograd_kernels.h"

#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define ZOETROPE_AVX512 [[gnu::target("avx512f,avx512bw")]]
#define ZOETROPE_AVX512_INLINE [[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline
#endif

namespace zoetrope::model::winograd {

#if defined(__x86_64__)

bool is_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

namespace {

// GCC 12 warns of an uninitialised operand inside the forms without a mask.
constexpr __mmask16 kAllLanes = 0xffff;
constexpr int kRows = 12;  // of `multiply` at once: 24 accumulators, 2 of b, 1 of a

ZOETROPE_AVX512_INLINE __m512 load(const Plane& plane, std::int64_t at) {
  if (!plane.is_bf16) return _mm512_loadu_ps(static_cast<const float*>(plane.data) + at);
  const auto* from = static_cast<const std::uint16_t*>(plane.data) + at;
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAllLanes, _mm512_maskz_cvtepu16_epi32(kAllLanes, half), 16));
}

// To bf16 by rounding to the nearest, ties to even; NaN stays NaN.
ZOETROPE_AVX512_INLINE void store(const Plane& plane, std::int64_t at, __m512 value) {
  if (!plane.is_bf16) {
    _mm512_storeu_ps(static_cast<float*>(plane.data) + at, value);
    return;
  }
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i odd =
      _mm512_and_si512(_mm512_maskz_srli_epi32(kAllLanes, bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const __m512i safe = _mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7fc00000));
  auto* to = static_cast<std::uint16_t*>(plane.data) + at;
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(to),
      _mm512_maskz_cvtepi32_epi16(kAllLanes, _mm512_maskz_srli_epi32(kAllLanes, safe, 16)));
}

ZOETROPE_AVX512_INLINE __m512 times(float factor, __m512 x) {
  return _mm512_mul_ps(_mm512_set1_ps(factor), x);
}
ZOETROPE_AVX512_INLINE __m512 plus(float factor, __m512 x, __m512 y) {  // factor x + y
  return _mm512_fmadd_ps(_mm512_set1_ps(factor), x, y);
}

// B^T d: six numbers of a line of input.
ZOETROPE_AVX512_INLINE void input_line(const __m512* d, __m512* to, int step) {
  const __m512 even = plus(-4, d[2 * step], d[4 * step]), odd = plus(-4, d[step], d[3 * step]);
  const __m512 even2 = _mm512_sub_ps(d[4 * step], d[2 * step]);
  const __m512 odd2 = times(2, _mm512_sub_ps(d[3 * step], d[step]));
  to[0] = plus(4, d[0], plus(-5, d[2 * step], d[4 * step]));
  to[step] = _mm512_add_ps(even, odd);
  to[2 * step] = _mm512_sub_ps(even, odd);
  to[3 * step] = _mm512_add_ps(even2, odd2);
  to[4 * step] = _mm512_sub_ps(even2, odd2);
  to[5 * step] = plus(4, d[step], plus(-5, d[3 * step], d[5 * step]));
}

// G g: three numbers of a line of weights become six.
ZOETROPE_AVX512_INLINE void weight_line(const __m512* g, int from_step, __m512* to, int to_step) {
  const __m512 g0 = g[0], g1 = g[from_step], g2 = g[2 * from_step];
  const __m512 sum = times(-1.0f / 6, _mm512_add_ps(g0, g2));
  const __m512 wide = plus(1.0f / 24, g0, times(1.0f / 6, g2));
  to[0] = times(0.25f, g0);
  to[to_step] = plus(-1.0f / 6, g1, sum);
  to[2 * to_step] = plus(1.0f / 6, g1, sum);
  to[3 * to_step] = plus(1.0f / 12, g1, wide);
  to[4 * to_step] = plus(-1.0f / 12, g1, wide);
  to[5 * to_step] = g2;
}

// A^T m: six products of a line become four outputs.
ZOETROPE_AVX512_INLINE void output_line(const __m512* m, int from_step, __m512* to, int to_step) {
  const __m512 sum1 = _mm512_add_ps(m[from_step], m[2 * from_step]);
  const __m512 difference1 = _mm512_sub_ps(m[from_step], m[2 * from_step]);
  const __m512 sum2 = _mm512_add_ps(m[3 * from_step], m[4 * from_step]);
  const __m512 difference2 = _mm512_sub_ps(m[3 * from_step], m[4 * from_step]);
  to[0] = _mm512_add_ps(m[0], _mm512_add_ps(sum1, sum2));
  to[to_step] = plus(2, difference2, difference1);
  to[2 * to_step] = plus(4, sum2, sum1);
  to[3 * to_step] = plus(8, difference2, _mm512_add_ps(difference1, m[5 * from_step]));
}

template <int rows>
ZOETROPE_AVX512 void multiply_rows(const float* a, const std::int64_t* offsets, const float* b,
                                   std::int64_t depth, float* c) {
  __m512 sum[rows][2];
  const float* row[rows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    row[r] = a + offsets[r];
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    const __m512 b0 = _mm512_loadu_ps(b + k * kPanel),
                 b1 = _mm512_loadu_ps(b + k * kPanel + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const __m512 x = _mm512_set1_ps(row[r][k]);
      sum[r][0] = _mm512_fmadd_ps(x, b0, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(x, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    _mm512_storeu_ps(c + r * kPanel, sum[r][0]);
    _mm512_storeu_ps(c + r * kPanel + kLanes, sum[r][1]);
  }
}

}  // namespace

ZOETROPE_AVX512 void transform_input(const Plane& from, std::int64_t y, std::int64_t x, float* to,
                                     std::int64_t point_stride) {
  for (std::int64_t c = 0; c < from.channels; c += kLanes) {
    __m512 d[kPoints], half[kPoints], v[kPoints];
    for (int i = 0; i < kInput; ++i) {
      for (int j = 0; j < kInput; ++j) {
        const std::int64_t row = y + i - 1, column = x + j - 1;
        const bool inside = row >= 0 && row < from.height && column >= 0 && column < from.width;
        d[i * kInput + j] = inside ? load(from, (row * from.width + column) * from.channels + c)
                                   : _mm512_setzero_ps();
      }
    }
    for (int j = 0; j < kInput; ++j) input_line(d + j, half + j, kInput);
    for (int i = 0; i < kInput; ++i) input_line(half + i * kInput, v + i * kInput, 1);
    for (int p = 0; p < kPoints; ++p) _mm512_storeu_ps(to + p * point_stride + c, v[p]);
  }
}

ZOETROPE_AVX512 void transform_weights(const float* w, std::int64_t in, std::int64_t taps,
                                       std::int64_t first, float* to) {
  constexpr int kKernel = 9;
  for (std::int64_t c = 0; c < in; ++c) {
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      alignas(64) float lanes[kKernel][kPanel];
      for (std::int64_t o = 0; o < kPanel; ++o) {
        const float* kernel = w + (((first + o) * in + c) * taps + tap) * kKernel;
        for (int i = 0; i < kKernel; ++i) lanes[i][o] = kernel[i];
      }
      for (std::int64_t half = 0; half < kPanel; half += kLanes) {
        __m512 g[kKernel], tall[18], u[kPoints];
        for (int i = 0; i < kKernel; ++i) g[i] = _mm512_load_ps(lanes[i] + half);
        for (int j = 0; j < 3; ++j) weight_line(g + j, 3, tall + j, 3);
        for (int i = 0; i < kInput; ++i) weight_line(tall + 3 * i, 1, u + i * kInput, 1);
        for (int p = 0; p < kPoints; ++p) {
          _mm512_storeu_ps(to + ((p * taps + tap) * in + c) * kPanel + half, u[p]);
        }
      }
    }
  }
}

void multiply(const float* a, const std::int64_t* offsets, std::int64_t rows, const float* b,
              std::int64_t depth, float* c) {
  std::int64_t r = 0;
  for (; r + kRows <= rows; r += kRows)
    multiply_rows<kRows>(a, offsets + r, b, depth, c + r * kPanel);
  for (; r + 4 <= rows; r += 4) multiply_rows<4>(a, offsets + r, b, depth, c + r * kPanel);
  for (; r < rows; ++r) multiply_rows<1>(a, offsets + r, b, depth, c + r * kPanel);
}

ZOETROPE_AVX512 void transform_output(const float* products, std::int64_t point_stride,
                                      const float* bias, const Plane& to, std::int64_t first,
                                      std::int64_t y, std::int64_t x) {
  for (std::int64_t half = 0; half < kPanel; half += kLanes) {
    __m512 m[kPoints], wide[24], out[16];
    for (int p = 0; p < kPoints; ++p) m[p] = _mm512_loadu_ps(products + p * point_stride + half);
    for (int j = 0; j < kInput; ++j) output_line(m + j, kInput, wide + j, kInput);
    for (int i = 0; i < kTile; ++i) output_line(wide + i * kInput, 1, out + i * kTile, 1);
    const __m512 shift = _mm512_loadu_ps(bias + half);
    for (int i = 0; i < kTile && y + i < to.height; ++i) {
      for (int j = 0; j < kTile && x + j < to.width; ++j) {
        const std::int64_t at = ((y + i) * to.width + x + j) * to.channels + first + half;
        store(to, at, _mm512_add_ps(out[i * kTile + j], shift));
      }
    }
  }
}

#else

bool is_supported() {
  return false;
}
void transform_input(const Plane&, std::int64_t, std::int64_t, float*, std::int64_t) {
  throw Error("no AVX-512");
}
void transform_weights(const float*, std::int64_t, std::int64_t, std::int64_t, float*) {
  throw Error("no AVX-512");
}
void multiply(const float*, const std::int64_t*, std::int64_t, const float*, std::int64_t, float*) {
  throw Error("no AVX-512");
}
void transform_output(const float*, std::int64_t, const float*, const Plane&, std::int64_t,
                      std::int64_t, std::int64_t) {
  throw Error("no AVX-512");
}

#endif

}  // namespace zoetrope::model::winograd
