// Renames and checks; no value is touched but by the cast that was asked for.
#include "model/weight_formats.h"

#include <algorithm>
#include <set>

#include <ATen/ops/full.h>

#include "base/error.h"
#include "model/dit.h"
#include "model/wan_names.h"

namespace zoetrope::model {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLoraName = "pytorch_lora_weights.safetensors";
constexpr std::int64_t kMaxFileBytes = 5'000'000'000;

std::string without_prefix(const std::string& name,
                           std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes)
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  return name;
}

// ---- transformers ----

// Wan's names, with or without a prefix, to ours; ours stay.
TensorMap to_our_names(const TensorMap& tensors, const fs::path& origin) {
  TensorMap ours;
  for (const auto& [name, tensor] : tensors) {
    const std::string bare = without_prefix(name, {"model.diffusion_model.", "diffusion_model."});
    const std::string native = to_native_name(bare).empty() ? from_native_name(bare) : bare;
    ZOETROPE_CHECK_CONFIG(!native.empty(), origin.string(), ": tensor ", name,
                          " is not part of a Wan transformer");
    ours[native] = tensor;
  }
  return ours;
}

std::int64_t num_blocks(const TensorMap& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with("blocks.")) count = std::max(count, std::stol(name.substr(7)) + 1L);
  return count;
}

DitConfig config_from_shapes(const TensorMap& tensors, const fs::path& origin) {
  const auto find = [&](const std::string& name) {
    const auto found = tensors.find(name);
    ZOETROPE_CHECK_CONFIG(found != tensors.end(), origin.string(), ": tensor ", name,
                          " is missing");
    return found->second;
  };
  DitConfig config;
  const at::Tensor patch = find("patch_embedding.weight");
  ZOETROPE_CHECK_CONFIG(patch.dim() == 5, origin.string(), ": patch_embedding.weight has ",
                        patch.dim(), " dimensions, 5 are needed");
  config.num_attention_heads = patch.size(0) / config.attention_head_dim;
  config.in_channels = patch.size(1);
  config.patch_size = {patch.size(2), patch.size(3), patch.size(4)};
  config.out_channels = find("proj_out.weight").size(0) / config.patch_volume();
  config.ffn_dim = find("blocks.0.ffn.net.0.proj.weight").size(0);
  config.text_dim = find("condition_embedder.text_embedder.linear_1.weight").size(1);
  config.freq_dim = find("condition_embedder.time_embedder.linear_1.weight").size(1);
  config.num_layers = num_blocks(tensors);
  config.qk_norm = tensors.contains("blocks.0.attn1.norm_q.weight");
  config.cross_attn_norm = tensors.contains("blocks.0.norm2.weight");
  return config;
}

void check_complete(const DitWeights& weights, const fs::path& origin) {
  Dit dit(weights.config, at::kMeta);
  std::set<std::string> left;
  for (const auto& [name, tensor] : weights.tensors) left.insert(name);
  dit.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    const auto found = weights.tensors.find(name);
    ZOETROPE_CHECK_CONFIG(found != weights.tensors.end(), origin.string(), ": tensor ", name,
                          " is missing");
    ZOETROPE_CHECK_CONFIG(found->second.sizes() == parameter.sizes(), origin.string(), ": tensor ",
                          name, " has shape ", found->second.sizes(), ", the config needs ",
                          parameter.sizes());
    left.erase(name);
  });
  ZOETROPE_CHECK_CONFIG(left.empty(), origin.string(), ": tensor ", *left.begin(),
                        " is not part of the model");
}

DitWeights read_folder(const fs::path& folder) {
  const Json json = read_json(folder / "config.json");
  const std::string kind = json.value("_class_name", "");
  ZOETROPE_CHECK_CONFIG(kind == "WanTransformer3DModel" || kind == "WanModel",
                        (folder / "config.json").string(), ": _class_name \"", kind,
                        "\" is neither WanTransformer3DModel nor WanModel");
  DitWeights weights;
  weights.config = kind == "WanModel" ? dit_config_from_native(json) : dit_config_from_json(json);
  TensorMap tensors;
  for (const fs::path& file : find_safetensors(folder)) tensors.merge(load_tensors(file));
  weights.tensors = to_our_names(tensors, folder);
  return weights;
}

DitWeights read_file_alone(const fs::path& file) {
  const auto metadata = SafetensorsFile(file).metadata();
  DitWeights weights;
  weights.tensors = to_our_names(load_tensors(file), file);
  const auto config = metadata.find("config");
  weights.config = config == metadata.end()
                       ? config_from_shapes(weights.tensors, file)
                       : dit_config_from_native(parse_json(config->second, file.string()));
  return weights;
}

// ---- adapters ----

fs::path lora_file(const fs::path& folder_or_file) {
  return fs::is_directory(folder_or_file) ? folder_or_file / kLoraName : folder_or_file;
}

struct LoraName {
  std::string layer;  // ours; "" for a name that is none of ours
  enum class Part { kDown, kUp, kAlpha } part = Part::kDown;
};

// musubi-tuner writes a layer's dots as underscores.
std::string from_musubi_layer(const std::string& layer) {
  constexpr std::string_view kStart = "lora_unet_blocks_";
  if (!layer.starts_with(kStart)) return "";
  const std::size_t end = layer.find('_', kStart.size());
  if (end == std::string::npos) return "";
  std::string rest = layer.substr(end + 1);
  const std::size_t last = rest.rfind('_');  // self_attn_q, cross_attn_o, ffn_0
  if (last != std::string::npos) rest[last] = '.';
  return from_native_name(
      concat("blocks.", layer.substr(kStart.size(), end - kStart.size()), ".", rest));
}

LoraName parse_lora_name(const std::string& name) {
  using Part = LoraName::Part;
  constexpr std::pair<std::string_view, Part> kEnds[] = {{".lora_A.weight", Part::kDown},
                                                         {".lora_B.weight", Part::kUp},
                                                         {".alpha", Part::kAlpha},
                                                         {".lora_down.weight", Part::kDown},
                                                         {".lora_up.weight", Part::kUp}};
  for (const auto& [end, part] : kEnds) {
    if (!name.ends_with(end)) continue;
    const std::string layer = without_prefix(name.substr(0, name.size() - end.size()),
                                             {"transformer.", "diffusion_model."});
    if (!to_native_name(layer).empty()) return {layer, part};
    const std::string native = from_native_name(layer);
    return {native.empty() ? from_musubi_layer(layer) : native, part};
  }
  return {};
}

// Takes the value that all layers share.
template <class T>
void agree(T& shared, T value, bool is_first, const char* what, const fs::path& file) {
  ZOETROPE_CHECK_CONFIG(is_first || shared == value, file.string(), ": adapters of ", what, " ",
                        shared, " and ", value, "; one for all layers is supported");
  shared = value;
}

// "attn1.to_q" of "blocks.0.attn1.to_q"
std::string target_of(const std::string& layer) {
  return layer.substr(layer.find('.', layer.find('.') + 1) + 1);
}

void read_alpha_of_metadata(const fs::path& file, LoraConfig& config) {
  const auto metadata = SafetensorsFile(file).metadata();
  const auto found = metadata.find("lora_adapter_metadata");
  if (found == metadata.end()) return;
  const Json json = parse_json(found->second, file.string());
  config.alpha = json.value("transformer.lora_alpha", config.alpha);
  if (json.contains("transformer.target_modules"))
    config.targets = json.at("transformer.target_modules").get<std::vector<std::string>>();
}

}  // namespace

DitWeights read_dit_weights(const fs::path& folder_or_file) {
  DitWeights weights = fs::is_directory(folder_or_file) ? read_folder(folder_or_file)
                                                        : read_file_alone(folder_or_file);
  check_complete(weights, folder_or_file);
  return weights;
}

void write_dit_weights(const DitWeights& weights, const fs::path& folder, WeightFormat format,
                       at::ScalarType dtype) {
  ModelSnapshot model;
  for (const auto& [name, tensor] : weights.tensors) {
    model.tensors[format == WeightFormat::kDiffusers ? name : to_native_name(name)] =
        tensor.to(dtype);
  }
  model.config = format == WeightFormat::kDiffusers ? dit_config_to_json(weights.config)
                                                    : native_config(weights.config);
  if (format != WeightFormat::kComfy) return save_snapshot(model, folder, kMaxFileBytes);
  fs::create_directories(folder);
  // The file has no config.json beside it; ComfyUI reads the shapes.
  Json config = model.config;
  save_tensors(folder / "diffusion_model.safetensors", model.tensors,
               {{"format", "pt"}, {"config", config.dump()}});
}

bool holds_lora(const fs::path& folder_or_file) {
  const fs::path file = lora_file(folder_or_file);
  if (!fs::is_regular_file(file)) return false;
  const SafetensorsFile tensors(file);
  return std::any_of(tensors.tensors().begin(), tensors.tensors().end(), [](const auto& item) {
    return item.first.find(".lora_") != std::string::npos;
  });
}

LoraWeights read_lora_weights(const fs::path& folder_or_file) {
  const fs::path file = lora_file(folder_or_file);
  LoraWeights weights;
  weights.config.targets.clear();
  std::set<std::string> targets;
  double alpha = 0;
  for (const auto& [name, tensor] : load_tensors(file)) {
    const LoraName parsed = parse_lora_name(name);
    ZOETROPE_CHECK_CONFIG(!parsed.layer.empty(), file.string(), ": tensor ", name,
                          " is no adapter of a Wan transformer's layer");
    targets.insert(target_of(parsed.layer));
    if (parsed.part == LoraName::Part::kAlpha) {
      agree(alpha, tensor.to(at::kDouble).item<double>(), alpha == 0, "alpha", file);
    } else if (parsed.part == LoraName::Part::kDown) {
      agree(weights.config.rank, tensor.size(0), weights.config.rank == 0, "rank", file);
      weights.tensors[parsed.layer + ".lora_A.weight"] = tensor;
    } else {
      weights.tensors[parsed.layer + ".lora_B.weight"] = tensor;
    }
  }
  weights.config.alpha = alpha > 0 ? alpha : static_cast<double>(weights.config.rank);
  weights.config.targets.assign(targets.begin(), targets.end());
  read_alpha_of_metadata(file, weights.config);
  return weights;
}

void write_lora_weights(const LoraWeights& weights, const fs::path& folder, WeightFormat format) {
  ZOETROPE_CHECK_CONFIG(
      format != WeightFormat::kWan,
      "Wan's own code knows no adapters: --format diffusers or comfy, or --merge");
  fs::create_directories(folder);
  TensorMap tensors;
  if (format == WeightFormat::kDiffusers) {
    for (const auto& [name, tensor] : weights.tensors) tensors["transformer." + name] = tensor;
    save_tensors(folder / kLoraName, tensors, lora_metadata(weights.config));
    return;
  }
  for (const auto& [name, tensor] : weights.tensors) {
    const std::string native = "diffusion_model." + to_native_name(name);
    tensors[native] = tensor;
    tensors[native.substr(0, native.find(".lora_")) + ".alpha"] =
        at::full({}, weights.config.alpha, at::kFloat);
  }
  save_tensors(folder / "lora.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace zoetrope::model
