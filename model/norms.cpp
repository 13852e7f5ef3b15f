// Fused forward and backward loops over packed tokens; each work item is one run of tokens, so
// partial sums and their order are those of the runs, not of the threads.
#include "model/norms.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/norms_cuda.h"
#include "model/row_kernels.h"
#include "model/selective.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_fused(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// One row of an fp32 or bf16 matrix as fp32: the row itself, or a widened copy in `scratch`.
class RowReader {
 public:
  explicit RowReader(const at::Tensor& matrix)
      : data_(static_cast<const char*>(matrix.const_data_ptr())),
        width_(matrix.size(1)),
        is_bf16_(matrix.scalar_type() == at::kBFloat16) {
    ZOETROPE_CHECK(matrix.is_contiguous(), "rows of a strided matrix");
  }
  const float* row(std::int64_t index, std::vector<float>& scratch) const {
    if (!is_bf16_) return reinterpret_cast<const float*>(data_) + index * width_;
    rows::widen(reinterpret_cast<const std::uint16_t*>(data_) + index * width_, scratch.data(),
                width_);
    return scratch.data();
  }

 private:
  const char* data_;
  std::int64_t width_;
  bool is_bf16_;
};

// One row to write as fp32: the row itself, or `scratch`, which finish() narrows into it.
class RowWriter {
 public:
  explicit RowWriter(at::Tensor& matrix)
      : data_(static_cast<char*>(matrix.mutable_data_ptr())),
        width_(matrix.size(1)),
        is_bf16_(matrix.scalar_type() == at::kBFloat16) {}
  float* row(std::int64_t index, std::vector<float>& scratch) const {
    return is_bf16_ ? scratch.data() : reinterpret_cast<float*>(data_) + index * width_;
  }
  void finish(std::int64_t index, const float* row) const {
    if (is_bf16_)
      rows::narrow(row, reinterpret_cast<std::uint16_t*>(data_) + index * width_, width_);
  }

 private:
  char* data_;
  std::int64_t width_;
  bool is_bf16_;
};

struct Run {
  std::int64_t index, row, begin, end;
};

// Calls use(run) for every run, from several threads.
template <class Use>
void for_each_run(const at::Tensor& runs_R3, const Use& use) {
  const std::int64_t* runs = runs_R3.const_data_ptr<std::int64_t>();
  at::parallel_for(0, runs_R3.size(0), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      use(Run{r, runs[3 * r], runs[3 * r + 1], runs[3 * r + 2]});
  });
}

// Sums the runs' partial rows [R, D] into their modulation rows [U, D], in the order of the runs.
at::Tensor sum_runs(const at::Tensor& partial_RD, const at::Tensor& runs_R3,
                    std::int64_t num_rows) {
  const std::int64_t width = partial_RD.size(1);
  at::Tensor total_UD = at::zeros({num_rows, width}, partial_RD.options());
  float* total = total_UD.mutable_data_ptr<float>();
  const float* partial = partial_RD.const_data_ptr<float>();
  const std::int64_t* runs = runs_R3.const_data_ptr<std::int64_t>();
  for (std::int64_t r = 0; r < runs_R3.size(0); ++r) {
    rows::add(total + runs[3 * r] * width, partial + r * width, width);
  }
  return total_UD;
}

void append_runs(std::vector<std::int64_t>& runs, std::int64_t row, std::int64_t begin,
                 std::int64_t end) {
  for (; begin < end; begin += kRunTokens) {
    runs.insert(runs.end(), {row, begin, std::min(begin + kRunTokens, end)});
  }
}

at::Tensor runs_tensor(const std::vector<std::int64_t>& runs) {
  at::Tensor runs_R3 = at::empty({static_cast<std::int64_t>(runs.size()) / 3, 3}, at::kLong);
  std::copy(runs.begin(), runs.end(), runs_R3.mutable_data_ptr<std::int64_t>());
  return runs_R3;
}

// Row of every token, for the plain operations.
at::Tensor expand_runs(const std::vector<std::int64_t>& runs, std::int64_t tokens) {
  at::Tensor row_of_token_T = at::empty({tokens}, at::kLong);
  std::int64_t* out = row_of_token_T.mutable_data_ptr<std::int64_t>();
  for (std::size_t r = 0; r < runs.size(); r += 3)
    std::fill(out + runs[r + 1], out + runs[r + 2], runs[r]);
  return row_of_token_T;
}

class LayerNormFunction : public torch::autograd::Function<LayerNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& multiplier_UD, const at::Tensor& shift_UD,
                            const at::Tensor& runs_R3, double eps, std::int64_t out_type) {
    const std::int64_t width = x_TD.size(1);
    at::Tensor y_TD =
        at::empty(x_TD.sizes(), x_TD.options().dtype(static_cast<at::ScalarType>(out_type)));
    at::Tensor statistics_T2 = at::empty({x_TD.size(0), 2}, x_TD.options());
    const RowReader x(x_TD), multiplier(multiplier_UD), shift(shift_UD);
    const RowWriter y(y_TD);
    float* statistics = statistics_T2.mutable_data_ptr<float>();
    for_each_run(runs_R3, [&](const Run& run) {
      std::vector<float> scratch(width), unused;
      for (std::int64_t t = run.begin; t < run.end; ++t) {
        const float* x_row = x.row(t, unused);
        const float mean = rows::sum(x_row, width) / static_cast<float>(width);
        const float variance =
            rows::centred_square_sum(x_row, mean, width) / static_cast<float>(width);
        const float rstd = 1 / std::sqrt(variance + static_cast<float>(eps));
        float* y_row = y.row(t, scratch);
        rows::modulate(y_row, x_row, mean, rstd, multiplier.row(run.row, unused),
                       shift.row(run.row, unused), width);
        y.finish(t, y_row);
        statistics[2 * t] = mean;
        statistics[2 * t + 1] = rstd;
      }
    });
    context->save_for_backward(
        {keep_in(context, "x", x_TD), multiplier_UD, runs_R3, statistics_T2});
    return y_TD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &multiplier_UD = saved[1], &runs_R3 = saved[2];
    const at::Tensor x_TD = kept_in(context, "x", saved[0]), g_TD = gradients[0].contiguous();
    const std::int64_t width = x_TD.size(1), num_runs = runs_R3.size(0);
    at::Tensor d_x_TD = at::empty_like(x_TD);
    at::Tensor d_multiplier_RD = at::zeros({num_runs, width}, x_TD.options());
    at::Tensor d_shift_RD = at::zeros({num_runs, width}, x_TD.options());
    const RowReader g(g_TD), x(x_TD), multiplier(multiplier_UD);
    const RowWriter d_x(d_x_TD), d_multiplier(d_multiplier_RD), d_shift(d_shift_RD);
    const float* statistics = saved[3].const_data_ptr<float>();
    for_each_run(runs_R3, [&](const Run& run) {
      std::vector<float> scratch(width), unused;
      for (std::int64_t t = run.begin; t < run.end; ++t) {
        rows::modulate_backward(
            d_x.row(t, unused), g.row(t, scratch), x.row(t, unused), statistics[2 * t],
            statistics[2 * t + 1], multiplier.row(run.row, unused),
            d_multiplier.row(run.index, unused), d_shift.row(run.index, unused), width);
      }
    });
    const std::int64_t num_rows = multiplier_UD.size(0);
    return {d_x_TD,
            sum_runs(d_multiplier_RD, runs_R3, num_rows),
            sum_runs(d_shift_RD, runs_R3, num_rows),
            {},
            {},
            {}};
  }
};

class GatedResidualFunction : public torch::autograd::Function<GatedResidualFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& residual_TD,
                            const at::Tensor& update_TD, const at::Tensor& gate_UD,
                            const at::Tensor& runs_R3) {
    const std::int64_t width = residual_TD.size(1);
    at::Tensor y_TD = at::empty_like(residual_TD);
    const RowReader residual(residual_TD), update(update_TD), gate(gate_UD);
    const RowWriter y(y_TD);
    for_each_run(runs_R3, [&](const Run& run) {
      std::vector<float> scratch(width), unused;
      for (std::int64_t t = run.begin; t < run.end; ++t) {
        rows::gate(y.row(t, unused), residual.row(t, unused), update.row(t, scratch),
                   gate.row(run.row, unused), width);
      }
    });
    context->save_for_backward({update_TD, gate_UD, runs_R3});
    return y_TD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &update_TD = saved[0], &gate_UD = saved[1], &runs_R3 = saved[2];
    const at::Tensor g_TD = gradients[0].contiguous();
    const std::int64_t width = g_TD.size(1);
    at::Tensor d_update_TD = at::empty_like(update_TD);
    at::Tensor d_gate_RD = at::zeros({runs_R3.size(0), width}, g_TD.options());
    const RowReader g(g_TD), update(update_TD), gate(gate_UD);
    const RowWriter d_update(d_update_TD), d_gate(d_gate_RD);
    for_each_run(runs_R3, [&](const Run& run) {
      std::vector<float> update_scratch(width), scratch(width), unused;
      for (std::int64_t t = run.begin; t < run.end; ++t) {
        const float* g_row = g.row(t, unused);
        rows::add_product(d_gate.row(run.index, unused), g_row, update.row(t, update_scratch),
                          width);
        float* d_row = d_update.row(t, scratch);
        rows::multiply(d_row, g_row, gate.row(run.row, unused), width);
        d_update.finish(t, d_row);
      }
    });
    return {g_TD, d_update_TD, sum_runs(d_gate_RD, runs_R3, gate_UD.size(0)), {}};
  }
};

// A token's rotation as rows::rotate wants it: each cosine twice, each sine twice with its sign.
class RotationReader {
 public:
  // `direction` -1 turns back.
  RotationReader(const Rotation& rotation, std::int64_t heads, float direction)
      : positions_(rotation.positions_T3.defined()
                       ? rotation.positions_T3.const_data_ptr<std::int32_t>()
                       : nullptr),
        heads_(heads),
        direction_(direction) {
    if (positions_ == nullptr) return;
    for (int axis = 0; axis < 3; ++axis) {
      tables_[axis] = rotation.tables[axis].const_data_ptr<float>();
      pairs_[axis] = rotation.tables[axis].size(1);
    }
  }
  void apply(float* row, std::int64_t token, std::int64_t width,
             std::vector<float>& scratch) const {
    if (positions_ == nullptr) return;
    const std::int64_t head_dim = width / heads_;
    float* cosines = scratch.data();
    float* sines = cosines + head_dim;
    for (int axis = 0; axis < 3; ++axis) {
      const float* angle = tables_[axis] + positions_[3 * token + axis] * pairs_[axis] * 2;
      for (std::int64_t pair = 0; pair < pairs_[axis]; ++pair, angle += 2) {
        *cosines++ = angle[0];
        *cosines++ = angle[0];
        *sines++ = -direction_ * angle[1];
        *sines++ = direction_ * angle[1];
      }
    }
    rows::rotate(row, scratch.data(), scratch.data() + head_dim, heads_, head_dim);
  }

 private:
  const std::int32_t* positions_;
  std::int64_t heads_;
  float direction_;
  const float* tables_[3] = {};
  std::int64_t pairs_[3] = {};
};

std::int64_t num_chunks(std::int64_t tokens) {
  return (tokens + kRunTokens - 1) / kRunTokens;
}

class RmsNormRotateFunction : public torch::autograd::Function<RmsNormRotateFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_TD,
                            const at::Tensor& weight_D, const Rotation& rotation,
                            std::int64_t heads, double eps) {
    const std::int64_t tokens = x_TD.size(0), width = x_TD.size(1);
    at::Tensor y_TD = at::empty_like(x_TD), rstd_T = at::empty({tokens}, at::kFloat);
    const RowReader x(x_TD);
    const RowWriter y(y_TD);
    const RotationReader turn(rotation, heads, 1);
    const float* weight = weight_D.const_data_ptr<float>();
    float* rstds = rstd_T.mutable_data_ptr<float>();
    at::parallel_for(0, tokens, kRunTokens, [&](std::int64_t first, std::int64_t last) {
      std::vector<float> in(width), out(width), angles(2 * width);
      for (std::int64_t t = first; t < last; ++t) {
        const float* x_row = x.row(t, in);
        const float square = rows::dot(x_row, x_row, width) / static_cast<float>(width);
        rstds[t] = 1 / std::sqrt(square + static_cast<float>(eps));
        float* y_row = y.row(t, out);
        rows::scale(y_row, x_row, rstds[t], weight, width);
        turn.apply(y_row, t, width, angles);
        y.finish(t, y_row);
      }
    });
    const auto& tables = rotation.tables;
    context->save_for_backward(
        {x_TD, weight_D, rstd_T, rotation.positions_T3, tables[0], tables[1], tables[2]});
    context->saved_data["heads"] = heads;
    return y_TD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x_TD = saved[0], &weight_D = saved[1], &rstd_T = saved[2];
    const at::Tensor g_TD = gradients[0].contiguous();
    const std::int64_t tokens = x_TD.size(0), width = x_TD.size(1), chunks = num_chunks(tokens);
    at::Tensor d_x_TD = at::empty_like(x_TD), d_weight_CD = at::zeros({chunks, width}, at::kFloat);
    const RowReader g(g_TD), x(x_TD);
    const RowWriter d_x(d_x_TD);
    const RotationReader turn_back({saved[3], {saved[4], saved[5], saved[6]}},
                                   context->saved_data["heads"].toInt(), -1);
    const float* weight = weight_D.const_data_ptr<float>();
    const float* rstds = rstd_T.const_data_ptr<float>();
    float* d_weight = d_weight_CD.mutable_data_ptr<float>();
    at::parallel_for(0, chunks, 1, [&](std::int64_t first, std::int64_t last) {
      std::vector<float> in(width), turned(width), out(width), angles(2 * width);
      for (std::int64_t t = first * kRunTokens; t < std::min(last * kRunTokens, tokens); ++t) {
        const float* g_row = g.row(t, in);
        std::copy(g_row, g_row + width, turned.begin());
        turn_back.apply(turned.data(), t, width, angles);
        float* d_row = d_x.row(t, out);
        rows::scale_backward(d_row, turned.data(), x.row(t, in), rstds[t], weight,
                             d_weight + t / kRunTokens * width, width);
        d_x.finish(t, d_row);
      }
    });
    return {d_x_TD, d_weight_CD.sum(0), {}, {}, {}};
  }
};

at::Tensor gather(const at::Tensor& values_UD, const ModulationRows& rows) {
  return values_UD.size(0) == 1 ? values_UD : values_UD.index_select(0, rows.row_of_token_T);
}

}  // namespace

ModulationRows modulation_rows(const DitInput& input) {
  std::vector<std::int64_t> runs;
  const at::Tensor row_of_token = input.row_of_token_T.defined()
                                      ? input.row_of_token_T.to(at::kCPU).contiguous()
                                      : at::Tensor();
  std::int64_t begin = 0;
  for (std::size_t s = 0; s < input.grids.size(); ++s) {
    const std::int64_t end = begin + input.grids[s].tokens(), row = input.row_of_segment[s];
    if (row >= 0) append_runs(runs, row, begin, end);
    while (row < 0 && begin < end) {
      const std::int64_t* row_of = row_of_token.const_data_ptr<std::int64_t>();
      std::int64_t stop = begin + 1;
      while (stop < end && row_of[stop] == row_of[begin]) ++stop;
      append_runs(runs, row_of[begin], begin, stop);
      begin = stop;
    }
    begin = end;
  }
  ModulationRows rows{runs_tensor(runs), {}};
  if (!is_fused(input.patches_TK))
    rows.row_of_token_T = expand_runs(runs, begin).to(input.patches_TK.device());
  return rows;
}

ModulationRows narrow(const ModulationRows& rows, const std::vector<Part>& places) {
  std::vector<std::int64_t> runs;
  std::int64_t start = 0;
  for (const Part& place : places) {
    const std::int64_t* run = rows.runs_R3.const_data_ptr<std::int64_t>();
    for (std::int64_t r = 0; r < rows.runs_R3.size(0); ++r, run += 3) {
      const std::int64_t first = std::max(run[1], place.begin),
                         last = std::min(run[2], place.end());
      const std::int64_t shift = start - place.begin;
      if (first < last) append_runs(runs, run[0], first + shift, last + shift);
    }
    start += place.count;
  }
  ModulationRows part{runs_tensor(runs), {}};
  if (rows.row_of_token_T.defined())
    part.row_of_token_T = expand_runs(runs, start).to(rows.row_of_token_T.device());
  return part;
}

ModulationRows one_row(std::int64_t tokens) {
  std::vector<std::int64_t> runs;
  append_runs(runs, 0, 0, tokens);
  return {runs_tensor(runs), {}};
}

ModulationRows rows_on(ModulationRows rows, at::Device device) {
  if (!device.is_cuda()) return rows;
  const std::int64_t count = rows.runs_R3.size(0);
  const std::int64_t tokens = count == 0 ? 0 : rows.runs_R3[count - 1][2].item<std::int64_t>();
  const std::int64_t* runs = rows.runs_R3.const_data_ptr<std::int64_t>();
  rows.row_of_token_T = expand_runs({runs, runs + 3 * count}, tokens).to(device);
  rows.device_runs_R3 = rows.runs_R3.to(device);
  return rows;
}

namespace {

at::Tensor layer_norm_rows(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                           const at::Tensor& shift_UD, const ModulationRows& rows, double eps,
                           at::ScalarType out_type) {
  if (is_fused(x_TD)) {
    return LayerNormFunction::apply(x_TD, multiplier_UD.contiguous(), shift_UD.contiguous(),
                                    rows.runs_R3, eps, static_cast<std::int64_t>(out_type));
  }
  if (can_use_cuda_kernels(x_TD))
    return cuda_layer_norm(x_TD, multiplier_UD, shift_UD, rows, eps, out_type);
  const at::Tensor xhat_TD = at::layer_norm(x_TD, {x_TD.size(1)}, {}, {}, eps);
  return (xhat_TD * gather(multiplier_UD, rows) + gather(shift_UD, rows)).to(out_type);
}

at::Tensor add_gated(const at::Tensor& residual_TD, const at::Tensor& update_TD,
                     const at::Tensor& gate_UD, const ModulationRows& rows) {
  if (is_fused(residual_TD)) {
    return GatedResidualFunction::apply(residual_TD, update_TD.contiguous(), gate_UD.contiguous(),
                                        rows.runs_R3);
  }
  if (can_use_cuda_kernels(residual_TD))
    return cuda_gated_residual(residual_TD, update_TD, gate_UD, rows);
  return residual_TD + gather(gate_UD, rows) * update_TD.to(residual_TD.scalar_type());
}

at::Tensor normalise_and_turn(const at::Tensor& x_TD, const at::Tensor& weight_D,
                              const Rotation* rotation, std::int64_t heads, double eps) {
  if (is_fused(x_TD) && weight_D.defined()) {
    const Rotation none;
    return RmsNormRotateFunction::apply(x_TD.contiguous(), weight_D, rotation ? *rotation : none,
                                        heads, eps);
  }
  if (can_use_cuda_kernels(x_TD) && weight_D.defined())
    return cuda_rms_norm_rotate(x_TD, weight_D, rotation, eps);
  at::Tensor y_TD = x_TD.scalar_type() == at::kDouble ? x_TD : x_TD.to(at::kFloat);
  if (weight_D.defined()) y_TD = y_TD * at::rsqrt((y_TD * y_TD).mean(-1, true) + eps) * weight_D;
  if (rotation) y_TD = rotate(y_TD.unflatten(1, {heads, -1}), *rotation).flatten(1);
  return y_TD.to(x_TD.scalar_type());
}

}  // namespace

at::Tensor modulated_layer_norm(const at::Tensor& x_TD, const at::Tensor& multiplier_UD,
                                const at::Tensor& shift_UD, const ModulationRows& rows, double eps,
                                at::ScalarType out_type) {
  const at::Tensor y_TD = layer_norm_rows(x_TD, multiplier_UD, shift_UD, rows, eps, out_type);
  if (SelectiveScope::is_active()) {
    can_remake(y_TD, [x = keep(x_TD), multiplier = multiplier_UD.detach(),
                      shift = shift_UD.detach(), rows, eps, out_type] {
      return layer_norm_rows(x->get(), multiplier, shift, rows, eps, out_type);
    });
  }
  return y_TD;
}

at::Tensor gated_residual(const at::Tensor& residual_TD, const at::Tensor& update_TD,
                          const at::Tensor& gate_UD, const ModulationRows& rows) {
  const at::Tensor y_TD = add_gated(residual_TD, update_TD, gate_UD, rows);
  if (SelectiveScope::is_active()) {
    can_remake(y_TD,
               [residual = keep(residual_TD), update = keep(update_TD), gate = gate_UD.detach(),
                rows] { return add_gated(residual->get(), update->get(), gate, rows); });
  }
  return y_TD;
}

at::Tensor residual_sum(const at::Tensor& residual_TD, const at::Tensor& update_TD) {
  const at::Tensor y_TD = residual_TD + update_TD;
  if (SelectiveScope::is_active()) {
    can_remake(y_TD, [residual = keep(residual_TD), update = keep(update_TD)] {
      return residual->get() + update->get();
    });
  }
  return y_TD;
}

at::Tensor rms_norm_rotate(const at::Tensor& x_TD, const at::Tensor& weight_D,
                           const Rotation* rotation, std::int64_t heads, double eps) {
  const at::Tensor y_TD = normalise_and_turn(x_TD, weight_D, rotation, heads, eps);
  if (SelectiveScope::is_active()) {
    can_remake(y_TD, [x = keep(x_TD), weight = weight_D.defined() ? weight_D.detach() : weight_D,
                      turn = rotation ? std::optional(*rotation) : std::nullopt, heads, eps] {
      return normalise_and_turn(x->get(), weight, turn ? &*turn : nullptr, heads, eps);
    });
  }
  return y_TD;
}

}  // namespace zoetrope::model
