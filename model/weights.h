// Weights in and out: safetensors files <-> modules and tensor maps.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/safetensors.h"
#include "model/module.h"

namespace zoetrope::model {

at::ScalarType to_scalar_type(DType dtype);
DType to_dtype(at::ScalarType type);

// Copies; `view` may go away afterwards.
at::Tensor to_tensor(const TensorView& view);
// Shares the memory of `tensor`, which must be contiguous, on the CPU, and outlive the view.
TensorView to_view(const at::Tensor& tensor);

std::map<std::string, at::Tensor> load_tensors(const std::filesystem::path& safetensors_file);
void save_tensors(const std::filesystem::path& safetensors_file,
                  const std::map<std::string, at::Tensor>& tensors,
                  const std::map<std::string, std::string>& metadata = {});

// Fills a parameter of `module`, which outlives it, from the safetensors of `folder` (one file or
// shards), cast to the parameter's dtype. Throws ConfigError naming the tensor that is missing, not
// known or of another shape; names in `ignored` may be in the file without being used.
ParameterVisitor weights_of(const std::filesystem::path& folder, Module& module,
                            const std::set<std::string>& ignored = {});
// All of them at once.
void load_weights(Module& module, const std::filesystem::path& folder,
                  const std::set<std::string>& ignored = {});

// Writes FOLDER/diffusion_pytorch_model.safetensors in `dtype`.
void save_weights(const std::map<std::string, at::Tensor>& weights,
                  const std::filesystem::path& folder, at::ScalarType dtype);
void save_weights(Module& module, const std::filesystem::path& folder, at::ScalarType dtype);

}  // namespace zoetrope::model
