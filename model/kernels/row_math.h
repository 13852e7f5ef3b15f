// The arithmetic of the fused passes on one row of channels, written once for any number of lanes:
// a block of CUDA threads, or one lane on the host, which is how tests check it without a device.
// Channels come in pairs (width is even); lane l of n has pairs l, l + n, ... Sums in fp32.
#pragma once

#include <cmath>
#include <cstdint>

#include "model/kernels/pairs.h"

namespace zoetrope::model::kernels {

// The host's lanes: one, which has every pair.
struct OneLane {
  std::int64_t first() const { return 0; }
  std::int64_t step() const { return 1; }
  float sum(float x) const { return x; }
};

// y = (x - mean) rstd multiplier + shift; statistics: mean, rstd.
template <class Lanes, class Out>
ZOETROPE_BOTH void layer_norm_row(const Lanes& lanes, std::int64_t width, float eps, const float* x,
                                  const float* multiplier, const float* shift, Out* y,
                                  float* statistics) {
  const std::int64_t pairs = width / 2;
  float total = 0;
  for (std::int64_t i = lanes.first(); i < pairs; i += lanes.step()) {
    const Pair v = load(x, i);
    total += v.a + v.b;
  }
  const float mean = lanes.sum(total) / static_cast<float>(width);
  float squares = 0;
  for (std::int64_t i = lanes.first(); i < pairs; i += lanes.step()) {
    const Pair v = load(x, i);
    squares += (v.a - mean) * (v.a - mean) + (v.b - mean) * (v.b - mean);
  }
  const float rstd = 1 / std::sqrt(lanes.sum(squares) / static_cast<float>(width) + eps);
  for (std::int64_t i = lanes.first(); i < pairs; i += lanes.step()) {
    const Pair v = load(x, i), m = load(multiplier, i), s = load(shift, i);
    store(y, i, {(v.a - mean) * rstd * m.a + s.a, (v.b - mean) * rstd * m.b + s.b});
  }
  if (lanes.first() == 0) {
    statistics[0] = mean;
    statistics[1] = rstd;
  }
}

// d_x for the gradient g of y; adds to d_multiplier and d_shift, which may be each lane's own part.
template <class Lanes, class In>
ZOETROPE_BOTH void layer_norm_row_backward(const Lanes& lanes, std::int64_t width, const In* g,
                                           const float* x, const float* statistics,
                                           const float* multiplier, float* d_x, float* d_multiplier,
                                           float* d_shift) {
  const std::int64_t pairs = width / 2;
  const float mean = statistics[0], rstd = statistics[1];
  float total = 0, products = 0;
  for (std::int64_t i = lanes.first(); i < pairs; i += lanes.step()) {
    const Pair v = load(x, i), up = load(g, i), m = load(multiplier, i);
    const Pair xhat = {(v.a - mean) * rstd, (v.b - mean) * rstd};
    accumulate(d_shift, i, up);
    accumulate(d_multiplier, i, {up.a * xhat.a, up.b * xhat.b});
    total += up.a * m.a + up.b * m.b;
    products += up.a * m.a * xhat.a + up.b * m.b * xhat.b;
  }
  const float mean_g = lanes.sum(total) / static_cast<float>(width);
  const float mean_gx = lanes.sum(products) / static_cast<float>(width);
  for (std::int64_t i = lanes.first(); i < pairs; i += lanes.step()) {
    const Pair v = load(x, i), up = load(g, i), m = load(multiplier, i);
    store(d_x, i,
          {rstd * (up.a * m.a - mean_g - (v.a - mean) * rstd * mean_gx),
           rstd * (up.b * m.b - mean_g - (v.b - mean) * rstd * mean_gx)});
  }
}

// y = residual + gate update
template <class Lanes, class Update>
ZOETROPE_BOTH void gated_residual_row(const Lanes& lanes, std::int64_t width, const float* residual,
                                      const Update* update, const float* gate, float* y) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair r = load(residual, i), u = load(update, i), k = load(gate, i);
    store(y, i, {r.a + k.a * u.a, r.b + k.b * u.b});
  }
}
template <class Lanes, class Update>
ZOETROPE_BOTH void gated_residual_row_backward(const Lanes& lanes, std::int64_t width,
                                               const float* g, const Update* update,
                                               const float* gate, Update* d_update, float* d_gate) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair up = load(g, i), u = load(update, i), k = load(gate, i);
    accumulate(d_gate, i, {up.a * u.a, up.b * u.b});
    store(d_update, i, {up.a * k.a, up.b * k.b});
  }
}

// Cosine and sine of one token's pairs: tables of (cosine, sine) along time, height and width,
// pairs[axis] of a head's pairs each. Without positions nothing turns.
struct Turn {
  const std::int32_t* positions = nullptr;  // [T, 3]
  const float* tables[3] = {};
  std::int64_t pairs[3] = {};

  ZOETROPE_BOTH Pair angle(std::int64_t token, std::int64_t pair) const {
    std::int64_t p = pair % (pairs[0] + pairs[1] + pairs[2]);  // of its head
    int axis = 0;
    while (p >= pairs[axis]) p -= pairs[axis++];
    return load(tables[axis], positions[3 * token + axis] * pairs[axis] + p);
  }
};

// y = the rotation of x rstd weight; *rstd = (mean x^2 + eps)^-1/2.
template <class Lanes, class T>
ZOETROPE_BOTH void rms_norm_rotate_row(const Lanes& lanes, std::int64_t width, float eps,
                                       const T* x, const float* weight, const Turn& turn,
                                       std::int64_t token, T* y, float* rstd) {
  float squares = 0;
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair v = load(x, i);
    squares += v.a * v.a + v.b * v.b;
  }
  const float r = 1 / std::sqrt(lanes.sum(squares) / static_cast<float>(width) + eps);
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair v = load(x, i), w = load(weight, i);
    const Pair n = {v.a * r * w.a, v.b * r * w.b};
    if (turn.positions == nullptr) {
      store(y, i, n);
    } else {
      const Pair c = turn.angle(token, i);
      store(y, i, {n.a * c.a - n.b * c.b, n.a * c.b + n.b * c.a});
    }
  }
  if (lanes.first() == 0) *rstd = r;
}
template <class Lanes, class T>
ZOETROPE_BOTH void rms_norm_rotate_row_backward(const Lanes& lanes, std::int64_t width, const T* g,
                                                const T* x, float rstd, const float* weight,
                                                const Turn& turn, std::int64_t token, T* d_x,
                                                float* d_weight) {
  const auto turned_back = [&](std::int64_t i) {
    const Pair up = load(g, i);
    if (turn.positions == nullptr) return up;
    const Pair c = turn.angle(token, i);
    return Pair{up.a * c.a + up.b * c.b, up.b * c.a - up.a * c.b};
  };
  float products = 0;
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair up = turned_back(i), v = load(x, i), w = load(weight, i);
    accumulate(d_weight, i, {up.a * v.a * rstd, up.b * v.b * rstd});
    products += (up.a * w.a * v.a + up.b * w.b * v.b) * rstd;
  }
  const float mean_gx = lanes.sum(products) / static_cast<float>(width);
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair up = turned_back(i), v = load(x, i), w = load(weight, i);
    store(d_x, i,
          {rstd * (up.a * w.a - v.a * rstd * mean_gx), rstd * (up.b * w.b - v.b * rstd * mean_gx)});
  }
}

// GELU by tanh (arXiv:1606.08415) and its derivative.
ZOETROPE_BOTH float gelu(float x) {
  return 0.5F * x * (1 + std::tanh(0.79788456F * (x + 0.044715F * x * x * x)));
}
ZOETROPE_BOTH float gelu_slope(float x) {
  const float t = std::tanh(0.79788456F * (x + 0.044715F * x * x * x));
  return 0.5F * (1 + t) + 0.5F * x * (1 - t * t) * 0.79788456F * (1 + 3 * 0.044715F * x * x);
}

// y = gelu(x + bias)
template <class Lanes, class T>
ZOETROPE_BOTH void bias_gelu_row(const Lanes& lanes, std::int64_t width, const T* x,
                                 const float* bias, T* y) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair v = load(x, i), b = load(bias, i);
    store(y, i, {gelu(v.a + b.a), gelu(v.b + b.b)});
  }
}
template <class Lanes, class T>
ZOETROPE_BOTH void bias_gelu_row_backward(const Lanes& lanes, std::int64_t width, const T* g,
                                          const T* x, const float* bias, T* d_x, float* d_bias) {
  for (std::int64_t i = lanes.first(); i < width / 2; i += lanes.step()) {
    const Pair up = load(g, i), v = load(x, i), b = load(bias, i);
    const Pair d = {up.a * gelu_slope(v.a + b.a), up.b * gelu_slope(v.b + b.b)};
    accumulate(d_bias, i, d);
    store(d_x, i, d);
  }
}

// One element of AdamW (arXiv:1711.05101) with bias corrections 1 / (1 - beta^t), then the average.
struct AdamStep {
  float beta1, beta2, eps, lr, decay, grad_scale, correct1, correct2, ema_rate;
};
ZOETROPE_BOTH float adam_element(const AdamStep& s, float p, float g, float& m, float& v,
                                 float& ema) {
  const float grad = g * s.grad_scale;
  m = s.beta1 * m + (1 - s.beta1) * grad;
  v = s.beta2 * v + (1 - s.beta2) * grad * grad;
  const float root = std::sqrt(v * s.correct2) + s.eps;
  p = p * (1 - s.lr * s.decay) - s.lr * (m * s.correct1) / root;
  ema += s.ema_rate * (p - ema);
  return p;
}

}  // namespace zoetrope::model::kernels
