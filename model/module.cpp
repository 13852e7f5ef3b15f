// Modules as structs of tensors: listing, moving and applying them.
#include "model/module.h"

#include <ATen/ops/empty.h>

#include "model/linear.h"

namespace zoetrope::model {

std::vector<std::pair<std::string, at::Tensor>> Module::named_parameters() {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    parameters.emplace_back(name, parameter);
  });
  return parameters;
}

std::int64_t Module::num_parameters() {
  std::int64_t count = 0;
  visit_parameters("",
                   [&](const std::string&, at::Tensor& parameter) { count += parameter.numel(); });
  return count;
}

void Module::set_requires_grad(bool requires_grad) {
  visit_parameters("", [&](const std::string&, at::Tensor& parameter) {
    parameter.set_requires_grad(requires_grad);
  });
}

void Module::to(at::Device device, at::ScalarType dtype) {
  visit_parameters("", [&](const std::string&, at::Tensor& parameter) {
    if (!parameter.is_floating_point()) return;
    const bool requires_grad = parameter.requires_grad();
    // Detached: a parameter stays a leaf of the autograd graph.
    parameter = parameter.detach().to(device, dtype);
    parameter.set_requires_grad(requires_grad);
  });
}

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  weight = at::empty({out, in}, options);
  if (with_bias) bias = at::empty({out}, options);
}

void Linear::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "weight", weight);
  if (bias.defined()) visit(prefix + "bias", bias);
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return linear(x, weight, bias);
}

}  // namespace zoetrope::model
