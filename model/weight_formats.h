// A transformer's weights and adapters in the files of others: diffusers, Wan's own code, ComfyUI,
// and (adapters, reading only) musubi-tuner. In memory they have our names, which are diffusers'.
#pragma once

#include <filesystem>
#include <string>

#include "model/dit_config.h"
#include "model/lora.h"
#include "model/weights.h"

namespace zoetrope::model {

enum class WeightFormat { kDiffusers, kWan, kComfy };

struct DitWeights {
  DitConfig config;
  TensorMap tensors;
};

// A folder of diffusers (WanTransformer3DModel) or of Wan's own code (WanModel), or one safetensors
// file with either's names, as ComfyUI has it; its config is in its metadata when we wrote it, else
// read off the shapes, with heads of 128 channels. ConfigError naming a tensor that is missing, not
// part of the model, or of another shape.
DitWeights read_dit_weights(const std::filesystem::path& folder_or_file);
// diffusers, wan: a folder with config.json, and files of at most 5 GB. comfy: one file,
// FOLDER/diffusion_model.safetensors. Floating tensors are cast to `dtype`.
void write_dit_weights(const DitWeights& weights, const std::filesystem::path& folder,
                       WeightFormat format, at::ScalarType dtype);

// "blocks.0.attn1.to_q.lora_A.weight" and ".lora_B.weight"; one rank and alpha for all.
struct LoraWeights {
  LoraConfig config;
  TensorMap tensors;
};

// True for a safetensors file, or a folder with one, that holds adapters.
bool holds_lora(const std::filesystem::path& folder_or_file);
LoraWeights read_lora_weights(const std::filesystem::path& folder_or_file);
// diffusers: FOLDER/pytorch_lora_weights.safetensors ("transformer.", alpha in the metadata).
// comfy: FOLDER/lora.safetensors ("diffusion_model.", Wan's names, ".alpha" tensors). Wan's own
// code knows no adapters: ConfigError.
void write_lora_weights(const LoraWeights& weights, const std::filesystem::path& folder,
                        WeightFormat format);

}  // namespace zoetrope::model
