// A custom autograd function around a segment; its backward is a backward pass of its own.
#include "model/recompute.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct HeldSegment : torch::CustomClassHolder {
  explicit HeldSegment(Segment held) : segment(std::move(held)) {}
  Segment segment;
};

// A copy in pinned memory: the host does not wait for it.
at::Tensor on_host(const at::Tensor& x) {
  if (!x.is_cuda()) return x;
  const at::Tensor copy = at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  return copy.copy_(x.detach(), true);
}

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const Segment& segment, at::TensorList inputs,
                            bool first_on_host) {
    variable_list kept = inputs.vec();
    if (first_on_host) kept[0] = on_host(kept[0]);
    context->save_for_backward(kept);
    context->saved_data["device"] = inputs[0].device();
    context->saved_data["first"] = inputs[0].requires_grad();
    context->saved_data["segment"] =
        c10::IValue::make_capsule(c10::make_intrusive<HeldSegment>(segment));
    return segment(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    variable_list leaves;
    for (const at::Tensor& input : context->get_saved_variables())
      leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
    leaves[0] = leaves[0]
                    .detach()
                    .to(context->saved_data["device"].toDevice(), /*non_blocking=*/true)
                    .set_requires_grad(context->saved_data["first"].toBool());
    const auto held = context->saved_data["segment"].toCapsule();
    at::Tensor output;
    {
      const at::AutoGradMode with_graph(true);
      output = static_cast<const HeldSegment&>(*held).segment(leaves);
    }
    torch::autograd::backward({output}, {gradients[0]});
    variable_list results = {{}};  // the segment's own place
    for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
    results.push_back({});  // that of first_on_host
    return results;
  }
};

}  // namespace

at::Tensor recompute(const Segment& segment, const std::vector<at::Tensor>& inputs,
                     bool first_on_host) {
  const bool reachable = std::any_of(inputs.begin(), inputs.end(),
                                     [](const at::Tensor& input) { return input.requires_grad(); });
  ZOETROPE_CHECK(reachable || !c10::GradMode::is_enabled(),
                 "a recomputed segment needs an input that requires a gradient: without one its "
                 "parameters would get none");
  return RecomputeFunction::apply(segment, at::TensorList(inputs), first_on_host);
}

}  // namespace zoetrope::model
