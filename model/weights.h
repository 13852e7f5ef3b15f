// Weights in and out: safetensors files <-> modules and tensor maps.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <ATen/core/Tensor.h>

#include "base/json.h"
#include "base/safetensors.h"
#include "model/module.h"

namespace zoetrope::model {

at::ScalarType to_scalar_type(DType dtype);
DType to_dtype(at::ScalarType type);

// Copies; `view` may go away afterwards.
at::Tensor to_tensor(const TensorView& view);
// Shares the memory of `tensor`, which must be contiguous, on the CPU, and outlive the view.
TensorView to_view(const at::Tensor& tensor);

using TensorMap = std::map<std::string, at::Tensor>;

// NAME.safetensors, or, where there is none, the files that NAME.safetensors.index.json lists.
TensorMap load_tensors(const std::filesystem::path& safetensors_file);
// Above `max_bytes` of tensors (0 = no limit) they go, in the order of their names, into
// NAME-00001-of-0000N.safetensors, with NAME.safetensors.index.json, as diffusers does.
void save_tensors(const std::filesystem::path& safetensors_file, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata = {},
                  std::int64_t max_bytes = 0);

// A model in memory: config.json and global weights on the CPU.
struct ModelSnapshot {
  Json config;
  TensorMap tensors;
  std::string file = "diffusion_pytorch_model.safetensors";
  // from_pretrained of diffusers and transformers refuses a file that does not say this.
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};
// Writes FOLDER/config.json and the file in FOLDER, in the tensors' dtype.
void save_snapshot(const ModelSnapshot& model, const std::filesystem::path& folder,
                   std::int64_t max_file_bytes = 0);

// Fills a parameter of `module`, which outlives it, from the safetensors of `folder` (one file or
// shards), cast to the parameter's dtype. Throws ConfigError naming the tensor that is missing, not
// known or of another shape; names in `ignored` may be in the file without being used.
ParameterVisitor weights_of(const std::filesystem::path& folder, Module& module,
                            const std::set<std::string>& ignored = {});
// The same from NAME.safetensors, or the files that its index lists, where the parameter's name
// follows `prefix`; there may be others.
ParameterVisitor tensors_of(const std::filesystem::path& safetensors_file,
                            const std::string& prefix, Module& module);
// All of them at once.
void load_weights(Module& module, const std::filesystem::path& folder,
                  const std::set<std::string>& ignored = {});

// Writes FOLDER/diffusion_pytorch_model.safetensors in `dtype`.
void save_weights(Module& module, const std::filesystem::path& folder, at::ScalarType dtype);

}  // namespace zoetrope::model
