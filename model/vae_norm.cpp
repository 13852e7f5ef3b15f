// The norm as one pass each way on a CPU (fp32, bf16); plain tensor operations on other devices and
// types. The backward keeps only x: the normalised row is computed again, which is cheaper than
// storing it.
#include "model/vae_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/row_kernels.h"
#include "model/vae_rows.h"

namespace zoetrope::model {
namespace {

// B clips, T frames, H height, W width, C channels, R = B T H W rows

// Rows of a block are summed one after another, blocks in order: gradients do not depend on
// threads.
constexpr std::int64_t kRowsPerBlock = 512;

struct Extent {
  std::int64_t rows, rows_per_clip, channels, front_rows;  // front_rows: zero rows before each clip
  // Row of the padded output that belongs to row `row` of the input.
  std::int64_t padded(std::int64_t row) const {
    return row + front_rows * (row / rows_per_clip + 1);
  }
};

Extent extent_of(const at::Tensor& x_BTHWC, std::int64_t front_frames) {
  const std::int64_t pixels = x_BTHWC.size(2) * x_BTHWC.size(3);
  return {x_BTHWC.size(0) * x_BTHWC.size(1) * pixels, x_BTHWC.size(1) * pixels, x_BTHWC.size(4),
          front_frames * pixels};
}

// A row as floats: in place for fp32, through `scratch` for bf16.
const float* read_row(const float* base, std::int64_t row, std::int64_t n, float*) {
  return base + row * n;
}
const float* read_row(const at::BFloat16* base, std::int64_t row, std::int64_t n, float* scratch) {
  rows::widen(reinterpret_cast<const std::uint16_t*>(base + row * n), scratch, n);
  return scratch;
}
float* write_place(float* base, std::int64_t row, std::int64_t n, float*) {
  return base + row * n;
}
float* write_place(at::BFloat16*, std::int64_t, std::int64_t, float* scratch) {
  return scratch;
}
void write_row(float*, std::int64_t, std::int64_t, const float*) {}
void write_row(at::BFloat16* base, std::int64_t row, std::int64_t n, const float* from) {
  rows::narrow(from, reinterpret_cast<std::uint16_t*>(base + row * n), n);
}

template <class T>
void forward_rows(const Extent& extent, const T* x, const float* gamma, T* y,
                  Activation activation) {
  const std::int64_t n = extent.channels;
  for (std::int64_t first = 0; first < extent.rows && extent.front_rows > 0;
       first += extent.rows_per_clip) {
    T* front = y + (extent.padded(first) - extent.front_rows) * n;
    std::fill(front, front + extent.front_rows * n, T(0));
  }
  const auto apply = activation == Activation::kSilu ? rows::norm_silu : rows::norm;
  at::parallel_for(0, extent.rows, kRowsPerBlock, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scratch(2 * n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = read_row(x, row, n, scratch.data());
      float* to = write_place(y, extent.padded(row), n, scratch.data() + n);
      apply(to, from, rows::rms_scale(from, n), gamma, n);
      write_row(y, extent.padded(row), n, to);
    }
  });
}

template <class T>
void backward_rows(const Extent& extent, const T* g, const T* x, const float* gamma, T* d_x,
                   float* d_gamma, Activation activation) {
  const std::int64_t n = extent.channels;
  const std::int64_t num_blocks = (extent.rows + kRowsPerBlock - 1) / kRowsPerBlock;
  std::vector<float> partial(num_blocks * n, 0.0f);
  const auto apply =
      activation == Activation::kSilu ? rows::norm_silu_backward : rows::norm_backward;
  at::parallel_for(0, num_blocks, 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> scratch(3 * n);
    for (std::int64_t row = first * kRowsPerBlock;
         row < std::min(last * kRowsPerBlock, extent.rows); ++row) {
      const float* from = read_row(x, row, n, scratch.data());
      const float* gradient = read_row(g, extent.padded(row), n, scratch.data() + n);
      float* to = write_place(d_x, row, n, scratch.data() + 2 * n);
      apply(to, gradient, from, rows::rms_scale(from, n), gamma,
            partial.data() + row / kRowsPerBlock * n, n);
      write_row(d_x, row, n, to);
    }
  });
  for (std::int64_t block = 0; block < num_blocks; ++block) {
    rows::add(d_gamma, partial.data() + block * n, n);
  }
}

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_BTHWC,
                            const at::Tensor& gamma_C, Activation activation,
                            std::int64_t front_frames) {
    const Extent extent = extent_of(x_BTHWC, front_frames);
    auto sizes = x_BTHWC.sizes().vec();
    sizes[1] += front_frames;
    at::Tensor y = at::empty(sizes, x_BTHWC.options());
    const float* gamma = gamma_C.const_data_ptr<float>();
    if (x_BTHWC.scalar_type() == at::kFloat) {
      forward_rows(extent, x_BTHWC.const_data_ptr<float>(), gamma, y.mutable_data_ptr<float>(),
                   activation);
    } else {
      forward_rows(extent, x_BTHWC.const_data_ptr<at::BFloat16>(), gamma,
                   y.mutable_data_ptr<at::BFloat16>(), activation);
    }
    context->save_for_backward({x_BTHWC, gamma_C});
    context->saved_data["silu"] = activation == Activation::kSilu;
    context->saved_data["front_frames"] = front_frames;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const Activation activation =
        context->saved_data["silu"].toBool() ? Activation::kSilu : Activation::kNone;
    const Extent extent = extent_of(x, context->saved_data["front_frames"].toInt());
    const at::Tensor g = gradients[0].to(x.scalar_type()).contiguous();
    at::Tensor d_x = at::empty(x.sizes(), x.options());
    at::Tensor d_gamma = at::zeros(saved[1].sizes(), saved[1].options());
    const float* gamma = saved[1].const_data_ptr<float>();
    if (x.scalar_type() == at::kFloat) {
      backward_rows(extent, g.const_data_ptr<float>(), x.const_data_ptr<float>(), gamma,
                    d_x.mutable_data_ptr<float>(), d_gamma.mutable_data_ptr<float>(), activation);
    } else {
      backward_rows(extent, g.const_data_ptr<at::BFloat16>(), x.const_data_ptr<at::BFloat16>(),
                    gamma, d_x.mutable_data_ptr<at::BFloat16>(), d_gamma.mutable_data_ptr<float>(),
                    activation);
    }
    return {d_x, d_gamma, at::Tensor(), at::Tensor()};
  }
};

at::Tensor norm_by_operations(const at::Tensor& x_BTHWC, const at::Tensor& gamma_C,
                              Activation activation, std::int64_t front_frames) {
  const at::Tensor x = x_BTHWC.scalar_type() == at::kDouble ? x_BTHWC : x_BTHWC.to(at::kFloat);
  const at::Tensor length = at::linalg_vector_norm(x, 2, {-1}, true).clamp_min(1e-12);
  at::Tensor y =
      x / length * std::sqrt(static_cast<double>(x.size(-1))) * gamma_C.to(x.scalar_type());
  if (activation == Activation::kSilu) y = at::silu(y);
  if (front_frames > 0) y = at::constant_pad_nd(y, {0, 0, 0, 0, 0, 0, front_frames, 0});
  return y.to(x_BTHWC.scalar_type());
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_BTHWC, const at::Tensor& gamma, Activation activation,
                    std::int64_t front_frames) {
  ZOETROPE_CHECK(x_BTHWC.dim() == 5 && gamma.numel() == x_BTHWC.size(4), "a norm of ",
                 gamma.numel(), " channels got a tensor of ", x_BTHWC.dim(), " dimensions with ",
                 x_BTHWC.size(x_BTHWC.dim() - 1), " in the last");
  const at::Tensor gamma_C = gamma.reshape({-1});
  const at::ScalarType type = x_BTHWC.scalar_type();
  if (!x_BTHWC.device().is_cpu() || (type != at::kFloat && type != at::kBFloat16)) {
    return norm_by_operations(x_BTHWC, gamma_C, activation, front_frames);
  }
  return NormFunction::apply(x_BTHWC.contiguous(), gamma_C.to(at::kFloat), activation,
                             front_frames);
}

}  // namespace zoetrope::model
