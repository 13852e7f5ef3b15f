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

#include "model/parallel/weight_gate.h"

namespace zoetrope::model {

// Called with "blocks.0.attn1.to_q.weight" and the tensor, in a fixed order.
using ParameterVisitor = std::function<void(const std::string& name, at::Tensor& parameter)>;

// Elements [begin, begin + count) along `dim` of a global tensor that has `size` of them there:
// what one rank of a tensor group holds. dim < 0: all of it.
struct ParameterPart {
  std::int64_t dim = -1, begin = 0, count = 0, size = 0;
  bool is_whole() const { return dim < 0; }
  // This part of the global tensor, a view.
  at::Tensor of(const at::Tensor& global) const;
  // The global tensor's shape, from the part's.
  std::vector<std::int64_t> global_shape(at::IntArrayRef shape) const;
};

class Module {
 public:
  virtual ~Module() = default;
  virtual void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) = 0;
  // What the parameter of this name is of the global one.
  virtual ParameterPart part_of(const std::string&) const { return {}; }
  // Units of parameters that forward needs one after another, from 0 up; -1: needed throughout.
  virtual std::int64_t unit_of(const std::string&) const { return -1; }
  // Asks this gate for each unit from now on; the gate outlives all passes. A module without units
  // never asks.
  virtual void set_weight_gate(WeightGate*) {}

  // (name, tensor) of all parameters; the tensors share storage with the module's.
  std::vector<std::pair<std::string, at::Tensor>> named_parameters();
  std::int64_t num_parameters();  // of the global model
  void set_requires_grad(bool requires_grad);
  void to(at::Device device, at::ScalarType dtype);  // of floating parameters
  at::Device device();                               // that of the first parameter
};

// weight [out, in], bias [out] (may be undefined). Parameters are created uninitialised by the
// constructor, on `device` (at::kMeta: shapes only).
struct Linear {
  at::Tensor weight, bias;
  // A low-rank adapter (model/lora.h), or undefined: adds lora_scale * lora_up lora_down x.
  at::Tensor lora_down, lora_up;  // [rank, in], [out, rank]
  double lora_scale = 1;
  Linear() = default;
  Linear(std::int64_t in, std::int64_t out, bool with_bias, at::Device device);
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
  // x [..., in] -> [..., out] in x's dtype (weights are cast to it: fp32 masters, bf16 GEMMs).
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace zoetrope::model
