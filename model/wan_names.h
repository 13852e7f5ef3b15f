// The names of a Wan transformer's tensors: diffusers' (ours) and those of Wan's own code, which
// ComfyUI uses, too. Source: diffusers 0.36.0, loaders/single_file_utils.py.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "model/dit_config.h"

namespace zoetrope::model {

// "blocks.0.attn1.to_q.weight" <-> "blocks.0.self_attn.q.weight"; also with .lora_A.weight and the
// like behind a layer's name. "" for a name that the model has not.
std::string to_native_name(std::string_view diffusers_name);
std::string from_native_name(std::string_view native_name);

// config.json of Wan's own code (WanModel, text to video).
Json native_config(const DitConfig& config);
DitConfig dit_config_from_native(const Json& json);

}  // namespace zoetrope::model
