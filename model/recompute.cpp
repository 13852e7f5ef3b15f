// A custom autograd function around a segment; its backward is a backward pass of its own.
#include "model/recompute.h"

#include <algorithm>
#include <utility>

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

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const Segment& segment,
                            at::TensorList inputs) {
    context->save_for_backward(inputs.vec());
    context->saved_data["segment"] =
        c10::IValue::make_capsule(c10::make_intrusive<HeldSegment>(segment));
    return segment(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    variable_list leaves;
    for (const at::Tensor& input : context->get_saved_variables())
      leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
    const auto held = context->saved_data["segment"].toCapsule();
    at::Tensor output;
    {
      const at::AutoGradMode with_graph(true);
      output = static_cast<const HeldSegment&>(*held).segment(leaves);
    }
    torch::autograd::backward({output}, {gradients[0]});
    variable_list results = {{}};  // the segment's own place
    for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
    return results;
  }
};

}  // namespace

at::Tensor recompute(const Segment& segment, const std::vector<at::Tensor>& inputs) {
  const bool reachable = std::any_of(inputs.begin(), inputs.end(),
                                     [](const at::Tensor& input) { return input.requires_grad(); });
  ZOETROPE_CHECK(reachable || !c10::GradMode::is_enabled(),
                 "a recomputed segment needs an input that requires a gradient: without one its "
                 "parameters would get none");
  return RecomputeFunction::apply(segment, at::TensorList(inputs));
}

}  // namespace zoetrope::model
