// Loads components by kind and runs them, with gradients when asked.
#include "model/component.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "base/error.h"
#include "base/json.h"
#include "model/component_inputs.h"
#include "model/component_kinds.h"

namespace zoetrope::model {
namespace {

constexpr const char* kCotangent = "cotangent";

using Outputs = std::vector<std::pair<std::string, at::Tensor>>;

// Takes "cotangent" and "cotangent.i" out of `inputs`.
TensorMap take_cotangents(TensorMap& inputs) {
  TensorMap cotangents;
  std::erase_if(inputs, [&](const auto& entry) {
    const bool is_cotangent =
        entry.first == kCotangent || entry.first.starts_with(concat(kCotangent, "."));
    if (is_cotangent) cotangents.insert(entry);
    return is_cotangent;
  });
  return cotangents;
}

// The outputs that a cotangent belongs to: the first one, or all of a pack.
Outputs differentiated(const Outputs& outputs) {
  const bool packed = outputs.front().first.ends_with(".0");
  return packed ? outputs : Outputs{outputs.front()};
}

at::Tensor weighted_sum(const Outputs& outputs, const TensorMap& cotangents) {
  std::vector<std::string> known;
  at::Tensor sum;
  for (const auto& [name, output] : differentiated(outputs)) {
    const std::size_t dot = name.find('.');
    known.push_back(kCotangent + (dot == std::string::npos ? "" : name.substr(dot)));
    const at::Tensor& cotangent = need_tensor(cotangents, known.back(), output.sizes().vec(),
                                              concat("the shape of ", name, ", ", output.sizes()));
    const at::Tensor term = (output * cotangent.to(output.device(), at::kFloat)).sum();
    sum = sum.defined() ? sum + term : term;
  }
  check_known(cotangents, known);
  return sum;
}

at::Tensor gradient_of(const at::Tensor& leaf) {
  return leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
}

}  // namespace

std::string component_kind(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const Json config = read_json(path);
  const Json* name = nullptr;
  if (config.is_object() && config.contains("_class_name")) {
    name = &config["_class_name"];
  } else if (config.is_object() && config.contains("architectures") &&
             config["architectures"].is_array() && !config["architectures"].empty()) {
    name = &config["architectures"][0];
  }
  ZOETROPE_CHECK_CONFIG(name != nullptr && name->is_string(), path.string(),
                        ": neither _class_name nor architectures[0] names a component");
  return name->get<std::string>();
}

std::unique_ptr<Component> load_component(const std::filesystem::path& folder, at::Device device,
                                          at::ScalarType compute_type) {
  const std::string kind = component_kind(folder);
  if (kind == "WanTransformer3DModel") return load_dit_component(folder, device, compute_type);
  if (kind == "AutoencoderKLWan") return load_vae_component(folder, device, compute_type);
  if (kind == "BertModel") return load_text_component(folder, device, compute_type);
  throw ConfigError(concat((folder / "config.json").string(), ": component ", kind,
                           " is not known (WanTransformer3DModel, AutoencoderKLWan, BertModel)"));
}

TensorMap run_component(Component& component, TensorMap inputs, at::Device device, bool gradients) {
  const at::AutoGradMode grad_mode(gradients);
  const TensorMap cotangents = take_cotangents(inputs);
  component.check(inputs);
  component.module().set_requires_grad(gradients);
  for (auto& [name, tensor] : inputs) {
    tensor = tensor.is_floating_point() ? tensor.to(device, at::kFloat) : tensor.to(device);
    if (tensor.is_floating_point()) tensor.set_requires_grad(gradients);
  }
  const Outputs outputs = component.run(inputs);
  TensorMap results;
  for (const auto& [name, output] : outputs) results[name] = output.detach();
  if (!gradients) return results;
  weighted_sum(outputs, cotangents).backward();
  for (const auto& [name, tensor] : inputs) {
    if (tensor.is_floating_point()) results["grad." + name] = gradient_of(tensor);
  }
  for (const auto& [name, parameter] : component.module().named_parameters()) {
    results["grad." + name] = gradient_of(parameter);
  }
  return results;
}

}  // namespace zoetrope::model
