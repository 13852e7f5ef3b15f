// Weights in and out of safetensors. What a file and a module disagree on is named, never guessed.
#include "model/weights.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

struct Found {
  const TensorView* view;
  const std::filesystem::path* file;
};

std::map<std::string, Found> index_tensors(const std::vector<SafetensorsFile>& files) {
  std::map<std::string, Found> index;
  for (const SafetensorsFile& file : files) {
    for (const auto& [name, view] : file.tensors()) {
      const bool is_new = index.emplace(name, Found{&view, &file.path()}).second;
      ZOETROPE_CHECK_CONFIG(is_new, file.path().string(), ": tensor ", name, " is also in ",
                            index.at(name).file->string());
    }
  }
  return index;
}

// Mapped files: a tensor is read when it is used.
struct StoredTensors {
  explicit StoredTensors(const std::vector<std::filesystem::path>& paths) {
    for (const auto& path : paths) files.emplace_back(path);
    index = index_tensors(files);
  }
  const Found& at(const std::string& name, const std::filesystem::path& place,
                  const std::vector<std::int64_t>& shape) const {
    const auto found = index.find(name);
    ZOETROPE_CHECK_CONFIG(found != index.end(), place.string(), ": tensor ", name,
                          " is missing, the config needs it with shape ", shape_text(shape));
    return found->second;
  }

  std::vector<SafetensorsFile> files;
  std::map<std::string, Found> index;  // points into them
};

void fill_parameter(const std::string& name, at::Tensor& parameter, const ParameterPart& part,
                    const Found& found) {
  const std::vector<std::int64_t> shape = part.global_shape(parameter.sizes());
  ZOETROPE_CHECK_CONFIG(shape == found.view->shape, found.file->string(), ": tensor ", name,
                        " has shape ", shape_text(found.view->shape), ", the config needs ",
                        shape_text(shape));
  parameter.copy_(part.of(to_tensor(*found.view)));
}

}  // namespace

at::ScalarType to_scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return at::kDouble;
    case DType::kF32:
      return at::kFloat;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kI64:
      return at::kLong;
    case DType::kI32:
      return at::kInt;
    case DType::kI16:
      return at::kShort;
    case DType::kI8:
      return at::kChar;
    case DType::kU8:
      return at::kByte;
    case DType::kBool:
      return at::kBool;
  }
  throw Error(concat("unknown safetensors dtype ", static_cast<int>(dtype)));
}

DType to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return DType::kF64;
    case at::kFloat:
      return DType::kF32;
    case at::kHalf:
      return DType::kF16;
    case at::kBFloat16:
      return DType::kBF16;
    case at::kLong:
      return DType::kI64;
    case at::kInt:
      return DType::kI32;
    case at::kShort:
      return DType::kI16;
    case at::kChar:
      return DType::kI8;
    case at::kByte:
      return DType::kU8;
    case at::kBool:
      return DType::kBool;
    default:
      throw Error(concat("safetensors has no dtype for ", c10::toString(type)));
  }
}

at::Tensor to_tensor(const TensorView& view) {
  at::Tensor tensor = at::empty(view.shape, to_scalar_type(view.dtype));
  ZOETROPE_CHECK(tensor.nbytes() == view.bytes.size(), "a tensor of shape ", shape_text(view.shape),
                 " needs ", tensor.nbytes(), " bytes, the view has ", view.bytes.size());
  if (!view.bytes.empty()) std::memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
  return tensor;
}

TensorView to_view(const at::Tensor& tensor) {
  ZOETROPE_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(),
                 "only a contiguous tensor on the CPU can be viewed, not one of shape ",
                 shape_text(tensor.sizes()), " on ", tensor.device());
  return {to_dtype(tensor.scalar_type()),
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

TensorMap load_tensors(const std::filesystem::path& safetensors_file) {
  TensorMap tensors;
  for (const auto& path : safetensors_parts(safetensors_file)) {
    const SafetensorsFile file(path);
    for (const auto& [name, view] : file.tensors()) tensors.emplace(name, to_tensor(view));
  }
  return tensors;
}

void save_tensors(const std::filesystem::path& safetensors_file, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata, std::int64_t max_bytes) {
  TensorMap kept;  // alive until the file is written
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    kept[name] = tensor.detach().to(at::kCPU).contiguous();
    views[name] = to_view(kept[name]);
  }
  write_safetensors_parts(safetensors_file, views, metadata, max_bytes);
}

void save_snapshot(const ModelSnapshot& model, const std::filesystem::path& folder,
                   std::int64_t max_file_bytes) {
  std::filesystem::create_directories(folder);
  save_tensors(folder / model.file, model.tensors, model.metadata, max_file_bytes);
  write_json(folder / "config.json", model.config);
}

ParameterVisitor weights_of(const std::filesystem::path& folder, Module& module,
                            const std::set<std::string>& ignored) {
  const auto stored = std::make_shared<StoredTensors>(find_safetensors(folder));
  std::set<std::string> unknown;
  for (const auto& [name, found] : stored->index) unknown.insert(name);
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    stored->at(name, folder, module.part_of(name).global_shape(parameter.sizes()));
    unknown.erase(name);
  });
  for (const std::string& name : unknown) {
    const Found& found = stored->index.at(name);
    ZOETROPE_CHECK_CONFIG(ignored.count(name) > 0, found.file->string(), ": tensor ", name,
                          " of shape ", shape_text(found.view->shape), " is not part of the model");
  }
  return [stored, &module](const std::string& name, at::Tensor& parameter) {
    fill_parameter(name, parameter, module.part_of(name), stored->index.at(name));
  };
}

ParameterVisitor tensors_of(const std::filesystem::path& safetensors_file,
                            const std::string& prefix, Module& module) {
  const auto stored = std::make_shared<StoredTensors>(safetensors_parts(safetensors_file));
  return [=, &module](const std::string& name, at::Tensor& parameter) {
    const ParameterPart part = module.part_of(name);
    const auto shape = part.global_shape(parameter.sizes());
    fill_parameter(prefix + name, parameter, part,
                   stored->at(prefix + name, safetensors_file, shape));
  };
}

void load_weights(Module& module, const std::filesystem::path& folder,
                  const std::set<std::string>& ignored) {
  const at::NoGradGuard no_grad;
  module.visit_parameters("", weights_of(folder, module, ignored));
}

void save_weights(Module& module, const std::filesystem::path& folder, at::ScalarType dtype) {
  ModelSnapshot model;
  for (const auto& [name, parameter] : module.named_parameters()) {
    ZOETROPE_CHECK(module.part_of(name).is_whole(), name, " is a part of the global tensor");
    model.tensors[name] = parameter.detach().to(at::kCPU, dtype);
  }
  std::filesystem::create_directories(folder);
  save_tensors(folder / model.file, model.tensors, model.metadata);
}

}  // namespace zoetrope::model
