// The diffusion transformer of Wan 2.1 (diffusers' WanTransformer3DModel) on packed sequences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/dit_config.h"
#include "model/module.h"
#include "model/packed.h"
#include "model/parallel/tensor.h"
#include "model/parallel/token_plan.h"
#include "model/rope.h"

namespace zoetrope::model {

// What a block keeps for the backward pass: all it needs; only what linear layers and attention
// give, the rest is made again (selective.h); only its inputs, and it runs a second time.
enum class Checkpointing { kNone, kSelective, kFull, kOffload };

class Dit : public Module {
 public:
  // Parameters in fp32 on `device`, uninitialised; at::kMeta builds shapes only. In a tensor group
  // of several ranks, this rank's parts (dit_parameter_part).
  Dit(const DitConfig& config, at::Device device, const TensorPlace& place = {});
  ~Dit() override;

  // xavier-uniform linears, zero biases, std .02 text/time embeddings, randn/sqrt(D) modulation,
  // zero head. The same global weights in every tensor group.
  void init_weights(std::uint64_t seed);
  ParameterVisitor initial_weights(std::uint64_t seed);  // one parameter at a time, on any thread

  // -> [T, patch_volume * out_channels] fp32, order (pt, ph, pw, c). GEMMs and attention run in
  // `compute_type` (kFloat or kBFloat16; kDouble for a model in fp64); patch embedding, timestep
  // embedding, residual stream, norms, modulation and head in fp32. Differentiable in patches, text
  // and parameters. An input that does not add up throws Error with the numbers.
  at::Tensor forward(const DitInput& input, at::ScalarType compute_type = at::kFloat);
  // The same for this rank's own tokens of `plan` -> [t, ...]. Its gradients are those tokens'
  // part: their sum over the ranks of the packs' groups is the whole, and over those of the tensor
  // group for parameters that are not cut. Collective over all these groups.
  at::Tensor forward(const DitInput& input, at::ScalarType compute_type, const TokenPlan& plan);

  // Of the passes from now on. kFull, kOffload: the model must outlive backward.
  void set_checkpointing(Checkpointing how) { checkpointing_ = how; }

  const DitConfig& config() const { return config_; }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override;
  ParameterPart part_of(const std::string& name) const override {
    return dit_parameter_part(name, config_, place_);
  }
  // The linear layers of the blocks, by name: "blocks.0.attn1.to_q".
  using LinearVisitor = std::function<void(const std::string& name, Linear& layer)>;
  void visit_linears(const LinearVisitor& visit);
  std::int64_t unit_of(const std::string& name) const override;  // a block each
  void set_weight_gate(WeightGate* gate) override { gate_ = gate; }

 private:
  struct Block;
  struct Conditions;
  Conditions conditions(const DitInput& input, at::ScalarType compute_type, const TokenPlan& plan);

  DitConfig config_;
  TensorPlace place_;
  WeightGate* gate_ = nullptr;
  Checkpointing checkpointing_ = Checkpointing::kNone;
  std::vector<Block> blocks_;
  RotaryEmbedding rotary_;
  Linear patch_embedding_;  // its weight has the shape of a Conv3d: [D, C, pt, ph, pw]
  Linear text_in_, text_out_, time_in_, time_out_, time_proj_, proj_out_;
  at::Tensor scale_shift_table_;  // [1, 2, D]
};

// A diffusers transformer folder -> the model with its weights, in fp32. A folder of adapters
// (model/lora.h) gives the weights that it was trained on, with the adapters merged into them.
std::unique_ptr<Dit> load_dit(const std::filesystem::path& folder, at::Device device);
void save_dit(Dit& dit, const std::filesystem::path& folder, at::ScalarType dtype);

}  // namespace zoetrope::model
