// Modules without torch::nn: a module is a struct of tensors that lists its parameters by name.
// (torch/nn/module.h costs 6 CPU-seconds a file and hands out shared_ptrs; this header costs 1.)
//
// Names are those of the diffusers / transformers classes, so weights load and save without a map.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// Called with "blocks.0.attn1.to_q.weight" and the tensor, in a fixed order.
using ParameterVisitor = std::function<void(const std::string& name, at::Tensor& parameter)>;

class Module {
 public:
  virtual ~Module() = default;
  virtual void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) = 0;

  // (name, tensor) of all parameters; the tensors share storage with the module's.
  std::vector<std::pair<std::string, at::Tensor>> named_parameters();
  std::int64_t num_parameters();
  void set_requires_grad(bool requires_grad);
  void to(at::Device device, at::ScalarType dtype);  // of floating parameters
};

// weight [out, in], bias [out] (may be undefined). Parameters are created uninitialised by the
// constructor, on `device` (at::kMeta: shapes only).
struct Linear {
  at::Tensor weight, bias;
  Linear() = default;
  Linear(std::int64_t in, std::int64_t out, bool with_bias, at::Device device);
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
  // x [..., in] -> [..., out] in x's dtype (weights are cast to it: fp32 masters, bf16 GEMMs).
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace zoetrope::model
