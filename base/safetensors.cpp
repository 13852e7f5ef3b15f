// Reading trusts nothing in the header: each number is checked against the file before it is used.
#include "base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <limits>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"

namespace zoetrope {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr std::size_t kPrefixBytes = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr std::size_t kMaxDims = 8;
constexpr int kMaxDepth = 3;  // {"name": {"shape": [..]}}
const char* const kMetadata = "__metadata__";

struct DTypeRow {
  DType dtype;
  const char* name;
  std::size_t bytes;
};
constexpr std::array<DTypeRow, 10> kDTypes = {{{DType::kF64, "F64", 8},
                                               {DType::kF32, "F32", 4},
                                               {DType::kF16, "F16", 2},
                                               {DType::kBF16, "BF16", 2},
                                               {DType::kI64, "I64", 8},
                                               {DType::kI32, "I32", 4},
                                               {DType::kI16, "I16", 2},
                                               {DType::kI8, "I8", 1},
                                               {DType::kU8, "U8", 1},
                                               {DType::kBool, "BOOL", 1}}};

const DTypeRow& row_of(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row;
  }
  throw Error(concat("no dtype ", static_cast<int>(dtype)));
}

// The header's text, after checks of its size against the file.
std::string_view header_text(std::span<const std::byte> file, const std::string& where) {
  ZOETROPE_CHECK_DATA(file.size() >= kPrefixBytes, where, ": ", file.size(),
                      " bytes are too few for a safetensors file");
  std::uint64_t size = 0;
  std::memcpy(&size, file.data(), kPrefixBytes);
  ZOETROPE_CHECK_DATA(size <= kMaxHeaderBytes, where, ": the header claims ", size,
                      " bytes; the limit is ", kMaxHeaderBytes);
  ZOETROPE_CHECK_DATA(size <= file.size() - kPrefixBytes, where, ": the header claims ", size,
                      " bytes, but ", file.size() - kPrefixBytes, " follow");
  return {reinterpret_cast<const char*>(file.data()) + kPrefixBytes,
          static_cast<std::size_t>(size)};
}

// Parses the header, refusing duplicate keys (JSON readers disagree which one counts) and depth.
Json parse_header(std::string_view text, const std::string& where) {
  ZOETROPE_CHECK_DATA(text.starts_with('{'), where, ": the header does not start with {");
  std::vector<std::set<std::string>> seen;
  auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start) seen.emplace_back();
    if (event == Event::object_end) seen.pop_back();
    if (event == Event::object_start || event == Event::array_start) {
      ZOETROPE_CHECK_DATA(depth < kMaxDepth, where, ": the header is nested deeper than ",
                          kMaxDepth, " levels");
    }
    if (event == Event::key) {
      bool fresh = seen.back().insert(parsed.get<std::string>()).second;
      ZOETROPE_CHECK_DATA(fresh, where, ": \"", parsed.get<std::string>(), "\" is there twice");
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw DataError(concat(where, ": the header is not valid JSON: ", error.what()));
  }
}

std::map<std::string, std::string> parse_metadata(const Json& json, const std::string& where) {
  ZOETROPE_CHECK_DATA(json.is_object(), where, ": ", kMetadata, " is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    ZOETROPE_CHECK_DATA(value.is_string(), where, ": ", kMetadata, " \"", key, "\" is not text");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// `where` names file and tensor in the functions below.
const Json& member(const Json& entry, const char* name, const std::string& where) {
  auto found = entry.find(name);
  ZOETROPE_CHECK_DATA(found != entry.end(), where, ": no ", name);
  return *found;
}

DType parse_dtype(const Json& json, const std::string& where) {
  ZOETROPE_CHECK_DATA(json.is_string(), where, ": dtype is not text");
  for (const DTypeRow& row : kDTypes) {
    if (json.get<std::string>() == row.name) return row.dtype;
  }
  throw DataError(concat(where, ": the dtype ", json.get<std::string>(), " is not supported"));
}

std::int64_t parse_count(const Json& json, const char* what, const std::string& where) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  ZOETROPE_CHECK_DATA(json.is_number_unsigned() && json.get<std::uint64_t>() <= kMax, where, ": ",
                      what, " ", json.dump(), " is not a count");
  return json.get<std::int64_t>();
}

std::vector<std::int64_t> parse_shape(const Json& json, const std::string& where) {
  ZOETROPE_CHECK_DATA(json.is_array() && json.size() <= kMaxDims, where,
                      ": shape is not a list of at most ", kMaxDims, " sizes");
  std::vector<std::int64_t> shape;
  for (const Json& size : json) shape.push_back(parse_count(size, "size", where));
  return shape;
}

// Bytes of a tensor of this shape; DataError when they do not fit in 63 bits.
std::int64_t checked_bytes(const TensorView& tensor, const std::string& where) {
  auto bytes = static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
  for (std::int64_t size : tensor.shape) {
    bool overflow = __builtin_mul_overflow(bytes, size, &bytes);
    ZOETROPE_CHECK_DATA(!overflow, where, ": the product of its shape overflows");
  }
  return bytes;
}

struct Extent {
  std::int64_t begin, end;
  std::string name;
  bool operator<(const Extent& other) const {
    return std::tie(begin, end) < std::tie(other.begin, other.end);
  }
};

Extent parse_extent(const Json& json, const std::string& name, std::size_t data_bytes,
                    const std::string& where) {
  ZOETROPE_CHECK_DATA(json.is_array() && json.size() == 2, where,
                      ": data_offsets is not [begin, end]");
  Extent extent{parse_count(json[0], "offset", where), parse_count(json[1], "offset", where), name};
  ZOETROPE_CHECK_DATA(
      extent.begin <= extent.end && static_cast<std::uint64_t>(extent.end) <= data_bytes, where,
      ": data_offsets [", extent.begin, ", ", extent.end, "] lie outside the ", data_bytes,
      " bytes of data");
  return extent;
}

// The tensors cover the data from 0 to its end, without overlap or hole.
void check_coverage(std::vector<Extent> extents, std::size_t data_bytes, const std::string& where) {
  std::sort(extents.begin(), extents.end());
  std::int64_t covered = 0;
  for (const Extent& extent : extents) {
    ZOETROPE_CHECK_DATA(extent.begin >= covered, where, ": ", extent.name, " starts at ",
                        extent.begin, " and overlaps the tensor before, which ends at ", covered);
    ZOETROPE_CHECK_DATA(extent.begin == covered, where, ": a hole of ", extent.begin - covered,
                        " bytes before ", extent.name);
    covered = extent.end;
  }
  ZOETROPE_CHECK_DATA(static_cast<std::uint64_t>(covered) == data_bytes, where, ": ",
                      data_bytes - static_cast<std::uint64_t>(covered),
                      " bytes after the last tensor");
}

using Item = std::pair<const std::string, TensorView>;

void check_writable(const Item& item, const std::filesystem::path& path) {
  const auto& [name, tensor] = item;
  std::string where = concat("cannot write ", path, ": ", name);
  ZOETROPE_CHECK(name != kMetadata, where, " is a reserved name");
  ZOETROPE_CHECK(tensor.shape.size() <= kMaxDims, where, " has ", tensor.shape.size(),
                 " dimensions; the limit is ", kMaxDims);
  for (std::int64_t size : tensor.shape) {
    ZOETROPE_CHECK(size >= 0, where, " has a negative size ", size);
  }
  auto expected = static_cast<std::uint64_t>(checked_bytes(tensor, where));
  ZOETROPE_CHECK(tensor.bytes.size() == expected, where, " has ", tensor.bytes.size(),
                 " bytes; its shape needs ", expected);
}

// Largest elements first, then by name: each tensor starts at a multiple of its element size.
std::vector<const Item*> file_order(const std::map<std::string, TensorView>& tensors) {
  std::vector<const Item*> order;
  for (const Item& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const Item* a, const Item* b) {
    return dtype_bytes(a->second.dtype) > dtype_bytes(b->second.dtype);
  });
  return order;
}

std::string build_header(const std::vector<const Item*>& order,
                         const std::map<std::string, std::string>& metadata,
                         const std::filesystem::path& path) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::size_t offset = 0;
  for (const Item* item : order) {
    const TensorView& tensor = item->second;
    std::size_t end = offset + tensor.bytes.size();
    header[item->first] = {{"dtype", dtype_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& error) {
    throw Error(concat("cannot write ", path, ": ", error.what()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  ZOETROPE_CHECK(text.size() <= kMaxHeaderBytes, "cannot write ", path, ": its header of ",
                 text.size(), " bytes is above the limit of ", kMaxHeaderBytes);
  return text;
}

// The shards that an index lists. Only names of files in the same folder: an index is foreign data.
std::vector<std::filesystem::path> read_index(const std::filesystem::path& index) {
  Json json = read_json(index);
  bool has_map = json.is_object() && json.contains("weight_map") && json["weight_map"].is_object();
  ZOETROPE_CHECK_DATA(has_map && !json["weight_map"].empty(), index, ": no weight_map");
  std::set<std::string> names;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    ZOETROPE_CHECK_DATA(shard.is_string(), index, ": the shard of ", tensor, " is not text");
    names.insert(shard.get<std::string>());
  }
  std::vector<std::filesystem::path> paths;
  for (const std::string& name : names) {
    bool bare =
        name.find('/') == std::string::npos && name != ".." && name.ends_with(".safetensors");
    ZOETROPE_CHECK_DATA(bare, index, ": the shard \"", name, "\" is not a safetensors file name");
    std::filesystem::path path = index.parent_path() / name;
    ZOETROPE_CHECK_DATA(std::filesystem::is_regular_file(path), index, ": the shard ", path,
                        " is missing");
    paths.push_back(path);
  }
  return paths;
}

}  // namespace

std::size_t dtype_bytes(DType dtype) {
  return row_of(dtype).bytes;
}
const char* dtype_name(DType dtype) {
  return row_of(dtype).name;
}

std::int64_t TensorView::num_elements() const {
  std::int64_t count = 1;
  for (std::int64_t size : shape) count *= size;
  return count;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  std::string where = path.string();
  std::string_view text = header_text(file_.bytes(), where);
  auto data = file_.bytes().subspan(kPrefixBytes + text.size());
  Json header = parse_header(text, where);
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) {
      metadata_ = parse_metadata(entry, where);
      continue;
    }
    std::string place = where + ": " + name;
    ZOETROPE_CHECK_DATA(entry.is_object(), place, ": not an object");
    TensorView tensor;
    tensor.dtype = parse_dtype(member(entry, "dtype", place), place);
    tensor.shape = parse_shape(member(entry, "shape", place), place);
    std::int64_t bytes = checked_bytes(tensor, place);
    Extent extent = parse_extent(member(entry, "data_offsets", place), name, data.size(), place);
    ZOETROPE_CHECK_DATA(extent.end - extent.begin == bytes, place, ": its shape needs ", bytes,
                        " bytes, its data_offsets span ", extent.end - extent.begin);
    tensor.bytes =
        data.subspan(static_cast<std::size_t>(extent.begin), static_cast<std::size_t>(bytes));
    extents.push_back(std::move(extent));
    tensors_.emplace(name, std::move(tensor));
  }
  check_coverage(std::move(extents), data.size(), where);
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  auto found = tensors_.find(name);
  ZOETROPE_CHECK_DATA(found != tensors_.end(), path_.string(), ": no tensor ", name);
  return found->second;
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  for (const Item& item : tensors) check_writable(item, path);
  std::vector<const Item*> order = file_order(tensors);
  std::string header = build_header(order, metadata, path);
  std::uint64_t header_bytes = header.size();
  publish_file(path, [&](const std::filesystem::path& temporary) {
    FileWriter out(temporary);
    out.write(std::as_bytes(std::span(&header_bytes, 1)));
    out.write(header);
    for (const Item* item : order) out.write(item->second.bytes);
    out.close();
  });
}

std::vector<TensorFile> spread_tensors(const std::string& name,
                                       const std::map<std::string, std::int64_t>& bytes,
                                       std::int64_t max_bytes) {
  std::vector<TensorFile> files(1);
  for (const auto& [tensor, size] : bytes) {
    if (max_bytes > 0 && !files.back().tensors.empty() && files.back().bytes + size > max_bytes) {
      files.emplace_back();
    }
    files.back().tensors.push_back(tensor);
    files.back().bytes += size;
  }
  const std::filesystem::path whole(name);
  for (std::size_t i = 0; i < files.size(); ++i) {
    char number[32] = "";
    if (files.size() > 1) {
      std::snprintf(number, sizeof(number), "-%05zu-of-%05zu", i + 1, files.size());
    }
    files[i].name = whole.stem().string() + number + whole.extension().string();
  }
  return files;
}

std::string tensor_index(const std::vector<TensorFile>& files) {
  std::int64_t total = 0;
  Json names = Json::object();
  for (const TensorFile& file : files) {
    for (const std::string& tensor : file.tensors) names[tensor] = file.name;
    total += file.bytes;
  }
  return Json{{"metadata", {{"total_size", total}}}, {"weight_map", names}}.dump(2) + "\n";
}

void write_safetensors_parts(const std::filesystem::path& path,
                             const std::map<std::string, TensorView>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             std::int64_t max_bytes) {
  std::map<std::string, std::int64_t> bytes;
  for (const auto& [name, view] : tensors) {
    bytes[name] = static_cast<std::int64_t>(view.bytes.size());
  }
  const std::vector<TensorFile> files = spread_tensors(path.filename().string(), bytes, max_bytes);
  for (const TensorFile& file : files) {
    std::map<std::string, TensorView> part;
    for (const std::string& name : file.tensors) part.emplace(name, tensors.at(name));
    write_safetensors(path.parent_path() / file.name, part, metadata);
  }
  const std::filesystem::path index = path.string() + ".index.json";
  if (files.size() > 1) write_file_atomically(index, tensor_index(files));
  std::filesystem::remove(files.size() > 1 ? path : index);
}

std::vector<std::filesystem::path> safetensors_parts(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return {path};
  const std::filesystem::path index = path.string() + ".index.json";
  ZOETROPE_CHECK_CONFIG(std::filesystem::is_regular_file(index), "neither ", path.string(),
                        " nor its .index.json is there");
  return read_index(index);
}

std::vector<std::filesystem::path> find_safetensors(const std::filesystem::path& folder) {
  for (const char* name : {"model", "diffusion_pytorch_model", "pytorch_lora_weights"}) {
    auto single = folder / concat(name, ".safetensors");
    if (std::filesystem::is_regular_file(single)) return {single};
    auto index = folder / concat(name, ".safetensors.index.json");
    if (std::filesystem::is_regular_file(index)) return read_index(index);
  }
  throw ConfigError(concat("no weights in ", folder, ": expected model.safetensors or ",
                           "diffusion_pytorch_model.safetensors, or one of them with .index.json"));
}

}  // namespace zoetrope
