// The identity, with a fetch on the way back.
#include "model/parallel/weight_gate.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct KeptGate : torch::CustomClassHolder {
  explicit KeptGate(WeightGate* owner) : gate(owner) {}
  WeightGate* gate;
};

class FetchOnTheWayBack : public torch::autograd::Function<FetchOnTheWayBack> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, WeightGate* gate,
                            std::int64_t unit) {
    context->saved_data["gate"] = c10::IValue::make_capsule(c10::make_intrusive<KeptGate>(gate));
    context->saved_data["unit"] = unit;
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["gate"].toCapsule();
    static_cast<const KeptGate&>(*kept).gate->fetch(context->saved_data["unit"].toInt(), true);
    return {gradients[0], {}, {}};
  }
};

}  // namespace

at::Tensor close_gate(const at::Tensor& x, WeightGate* gate, std::int64_t unit) {
  if (gate == nullptr) return x;
  gate->release(unit);
  return c10::GradMode::is_enabled() ? FetchOnTheWayBack::apply(x, gate, unit) : x;
}

}  // namespace zoetrope::model
