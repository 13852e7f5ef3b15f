// y = x W^T + b with the weights cast to the dtype that is multiplied, forward and backward.
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// What products of `type` are computed in, on CPUs: in `type` itself, but bf16 in fp32 where the
// processor multiplies that faster. Sums are fp32 either way.
at::ScalarType product_type(at::ScalarType type);
// The same, on x's device.
at::ScalarType product_type(const at::Tensor& x);

// x [..., in], weight [out, in], bias [out] or undefined -> [..., out] in x's dtype. Gradients of
// weight and bias come in their own dtype (fp32 masters under bf16 GEMMs).
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// While one is active on a thread, its linear layers keep the weights themselves for backward and
// cast them a second time there: for weights that come and go (parallel/weight_gate.h), and to save
// the memory of the casts. Otherwise they keep the casts.
class RecastScope {
 public:
  explicit RecastScope(bool active);
  ~RecastScope();
  RecastScope(const RecastScope&) = delete;
  RecastScope& operator=(const RecastScope&) = delete;

 private:
  bool outer_;
};

// gelu(linear(x, weight, bias)) by tanh; bias defined.
at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace zoetrope::model
