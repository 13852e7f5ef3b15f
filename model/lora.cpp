// Adapters: made, filled, saved and merged.
#include "model/lora.h"

#include <cmath>
#include <map>
#include <span>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::model {
namespace {

bool is_target(const std::string& name, const std::string& target) {
  return name == target || name.ends_with("." + target);
}

}  // namespace

LoraAdapters::LoraAdapters(Dit& dit, const LoraConfig& config) : dit_(dit), config_(config) {
  ZOETROPE_CHECK_CONFIG(config.rank > 0, "adapters of rank ", config.rank);
  std::vector<std::int64_t> found(config.targets.size());
  dit.visit_linears([&](const std::string& name, Linear& layer) {
    for (std::size_t t = 0; t < config.targets.size(); ++t) {
      if (!is_target(name, config.targets[t])) continue;
      ++found[t];
      const auto options = layer.weight.options().requires_grad(false);
      layer.lora_down = at::empty({config.rank, layer.weight.size(1)}, options);
      layer.lora_up = at::empty({layer.weight.size(0), config.rank}, options);
      layer.lora_scale = config.scale();
    }
  });
  for (std::size_t t = 0; t < found.size(); ++t) {
    ZOETROPE_CHECK_CONFIG(found[t] > 0, "lora.targets: no layer of the blocks is named \"",
                          config.targets[t],
                          "\"; there are to_q, to_k, to_v, to_out.0, ffn.net.0.proj, ffn.net.2");
  }
}

void LoraAdapters::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  dit_.visit_linears([&](const std::string& name, Linear& layer) {
    if (!layer.lora_down.defined()) return;
    visit(prefix + name + ".lora_A.weight", layer.lora_down);
    visit(prefix + name + ".lora_B.weight", layer.lora_up);
  });
}

ParameterVisitor LoraAdapters::initial_weights(std::uint64_t seed) {
  std::map<std::string, std::uint64_t> places;
  for (const auto& [name, parameter] : named_parameters()) places.emplace(name, places.size());
  return [seed, places](const std::string& name, at::Tensor& parameter) {
    at::Tensor values = at::empty(parameter.sizes(), at::kFloat);
    Random random(seed, Purpose::kInit, 1, places.at(name));  // 0 is the transformer's own
    const double bound = 1 / std::sqrt(static_cast<double>(parameter.size(1)));
    float* out = values.data_ptr<float>();
    const bool is_down = name.ends_with("lora_A.weight");
    for (std::int64_t i = 0; i < values.numel(); ++i)
      out[i] = is_down ? static_cast<float>(random.uniform(-bound, bound)) : 0.f;
    parameter.copy_(values);
  };
}

void LoraAdapters::merge() {
  const at::NoGradGuard no_grad;
  dit_.visit_linears([&](const std::string&, Linear& layer) {
    if (!layer.lora_down.defined()) return;
    layer.weight.add_(at::mm(layer.lora_up, layer.lora_down), layer.lora_scale);
    layer.lora_down = layer.lora_up = at::Tensor();
  });
}

Json lora_to_json(const LoraConfig& config) {
  return {{"rank", config.rank},
          {"alpha", config.scale() * static_cast<double>(config.rank)},
          {"targets", config.targets}};
}

LoraConfig lora_from_json(const Json& json) {
  return {json.at("rank").get<std::int64_t>(), json.at("alpha").get<double>(),
          json.at("targets").get<std::vector<std::string>>()};
}

std::map<std::string, std::string> lora_metadata(const LoraConfig& config) {
  const Json peft{{"transformer.r", config.rank},
                  {"transformer.lora_alpha", config.scale() * static_cast<double>(config.rank)},
                  {"transformer.target_modules", config.targets}};
  return {{"format", "pt"}, {"lora_adapter_metadata", peft.dump()}};
}

ModelSnapshot lora_snapshot(const LoraConfig& lora, const Json& config, const TensorMap& weights) {
  ModelSnapshot model{config, {}, kLoraFile, lora_metadata(lora)};
  for (const auto& [name, tensor] : weights) model.tensors[kLoraPrefix + name] = tensor;
  return model;
}

ParameterVisitor lora_weights_of(const std::filesystem::path& folder, LoraAdapters& adapters) {
  const std::filesystem::path file = folder / kLoraFile;
  const TensorMap tensors = load_tensors(file);
  std::size_t known = 0;
  adapters.visit_parameters(kLoraPrefix, [&](const std::string& name, at::Tensor& parameter) {
    const auto found = tensors.find(name);
    ZOETROPE_CHECK_CONFIG(found != tensors.end() && found->second.sizes() == parameter.sizes(),
                          file.string(), ": tensor ", name, " of shape ", parameter.sizes(),
                          " is needed");
    ++known;
  });
  ZOETROPE_CHECK_CONFIG(known == tensors.size(), file.string(), " has ", tensors.size(),
                        " tensors, the layers with an adapter have ", known);
  return [tensors](const std::string& name, at::Tensor& parameter) {
    parameter.copy_(tensors.at(kLoraPrefix + name));
  };
}

}  // namespace zoetrope::model
