// Autograd nodes around the plugin's kernels. T tokens, D width, U modulation rows, R runs
#include "model/norms_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/device.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const kernels::CudaPlugin& plugin() {
  const kernels::CudaPlugin* found = cuda_plugin();
  ZOETROPE_CHECK(found != nullptr, "a CUDA tensor without the CUDA plugin");
  return *found;
}

kernels::Element element(at::ScalarType type) {
  return type == at::kBFloat16 ? kernels::Element::kBFloat16 : kernels::Element::kFloat;
}

float* floats(const at::Tensor& x) {
  return x.data_ptr<float>();
}
const std::int64_t* indices(const at::Tensor& x) {
  return x.const_data_ptr<std::int64_t>();
}

// Partial rows [R, D] -> [U, D]; `runs` undefined: all of row 0.
at::Tensor total(const at::Tensor& partial_RD, const at::Tensor& runs_R3, std::int64_t num_rows) {
  at::Tensor total_UD = at::empty({num_rows, partial_RD.size(1)}, partial_RD.options());
  plugin().sum_runs(floats(partial_RD), runs_R3.defined() ? indices(runs_R3) : nullptr,
                    partial_RD.size(0), partial_RD.size(1), num_rows, floats(total_UD),
                    plugin().current_stream());
  return total_UD;
}

std::int64_t cuda_chunks(std::int64_t tokens) {
  return (tokens + kRunTokens - 1) / kRunTokens;
}

class CudaLayerNorm : public torch::autograd::Function<CudaLayerNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& multiplier_UD, const at::Tensor& shift_UD,
                            const at::Tensor& row_of_token_T, const at::Tensor& runs_R3, double eps,
                            std::int64_t out_type) {
    const auto type = static_cast<at::ScalarType>(out_type);
    const at::Tensor y_TD = at::empty(x_TD.sizes(), x_TD.options().dtype(type));
    const at::Tensor statistics_T2 = at::empty({x_TD.size(0), 2}, x_TD.options());
    plugin().layer_norm(arguments(x_TD, multiplier_UD, row_of_token_T, statistics_T2, type),
                        floats(shift_UD), static_cast<float>(eps), y_TD.data_ptr(),
                        plugin().current_stream());
    context->save_for_backward({x_TD, multiplier_UD, row_of_token_T, statistics_T2, runs_R3});
    return y_TD;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_TD = saved[0], &multiplier_UD = saved[1], &runs_R3 = saved[4];
    const at::Tensor g_TD = gradients[0].contiguous(), d_x_TD = at::empty_like(x_TD);
    const at::Tensor d_multiplier_RD = at::empty({runs_R3.size(0), x_TD.size(1)}, x_TD.options());
    const at::Tensor d_shift_RD = at::empty_like(d_multiplier_RD);
    plugin().layer_norm_backward(
        arguments(x_TD, multiplier_UD, saved[2], saved[3], g_TD.scalar_type()), indices(runs_R3),
        runs_R3.size(0), g_TD.data_ptr(), floats(d_x_TD), floats(d_multiplier_RD),
        floats(d_shift_RD), plugin().current_stream());
    const std::int64_t num_rows = multiplier_UD.size(0);
    return {d_x_TD,
            total(d_multiplier_RD, runs_R3, num_rows),
            total(d_shift_RD, runs_R3, num_rows),
            {},
            {},
            {},
            {}};
  }

 private:
  static kernels::LayerNorm arguments(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                                      const at::Tensor& row_of_token_T,
                                      const at::Tensor& statistics_T2, at::ScalarType type) {
    return {x_TD.size(0),
            x_TD.size(1),
            floats(x_TD),
            floats(multiplier_UD),
            indices(row_of_token_T),
            floats(statistics_T2),
            element(type)};
  }
};

class CudaGatedResidual : public torch::autograd::Function<CudaGatedResidual> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& residual_TD,
                            const at::Tensor& update_TD, const at::Tensor& gate_UD,
                            const at::Tensor& row_of_token_T, const at::Tensor& runs_R3) {
    const at::Tensor y_TD = at::empty_like(residual_TD);
    plugin().gated_residual(arguments(update_TD, gate_UD), floats(residual_TD),
                            indices(row_of_token_T), floats(y_TD), plugin().current_stream());
    context->save_for_backward({update_TD, gate_UD, runs_R3});
    return y_TD;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &update_TD = saved[0], &gate_UD = saved[1], &runs_R3 = saved[2];
    const at::Tensor g_TD = gradients[0].contiguous(), d_update_TD = at::empty_like(update_TD);
    const at::Tensor d_gate_RD = at::empty({runs_R3.size(0), g_TD.size(1)}, g_TD.options());
    plugin().gated_residual_backward(arguments(update_TD, gate_UD), indices(runs_R3),
                                     runs_R3.size(0), floats(g_TD), d_update_TD.data_ptr(),
                                     floats(d_gate_RD), plugin().current_stream());
    return {g_TD, d_update_TD, total(d_gate_RD, runs_R3, gate_UD.size(0)), {}, {}};
  }

 private:
  static kernels::GatedResidual arguments(const at::Tensor& update_TD, const at::Tensor& gate_UD) {
    return {update_TD.size(0), update_TD.size(1), update_TD.const_data_ptr(),
            element(update_TD.scalar_type()), floats(gate_UD)};
  }
};

class CudaRmsNormRotate : public torch::autograd::Function<CudaRmsNormRotate> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& weight_D, const Rotation& rotation, double eps) {
    const at::Tensor y_TD = at::empty_like(x_TD);
    const at::Tensor rstd_T = at::empty({x_TD.size(0)}, weight_D.options());
    plugin().rms_norm_rotate(arguments(x_TD, weight_D, rstd_T, rotation), static_cast<float>(eps),
                             y_TD.data_ptr(), plugin().current_stream());
    const auto& tables = rotation.tables;
    context->save_for_backward(
        {x_TD, weight_D, rstd_T, rotation.positions_T3, tables[0], tables[1], tables[2]});
    return y_TD;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_TD = saved[0], &weight_D = saved[1];
    const at::Tensor g_TD = gradients[0].contiguous(), d_x_TD = at::empty_like(x_TD);
    const at::Tensor d_weight_CD =
        at::empty({cuda_chunks(x_TD.size(0)), x_TD.size(1)}, weight_D.options());
    plugin().rms_norm_rotate_backward(
        arguments(x_TD, weight_D, saved[2], {saved[3], {saved[4], saved[5], saved[6]}}),
        g_TD.data_ptr(), d_x_TD.data_ptr(), floats(d_weight_CD), plugin().current_stream());
    return {d_x_TD, total(d_weight_CD, {}, 1).squeeze(0), {}, {}};
  }

 private:
  static kernels::RmsNormRotate arguments(const at::Tensor& x_TD, const at::Tensor& weight_D,
                                          const at::Tensor& rstd_T, const Rotation& rotation) {
    kernels::Turn turn;
    if (rotation.positions_T3.defined()) {
      turn.positions = rotation.positions_T3.const_data_ptr<std::int32_t>();
      for (int axis = 0; axis < 3; ++axis) {
        turn.tables[axis] = floats(rotation.tables[axis]);
        turn.pairs[axis] = rotation.tables[axis].size(1);
      }
    }
    return {x_TD.size(0),     x_TD.size(1), x_TD.const_data_ptr(), element(x_TD.scalar_type()),
            floats(weight_D), turn,         floats(rstd_T)};
  }
};

class CudaBiasGelu : public torch::autograd::Function<CudaBiasGelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& bias_D) {
    const at::Tensor y_TD = at::empty_like(x_TD);
    plugin().bias_gelu(arguments(x_TD, bias_D), y_TD.data_ptr(), plugin().current_stream());
    context->save_for_backward({x_TD, bias_D});
    return y_TD;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_TD = saved[0], &bias_D = saved[1];
    const at::Tensor g_TD = gradients[0].contiguous(), d_x_TD = at::empty_like(x_TD);
    const at::Tensor d_bias_CD =
        at::empty({cuda_chunks(x_TD.size(0)), x_TD.size(1)}, bias_D.options());
    plugin().bias_gelu_backward(arguments(x_TD, bias_D), g_TD.data_ptr(), d_x_TD.data_ptr(),
                                floats(d_bias_CD), plugin().current_stream());
    return {d_x_TD, total(d_bias_CD, {}, 1).squeeze(0)};
  }

 private:
  static kernels::BiasGelu arguments(const at::Tensor& x_TD, const at::Tensor& bias_D) {
    return {x_TD.size(0), x_TD.size(1), x_TD.const_data_ptr(), element(x_TD.scalar_type()),
            floats(bias_D)};
  }
};

}  // namespace

bool can_use_cuda_kernels(const at::Tensor& x_TD) {
  const auto type = x_TD.scalar_type();
  return x_TD.is_cuda() && (type == at::kFloat || type == at::kBFloat16) && x_TD.size(1) % 2 == 0;
}

at::Tensor cuda_layer_norm(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                           const at::Tensor& shift_UD, const ModulationRows& rows, double eps,
                           at::ScalarType out_type) {
  return CudaLayerNorm::apply(x_TD.contiguous(), multiplier_UD.contiguous(), shift_UD.contiguous(),
                              rows.row_of_token_T, rows.device_runs_R3, eps,
                              static_cast<std::int64_t>(out_type));
}

at::Tensor cuda_gated_residual(const at::Tensor& residual_TD, const at::Tensor& update_TD,
                               const at::Tensor& gate_UD, const ModulationRows& rows) {
  return CudaGatedResidual::apply(residual_TD.contiguous(), update_TD.contiguous(),
                                  gate_UD.contiguous(), rows.row_of_token_T, rows.device_runs_R3);
}

at::Tensor cuda_rms_norm_rotate(const at::Tensor& x_TD, const at::Tensor& weight_D,
                                const Rotation* rotation, double eps) {
  const Rotation none;
  return CudaRmsNormRotate::apply(x_TD.contiguous(), weight_D, rotation ? *rotation : none, eps);
}

at::Tensor cuda_bias_gelu(const at::Tensor& x_TD, const at::Tensor& bias_D) {
  return CudaBiasGelu::apply(x_TD.contiguous(), bias_D);
}

}  // namespace zoetrope::model
