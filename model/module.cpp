// Modules as structs of tensors: listing, moving and applying them.
#include "model/module.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include "model/linear.h"

namespace zoetrope::model {

at::Tensor ParameterPart::of(const at::Tensor& global) const {
  return is_whole() ? global : global.narrow(dim, begin, count);
}

std::vector<std::int64_t> ParameterPart::global_shape(at::IntArrayRef shape) const {
  std::vector<std::int64_t> whole = shape.vec();
  if (!is_whole()) whole[static_cast<std::size_t>(dim)] = size;
  return whole;
}

std::vector<std::pair<std::string, at::Tensor>> Module::named_parameters() {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    parameters.emplace_back(name, parameter);
  });
  return parameters;
}

std::int64_t Module::num_parameters() {
  std::int64_t count = 0;
  visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    count += c10::multiply_integers(part_of(name).global_shape(parameter.sizes()));
  });
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

at::Device Module::device() {
  return named_parameters().front().second.device();
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
  const at::Tensor y = linear(x, weight, bias);
  if (!lora_down.defined()) return y;
  return y + linear(linear(x, lora_down, at::Tensor()), lora_up, at::Tensor()) * lora_scale;
}

}  // namespace zoetrope::model
