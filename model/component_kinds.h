// The kinds of component, one file each.
#pragma once

#include <filesystem>
#include <memory>

#include "model/component.h"

namespace zoetrope::model {

std::unique_ptr<Component> load_dit_component(const std::filesystem::path& folder,
                                              at::Device device, at::ScalarType compute_type);
std::unique_ptr<Component> load_vae_component(const std::filesystem::path& folder,
                                              at::Device device, at::ScalarType compute_type);
std::unique_ptr<Component> load_text_component(const std::filesystem::path& folder,
                                               at::Device device, at::ScalarType compute_type);

}  // namespace zoetrope::model
