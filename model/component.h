// One component run once on named tensors, for parity checks: the loaders and modules of the
// framework, with inputs and outputs called as in diffusers and transformers.
//
// | component             | inputs                                            | outputs | |
// WanTransformer3DModel | hidden_states [B,C,T,H,W], timestep [B] or        | sample [B,C,T,H,W] |
// |                       | [B,tokens], encoder_hidden_states [B,L,D]         | | | the same,
// packed      | hidden_states.i [C,T,H,W], timestep.i [1] or      | sample.i, in one sequence   |
// |                       | [tokens], encoder_hidden_states.i [L,D]           | | |
// AutoencoderKLWan      | sample [B,3,T,H,W] and/or latent [B,z,t,h,w]      | latent_mean,
// latent_logvar; | |                       |                                                   |
// decoded                     | | BertModel             | input_ids [B,L], attention_mask [B,L] |
// last_hidden_state [B,L,D]   |
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/module.h"

namespace zoetrope::model {

using TensorMap = std::map<std::string, at::Tensor>;

class Component {
 public:
  virtual ~Component() = default;
  virtual Module& module() = 0;
  // What the names and shapes of inputs must be; throws ConfigError naming the first that is
  // missing, unknown or of a wrong shape.
  virtual void check(const TensorMap& inputs) const = 0;
  // In the order of the table. Packed outputs end in ".0", ".1", ...
  virtual std::vector<std::pair<std::string, at::Tensor>> run(const TensorMap& inputs) = 0;
};

// The kind is config.json's _class_name or architectures[0]; one that is not known throws
// ConfigError. Products run in `compute_type`.
std::string component_kind(const std::filesystem::path& folder);
std::unique_ptr<Component> load_component(const std::filesystem::path& folder, at::Device device,
                                          at::ScalarType compute_type);

// Outputs of one run. With `gradients`, `inputs` also hold "cotangent", shaped as the first output,
// or "cotangent.i" when packed; adds "grad.NAME" of sum(output * cotangent) for every floating
// input and every parameter, zeros where the output does not depend on it. Without, cotangents are
// left aside.
TensorMap run_component(Component& component, TensorMap inputs, at::Device device, bool gradients);

}  // namespace zoetrope::model
