// Low-rank adapters (LoRA, arXiv:2106.09685) on a transformer's linear layers: y = W x + b +
// (alpha / rank) B A x, with W and b frozen. Names and files are those of diffusers and peft.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/config.h"
#include "model/dit.h"
#include "model/weights.h"

namespace zoetrope::model {

// The file that diffusers looks for, and what names of adapters begin with there.
inline constexpr char kLoraFile[] = "pytorch_lora_weights.safetensors";
inline constexpr char kLoraPrefix[] = "transformer.";

struct LoraConfig {
  std::int64_t rank = 0;
  double alpha = 0;
  std::vector<std::string> targets = {"to_q", "to_k", "to_v", "to_out.0"};

  double scale() const { return (alpha > 0 ? alpha : static_cast<double>(rank)) / rank; }
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("rank", rank, "of the adapters that are trained instead of the weights; 0 = none",
          at_least(0));
    visit("alpha", alpha, "adapters count alpha / rank; 0 = rank", at_least(0));
    visit("targets", targets,
          "layers with an adapter, by the end of their name: to_q, to_k, to_v, to_out.0, "
          "ffn.net.0.proj, ffn.net.2");
  }
};

// The adapters of a transformer as a module of their own: its parameters are
// "blocks.0.attn1.to_q.lora_A.weight" [rank, in] and "....lora_B.weight" [out, rank].
class LoraAdapters : public Module {
 public:
  // Gives the layers of `dit`, which outlives this, adapters on its parameters' device,
  // uninitialised. ConfigError for a target that no layer ends with.
  LoraAdapters(Dit& dit, const LoraConfig& config);
  // A uniform in +-1/sqrt(in), as peft; B zero: the model does what it did.
  ParameterVisitor initial_weights(std::uint64_t seed);
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override;
  const LoraConfig& config() const { return config_; }
  // Adds (alpha / rank) B A to the weights, in fp32, and takes the adapters away.
  void merge();

 private:
  Dit& dit_;
  LoraConfig config_;
};

// FOLDER/pytorch_lora_weights.safetensors, which diffusers' load_lora_weights reads (names behind
// "transformer."; alpha in the metadata), and config.json: the transformer's, with "lora" and, for
// us, "lora_base", the folder of the frozen weights.
// `weights`: the adapters' parameters by name.
ModelSnapshot lora_snapshot(const LoraConfig& lora, const Json& config, const TensorMap& weights);
// What such a file says of itself: the keys of peft's LoraConfig, as diffusers reads them back.
std::map<std::string, std::string> lora_metadata(const LoraConfig& config);
Json lora_to_json(const LoraConfig& config);
LoraConfig lora_from_json(const Json& json);
// Fills the adapters from such a folder. ConfigError naming a tensor that is missing, of another
// shape, or of a layer without an adapter.
ParameterVisitor lora_weights_of(const std::filesystem::path& folder, LoraAdapters& adapters);

}  // namespace zoetrope::model
