// Loops over one row of channels in fp32, written so that the compiler vectorises them, and built
// for several instruction sets in one binary. No torch: norms.cpp and attention.cpp call them from
// many threads.
#pragma once

#include <cstdint>

namespace zoetrope::model::rows {

// bfloat16 travels as its 16 bits; narrowing rounds to nearest even.
void widen(const std::uint16_t* from, float* to, std::int64_t n);
void narrow(const float* from, std::uint16_t* to, std::int64_t n);

float sum(const float* x, std::int64_t n);
float dot(const float* x, const float* y, std::int64_t n);
float centred_square_sum(const float* x, float mean, std::int64_t n);  // sum (x - mean)^2

void add(float* to, const float* x, std::int64_t n);                          // to += x
void add_product(float* to, const float* x, const float* y, std::int64_t n);  // to += x y
void multiply(float* to, const float* x, const float* y, std::int64_t n);     // to = x y

void times(float* x, float factor, std::int64_t n);  // x *= factor
float max(const float* x, std::int64_t n);           // n >= 1

// to = x[0], y[0], x[1], y[1], ...
void interleave(std::uint16_t* to, const std::uint16_t* x, const std::uint16_t* y, std::int64_t n);

// Whether the processor multiplies bf16 itself (AVX-512 bf16).
bool has_bf16_products();
bool is_intel_cpu();
// Whether products of bf16 are faster than those of fp32 on this processor: with AMX, or with
// AVX-512 bf16 on AMD's. Intel's cores without AMX were seen at half the rate of fp32.
bool has_fast_bf16_products();

// to = bf16 of exp(scale x - shift), for scale x <= shift; returns their sum before rounding.
float exp_scaled(std::uint16_t* to, const float* x, float scale, float shift, std::int64_t n);
// Softmax and its backward for one key against n queries: p = exp(scale score - lse) and
// d = scale p (d_p - delta), both rounded to bf16.
void score_gradient(std::uint16_t* p, std::uint16_t* d, const float* score, const float* d_p,
                    const float* lse, const float* delta, float scale, std::int64_t n);

// to = (x - mean) rstd multiplier + shift
void modulate(float* to, const float* x, float mean, float rstd, const float* multiplier,
              const float* shift, std::int64_t n);
// The backward of modulate through the statistics: to = gradient of x for the gradient g of the
// output. Adds g to d_shift and g xhat to d_multiplier.
void modulate_backward(float* to, const float* g, const float* x, float mean, float rstd,
                       const float* multiplier, float* d_multiplier, float* d_shift,
                       std::int64_t n);

// to = x rstd weight
void scale(float* to, const float* x, float rstd, const float* weight, std::int64_t n);
// The backward of scale with rstd = (mean x^2 + eps)^-1/2; adds to d_weight.
void scale_backward(float* to, const float* g, const float* x, float rstd, const float* weight,
                    float* d_weight, std::int64_t n);

// to = residual + gate update
void gate(float* to, const float* residual, const float* update, const float* gates,
          std::int64_t n);

// to = GELU of x by tanh, and the gradient of x for the gradient g of it.
void gelu(float* to, const float* x, std::int64_t n);
void gelu_backward(float* to, const float* g, const float* x, std::int64_t n);

// Rotates each pair (2k, 2k + 1) of `heads` heads of `n` channels: cosines and sines hold n values,
// each twice, the sine's sign in place (- for even channels). In place.
void rotate(float* x, const float* cosines, const float* signed_sines, std::int64_t heads,
            std::int64_t n);

}  // namespace zoetrope::model::rows
