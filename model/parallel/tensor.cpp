// Collectives as autograd nodes, and the table of what is cut how.
// T joint tokens, t own tokens, D width, d channels of this rank
#include "model/parallel/tensor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rsqrt.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/linear.h"
#include "model/norms.h"
#include "model/parallel/buffer.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor all_gather_tokens(const at::Tensor& x_tD, const TokenPlan& plan) {
  const at::Tensor mine = x_tD.contiguous();
  at::Tensor all = at::empty({plan.num_joint(), x_tD.size(1)}, x_tD.options());
  plan.tensor()->all_gather(buffer_of(mine), buffer_of(all), plan.own_counts(x_tD.size(1)));
  return all;
}

at::Tensor reduce_scatter_tokens(const at::Tensor& y_TD, const TokenPlan& plan) {
  const at::Tensor all = y_TD.clone(at::MemoryFormat::Contiguous);  // the collective destroys it
  at::Tensor mine = at::empty({plan.num_own(), y_TD.size(1)}, y_TD.options());
  plan.tensor()->reduce_scatter(buffer_of(all), buffer_of(mine), plan.own_counts(y_TD.size(1)));
  return mine;
}

struct KeptPlan : torch::CustomClassHolder {
  explicit KeptPlan(const TokenPlan& tokens) : plan(tokens) {}
  TokenPlan plan;
};

void keep(AutogradContext* context, const TokenPlan& plan) {
  context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<KeptPlan>(plan));
}
const TokenPlan& kept(AutogradContext* context) {
  return static_cast<const KeptPlan&>(*context->saved_data["plan"].toCapsule()).plan;
}

class GatherTokens : public torch::autograd::Function<GatherTokens> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_tD,
                            const TokenPlan& plan) {
    keep(context, plan);
    return all_gather_tokens(x_tD, plan);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {reduce_scatter_tokens(gradients[0], kept(context)), {}};
  }
};

class ScatterTokens : public torch::autograd::Function<ScatterTokens> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_TD,
                            const TokenPlan& plan) {
    keep(context, plan);
    return reduce_scatter_tokens(y_TD, plan);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {all_gather_tokens(gradients[0], kept(context)), {}};
  }
};

// Every rank uses the sum, so the gradient of each rank's summand is the sum of all ranks'.
class SumOverRanks : public torch::autograd::Function<SumOverRanks> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const TokenPlan& plan) {
    keep(context, plan);
    return sum(x, plan);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {sum(gradients[0], kept(context)), {}};
  }

 private:
  static at::Tensor sum(const at::Tensor& x, const TokenPlan& plan) {
    at::Tensor total = x.clone(at::MemoryFormat::Contiguous);
    plan.tensor()->all_reduce(buffer_of(total), launch::Reduction::kSum);
    return total;
  }
};

bool ends_with_any(const std::string& name, std::initializer_list<const char*> ends) {
  for (const char* end : ends) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

}  // namespace

ParameterPart dit_parameter_part(const std::string& name, const DitConfig& config,
                                 const TensorPlace& place) {
  const std::int64_t heads = config.num_attention_heads, channels = config.ffn_dim;
  ZOETROPE_CHECK_CONFIG(place.size <= heads && place.size <= channels, "mesh.tensor ", place.size,
                        ": the model has ", heads, " heads and ", channels,
                        " MLP channels to share out");
  if (place.size == 1 || !name.starts_with("blocks.")) return {};
  const Part head = even_part(heads, place.rank, place.size);
  const Part channel = even_part(channels, place.rank, place.size);
  const std::int64_t head_dim = config.attention_head_dim;
  const Part width{head.begin * head_dim, head.count * head_dim};
  if (ends_with_any(name, {"to_q.weight", "to_q.bias", "to_k.weight", "to_k.bias", "to_v.weight",
                           "to_v.bias", "norm_q.weight", "norm_k.weight"})) {
    return {0, width.begin, width.count, config.width()};
  }
  if (name.ends_with("to_out.0.weight")) return {1, width.begin, width.count, config.width()};
  if (ends_with_any(name, {"ffn.net.0.proj.weight", "ffn.net.0.proj.bias"})) {
    return {0, channel.begin, channel.count, channels};
  }
  if (name.ends_with("ffn.net.2.weight")) return {1, channel.begin, channel.count, channels};
  return {};
}

at::Tensor gather_tokens(const at::Tensor& x_tD, const TokenPlan& plan) {
  return plan.tensor() == nullptr ? x_tD : GatherTokens::apply(x_tD, plan);
}

at::Tensor scatter_linear(const Linear& layer, const at::Tensor& x_TK, const TokenPlan& plan) {
  if (plan.tensor() == nullptr) return layer(x_TK);
  const at::Tensor y_tD = ScatterTokens::apply(linear(x_TK, layer.weight, at::Tensor()), plan);
  return y_tD + layer.bias.to(y_tD.scalar_type());
}

at::Tensor shared_rms_norm_rotate(const at::Tensor& x_Td, const at::Tensor& weight_d,
                                  const Rotation* rotation, std::int64_t heads, std::int64_t width,
                                  double eps, const TokenPlan& plan) {
  if (plan.tensor() == nullptr || !weight_d.defined()) {
    return rms_norm_rotate(x_Td, weight_d, rotation, heads, eps);
  }
  at::Tensor y_Td = x_Td.scalar_type() == at::kDouble ? x_Td : x_Td.to(at::kFloat);
  const at::Tensor squares_T1 = SumOverRanks::apply(y_Td.square().sum(-1, true), plan);
  y_Td = y_Td * at::rsqrt(squares_T1 / static_cast<double>(width) + eps) * weight_d;
  if (rotation) y_Td = rotate(y_Td.unflatten(1, {heads, -1}), *rotation).flatten(1);
  return y_Td.to(x_Td.scalar_type());
}

}  // namespace zoetrope::model
