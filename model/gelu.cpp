// The function and its gradient as loops over chunks, in fp32.
#include "model/gelu.h"

#include <algorithm>
#include <array>

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/row_kernels.h"

namespace zoetrope::model {
namespace {

constexpr std::int64_t kGeluChunk = 2048;
using GeluChunk = std::array<float, kGeluChunk>;

// Numbers [begin, begin + count) of a contiguous fp32 or bf16 tensor, as fp32.
const float* read_chunk(const at::Tensor& x, std::int64_t begin, std::int64_t count,
                        GeluChunk& scratch) {
  if (x.scalar_type() == at::kFloat) return x.const_data_ptr<float>() + begin;
  rows::widen(static_cast<const std::uint16_t*>(x.const_data_ptr()) + begin, scratch.data(), count);
  return scratch.data();
}

// Fills y: write(to, begin, count) for every chunk, from several threads.
template <class Write>
void write_chunks(at::Tensor& y, const Write& write) {
  at::parallel_for(0, y.numel(), kGeluChunk, [&](std::int64_t from, std::int64_t to) {
    GeluChunk scratch;
    for (std::int64_t begin = from; begin < to; begin += kGeluChunk) {
      const std::int64_t count = std::min(kGeluChunk, to - begin);
      if (y.scalar_type() == at::kFloat) {
        write(y.mutable_data_ptr<float>() + begin, begin, count);
        continue;
      }
      write(scratch.data(), begin, count);
      rows::narrow(scratch.data(), static_cast<std::uint16_t*>(y.mutable_data_ptr()) + begin,
                   count);
    }
  });
}

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    at::Tensor y = at::empty_like(x);
    write_chunks(y, [&](float* to, std::int64_t begin, std::int64_t count) {
      GeluChunk scratch;
      rows::gelu(to, read_chunk(x, begin, count, scratch), count);
    });
    context->save_for_backward({x});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor x = context->get_saved_variables()[0], g = gradients[0].contiguous();
    at::Tensor d_x = at::empty_like(x);
    write_chunks(d_x, [&](float* to, std::int64_t begin, std::int64_t count) {
      GeluChunk g_scratch, x_scratch;
      rows::gelu_backward(to, read_chunk(g, begin, count, g_scratch),
                          read_chunk(x, begin, count, x_scratch), count);
    });
    return {d_x};
  }
};

}  // namespace

at::Tensor tanh_gelu(const at::Tensor& x) {
  const bool is_fused =
      x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  return is_fused ? GeluFunction::apply(x.contiguous()) : at::gelu(x, "tanh");
}

}  // namespace zoetrope::model
