// A DiT's first values, and its folder on disk.
// Initial values follow Wan's own init_weights; each parameter has its own random stream, so that
// they do not depend on the order of filling or the number of threads.
#include <cmath>
#include <map>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "base/error.h"
#include "base/random.h"
#include "model/dit.h"
#include "model/lora.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

constexpr double kEmbeddingStd = 0.02;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void fill_normal(std::span<float> values, double std, Random& random) {
  random.fill_normal(values);
  for (float& value : values) value *= static_cast<float>(std);
}

void fill_xavier(std::span<float> values, std::int64_t out, Random& random) {
  const double in = static_cast<double>(values.size()) / static_cast<double>(out);
  const double bound = std::sqrt(6 / (in + static_cast<double>(out)));
  for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
}

void fill_parameter(const std::string& name, const at::Tensor& parameter, std::int64_t width,
                    Random random) {
  const std::span<float> values(parameter.mutable_data_ptr<float>(),
                                static_cast<std::size_t>(parameter.numel()));
  const bool is_embedding = contains(name, "text_embedder") || contains(name, "time_embedder");
  if (ends_with(name, "scale_shift_table")) {
    fill_normal(values, 1 / std::sqrt(static_cast<double>(width)), random);
  } else if (contains(name, "norm") && ends_with(name, "weight")) {
    std::fill(values.begin(), values.end(), 1.f);
  } else if (ends_with(name, "bias") || name == "proj_out.weight") {
    std::fill(values.begin(), values.end(), 0.f);
  } else if (is_embedding) {
    fill_normal(values, kEmbeddingStd, random);
  } else {
    fill_xavier(values, parameter.size(0), random);
  }
}

}  // namespace

ParameterVisitor Dit::initial_weights(std::uint64_t seed) {
  std::map<std::string, std::uint64_t> places;
  for (const auto& [name, parameter] : named_parameters()) places.emplace(name, places.size());
  return [this, seed, places](const std::string& name, at::Tensor& parameter) {
    const ParameterPart part = part_of(name);
    const at::Tensor values = at::empty(part.global_shape(parameter.sizes()), at::kFloat);
    fill_parameter(name, values, config_.width(), Random(seed, Purpose::kInit, 0, places.at(name)));
    parameter.copy_(part.of(values));
  };
}

void Dit::init_weights(std::uint64_t seed) {
  const auto parameters = named_parameters();
  const ParameterVisitor fill = initial_weights(seed);
  at::parallel_for(0, static_cast<std::int64_t>(parameters.size()), 1,
                   [&](std::int64_t first, std::int64_t last) {
                     const at::NoGradGuard no_grad;
                     for (std::int64_t i = first; i < last; ++i) {
                       auto [name, parameter] = parameters[static_cast<std::size_t>(i)];
                       fill(name, parameter);
                     }
                   });
}

std::unique_ptr<Dit> load_dit(const std::filesystem::path& folder, at::Device device) {
  const Json json = read_json(folder / "config.json");
  const std::string class_name = json.value("_class_name", "WanTransformer3DModel");
  ZOETROPE_CHECK_CONFIG(class_name == "WanTransformer3DModel", (folder / "config.json").string(),
                        ": _class_name is ", class_name, ", a WanTransformer3DModel is needed");
  auto dit = std::make_unique<Dit>(dit_config_from_json(json), device);
  if (!json.contains("lora")) {
    load_weights(*dit, folder);
    return dit;
  }
  load_weights(*dit, json.at("lora_base").get<std::string>());
  LoraAdapters adapters(*dit, lora_from_json(json.at("lora")));
  {
    const at::NoGradGuard no_grad;
    adapters.visit_parameters("", lora_weights_of(folder, adapters));
  }
  adapters.merge();
  return dit;
}

void save_dit(Dit& dit, const std::filesystem::path& folder, at::ScalarType dtype) {
  std::filesystem::create_directories(folder);
  write_json(folder / "config.json", dit_config_to_json(dit.config()));
  save_weights(dit, folder, dtype);
}

}  // namespace zoetrope::model
