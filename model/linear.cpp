// One autograd node a linear layer: saves x and the weight or its cast, nothing else.
// M rows, K inputs, N outputs
#include "model/linear.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/gelu.h"
#include "model/norms_cuda.h"
#include "model/row_kernels.h"
#include "model/selective.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using OneDnnLinear = at::Tensor(const at::Tensor&, const at::Tensor&,
                                const std::optional<at::Tensor>&, std::string_view,
                                c10::List<std::optional<at::Scalar>>,
                                std::optional<std::string_view>);

bool is_cpu_fp32(const at::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 0;
}

// x [M, K] times w [N, K] transposed; w may be strided. oneDNN's fp32 kernels are up to 3 times
// faster than LibTorch's BLAS on AVX-512 CPUs that are not Intel's, and as fast there.
at::Tensor multiply_transposed(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  static const auto one_dnn =
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (one_dnn && is_cpu_fp32(x)) {
    const auto optional_bias = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
    static const auto call = one_dnn->typed<OneDnnLinear>();
    return call.call(x, w, optional_bias, "none", c10::List<std::optional<at::Scalar>>(), "");
  }
  return bias.defined() ? at::addmm(bias, x, w.t()) : at::mm(x, w.t());
}

// g [M, N] transposed times x [M, K]. oneDNN copies both to have their rows contiguous; Intel's
// BLAS takes them as they are.
at::Tensor multiply_columns(const at::Tensor& g, const at::Tensor& x) {
  static const bool is_intel = rows::is_intel_cpu();
  if (is_intel && is_cpu_fp32(x)) return at::mm(g.t(), x);
  return multiply_transposed(g.t(), x.t(), at::Tensor());
}

thread_local bool recasts_weights = false;

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_MK,
                            const at::Tensor& weight_NK, const std::optional<at::Tensor>& bias_N) {
    const at::ScalarType type = product_type(x_MK);
    const at::Tensor w_NK = weight_NK.to(type);
    const at::Tensor b_N = bias_N ? bias_N->to(type) : at::Tensor();
    context->save_for_backward({keep_in(context, "x", x_MK), recasts_weights ? weight_NK : w_NK});
    context->saved_data["has_bias"] = bias_N.has_value();
    context->saved_data["weight_type"] = static_cast<std::int64_t>(weight_NK.scalar_type());
    return multiply_transposed(x_MK.to(type), w_NK, b_N).to(x_MK.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::ScalarType type = gradients[0].scalar_type();
    const at::Tensor g_MN = gradients[0].to(product_type(gradients[0]));
    const auto weight_type =
        static_cast<at::ScalarType>(context->saved_data["weight_type"].toInt());
    at::Tensor d_x, d_weight, d_bias;
    if (context->needs_input_grad(0)) {
      const at::Tensor w_NK = saved[1].to(g_MN.scalar_type());
      d_x = multiply_transposed(g_MN, w_NK.t(), at::Tensor()).to(type);
    }
    if (context->needs_input_grad(1)) {
      const at::Tensor x_MK = kept_in(context, "x", saved[0]).to(g_MN.scalar_type());
      d_weight = multiply_columns(g_MN, x_MK).to(weight_type);
    }
    const bool has_bias = context->saved_data["has_bias"].toBool();
    if (has_bias && context->needs_input_grad(2)) d_bias = at::sum(g_MN, {0}, false, weight_type);
    return {d_x, d_weight, d_bias};
  }
};

}  // namespace

at::ScalarType product_type(at::ScalarType type) {
  static const bool widens = !rows::has_fast_bf16_products();
  return type == at::kBFloat16 && widens ? at::kFloat : type;
}

at::ScalarType product_type(const at::Tensor& x) {
  return x.device().is_cpu() ? product_type(x.scalar_type()) : x.scalar_type();
}

RecastScope::RecastScope(bool active) : outer_(std::exchange(recasts_weights, active)) {}

RecastScope::~RecastScope() {
  recasts_weights = outer_;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  ZOETROPE_CHECK(x.size(-1) == weight.size(1), "a linear layer of ", weight.size(1), " inputs got ",
                 x.size(-1));
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const auto optional_bias = bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  const at::Tensor x_MK = x.dim() == 2 ? x : x.reshape({-1, x.size(-1)});
  return LinearFunction::apply(x_MK, weight, optional_bias).view(shape);
}

at::Tensor linear_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool biased_by_kernel = x.dim() == 2 && can_use_cuda_kernels(x);
  const auto activate = [bias, biased_by_kernel](const at::Tensor& h) {
    return biased_by_kernel ? cuda_bias_gelu(h, bias) : tanh_gelu(h);
  };
  const at::Tensor h = linear(x, weight, biased_by_kernel ? at::Tensor() : bias);
  const at::Tensor y = activate(h);
  if (SelectiveScope::is_active())
    can_remake(y, [activate, h = keep(h)] { return activate(h->get()); });
  return y;
}

}  // namespace zoetrope::model
