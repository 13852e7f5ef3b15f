// safetensors files: memory-mapped reading with every claim of the header checked, streamed
// writing. Format: u64 little-endian header size, JSON header, tensor bytes; offsets contiguous
// from 0. Limits on reading: header <= 100 MB, at most 8 dimensions, known dtypes, no overlap, no
// holes, no overflow of the shape's product, file length exact. A violation throws DataError with
// path and name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"

namespace zoetrope {

enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

std::size_t dtype_bytes(DType dtype);
const char* dtype_name(DType dtype);  // "F32", as in the file

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::int64_t num_elements() const;
};

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Throws DataError naming file and tensor when it is not there.
  const TensorView& at(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Atomic. Tensors are laid out by dtype size, largest first, then by name, and the header is padded
// to 8 bytes, so that every tensor is aligned to its element size.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// How a set of tensors lies in files.
struct TensorFile {
  std::string name;  // NAME.safetensors, or NAME-00001-of-0000N.safetensors
  std::vector<std::string> tensors;
  std::int64_t bytes = 0;  // of the tensors
};
// Tensors of more than `max_bytes` in all (0 = no limit) are spread, in the order of their names,
// over several files. A function of names and sizes alone.
std::vector<TensorFile> spread_tensors(const std::string& name,
                                       const std::map<std::string, std::int64_t>& bytes,
                                       std::int64_t max_bytes);
// Of several files, the text of NAME.safetensors.index.json: which of them has which tensor.
std::string tensor_index(const std::vector<TensorFile>& files);

// The same as write_safetensors, spread over files of `max_bytes`, with their index. What an older
// write left under the other of the two names is removed.
void write_safetensors_parts(const std::filesystem::path& path,
                             const std::map<std::string, TensorView>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             std::int64_t max_bytes);
// `path`, or the files that `path`.index.json lists. ConfigError when there is neither.
std::vector<std::filesystem::path> safetensors_parts(const std::filesystem::path& path);

// The safetensors files of a weights folder: model.safetensors or
// diffusion_pytorch_model.safetensors or pytorch_lora_weights.safetensors, or the shards that
// NAME.safetensors.index.json lists. ConfigError when there is none.
std::vector<std::filesystem::path> find_safetensors(const std::filesystem::path& folder);

}  // namespace zoetrope
