// inspect: says what a file or folder is and what it holds; a table for people, one JSON object
// with --json.
#include <algorithm>
#include <iomanip>
#include <iostream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/options.h"
#include "base/safetensors.h"
#include "data/corpus_page.h"
#include "data/corpus_summary.h"
#include "data/manifest.h"
#include "data/video_reader.h"
#include "launch/run_main.h"
#include "train/checkpoint.h"
#include "train/train_config.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "inspect PATH [--json] [--html PAGE]";
constexpr const char* kExamples =
    "  inspect clip.mp4\n  inspect corpus\n  inspect corpus --html corpus.html --thumbnails 100\n  "
    "inspect corpus/latents/r00000-p00000.h5\n"
    "  inspect runs/tiny\n  inspect minilm --json\n  inspect dit_tiny.yaml\n"
    "PATH: video, image, shard (.h5), corpus, manifest (.jsonl), checkpoint, run folder, weights "
    "folder or NAME,\n.safetensors, .json, config (.yaml).\n";

// ---- one function a kind ----

std::int64_t count_frames(data::VideoReader& reader, const fs::path& path) {
  // Small frames: hours of video fit the reader's limits.
  constexpr std::int64_t kSmallFrame = 64 * 64;
  const auto frames = reader.read({.path = path, .max_pixels = kSmallFrame});
  if (const auto* reason = std::get_if<data::SkipReason>(&frames)) {
    throw DataError(concat(reason->code, ": ", reason->detail));
  }
  return std::get<data::Frames>(frames).num_frames;
}

Json describe_video(const fs::path& path) {
  constexpr double kLongestDecodeS = 3600;
  data::VideoReader reader({.wall_s = kLongestDecodeS});
  const auto probed = reader.probe(path);
  if (const auto* reason = std::get_if<data::SkipReason>(&probed)) {
    throw DataError(concat(reason->code, ": ", reason->detail));
  }
  const auto& info = std::get<data::VideoInfo>(probed);
  return {{"kind", info.is_image ? "image" : "video"},
          {"container", info.container},
          {"codec", info.codec},
          {"pixel_format", info.pixel_format},
          {"width", info.width},
          {"height", info.height},
          {"coded_width", info.coded_width},
          {"coded_height", info.coded_height},
          {"rotation_deg", info.rotation_deg},
          {"fps", info.fps},
          {"duration_s", info.duration_s},
          {"frames_in_header", info.num_frames},
          {"frames_decoded", count_frames(reader, path)},
          {"bytes", fs::file_size(path)}};
}

Json describe_shard(const fs::path& path) {
  Json json = {{"kind", "shard"}};
  json.update(data::summarise_shard(path));
  return json;
}

Json describe_corpus(const fs::path& path) {
  Json json = {{"kind", "corpus"}};
  json.update(data::summarise_corpus(path));
  return json;
}

Json describe_manifest(const fs::path& path) {
  std::vector<data::ClipRecord> clips;
  for_each_json_line(path, [&](const Json& line, int number) {
    clips.push_back(data::clip_from_json(line, concat(path.string(), ":", number)));
  });
  Json json = {{"kind", "manifest"}};
  json.update(data::summarise_clips(clips));
  return json;
}

// Any other JSON lines: how many, and which keys occur.
Json describe_json_lines(const fs::path& path) {
  std::int64_t lines = 0;
  std::map<std::string, std::int64_t> keys;
  for_each_json_line(path, [&](const Json& line, int) {
    ++lines;
    if (line.is_object()) {
      for (const auto& [key, value] : line.items()) ++keys[key];
    }
  });
  return {{"kind", "json lines"}, {"lines", lines}, {"lines_with_key", keys}};
}

Json describe_json(const fs::path& path) {
  return {{"kind", "json"}, {"content", read_json(path)}};
}

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

// Adds one file's tensors to a description of weights.
void add_tensors(const SafetensorsFile& file, Json& json) {
  std::int64_t parameters = json.value("parameters", std::int64_t{0});
  std::int64_t bytes = json.value("tensor_bytes", std::int64_t{0});
  for (const auto& [name, view] : file.tensors()) {
    if (is_floating(view.dtype)) parameters += view.num_elements();
    bytes += static_cast<std::int64_t>(view.bytes.size());
    json["tensors"].push_back(
        {{"name", name}, {"dtype", dtype_name(view.dtype)}, {"shape", view.shape}});
  }
  json["parameters"] = parameters;
  json["tensor_bytes"] = bytes;
  if (!file.metadata().empty()) json["metadata"][file.path().filename().string()] = file.metadata();
}

Json describe_safetensors(const fs::path& path) {
  Json json = {{"kind", "safetensors"}, {"parameters", 0}, {"tensor_bytes", 0}};
  json["metadata"] = Json::object();
  json["tensors"] = Json::array();
  add_tensors(SafetensorsFile(path), json);
  return json;
}

Json describe_weights(const fs::path& folder) {
  Json json = {{"kind", "weights"}};
  if (fs::exists(folder / "config.json")) json["config"] = read_json(folder / "config.json");
  const auto files = find_safetensors(folder);
  json["files"] = files.size();
  json["parameters"] = 0;
  json["tensor_bytes"] = 0;
  json["metadata"] = Json::object();
  json["tensors"] = Json::array();
  for (const fs::path& file : files) add_tensors(SafetensorsFile(file), json);
  return json;
}

// Weights of a checkpoint without the list of tensors: `inspect CHECKPOINT/model` has it.
Json weights_in_short(const fs::path& folder) {
  Json json = describe_weights(folder);
  return {{"parameters", json["parameters"]}, {"tensors", json["tensors"].size()}};
}

Json describe_checkpoint(const fs::path& folder) {
  Json json = {{"kind", "checkpoint"}, {"manifest", read_json(folder / "manifest.json")}};
  if (fs::exists(folder / "state.json")) json["state"] = read_json(folder / "state.json");
  for (const char* part : {"model", "ema"}) {
    if (fs::is_directory(folder / part)) json[part] = weights_in_short(folder / part);
  }
  std::size_t moments = 0;
  for (const fs::path& file : safetensors_parts(folder / "optimizer.safetensors"))
    moments += SafetensorsFile(file).tensors().size();
  json["optimizer"] = {{"tensors", moments}};
  json["hashes_match"] = train::verify_checkpoint(folder);
  return json;
}

Json describe_run(const fs::path& folder) {
  Json json = {{"kind", "run"}};
  if (fs::exists(folder / "versions.json")) json["versions"] = read_json(folder / "versions.json");
  std::int64_t lines = 0;
  Json last = Json::object();
  if (fs::exists(folder / "metrics.jsonl")) {
    for_each_json_line(folder / "metrics.jsonl", [&](const Json& line, int) {
      ++lines;
      last = line;
    });
  }
  json["metrics_lines"] = lines;
  json["last_metrics"] = last;
  json["checkpoints"] = Json::array();
  for (const auto& found : train::find_checkpoints(folder)) {
    json["checkpoints"].push_back({{"step", found.step}, {"folder", found.folder.string()}});
  }
  if (!json["checkpoints"].empty()) {
    const auto newest = json["checkpoints"].back()["folder"].get<std::string>();
    json["newest"] = read_json(fs::path(newest) / "manifest.json");
  }
  return json;
}

// A config's fields as JSON; the same visit_fields that reads it.
class JsonPrinter {
 public:
  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/, const Allowed& = {}) {
    json_[name] = to_value(field);
  }
  const Json& json() const { return json_; }

 private:
  template <class T>
  static Json to_value(T& value) {
    if constexpr (requires(JsonPrinter & p) { value.visit_fields(p); }) {
      JsonPrinter inner;
      value.visit_fields(inner);
      return inner.json();
    } else if constexpr (requires { value.push_back(value.front()); } &&
                         !std::is_same_v<T, std::string>) {
      Json items = Json::array();
      for (auto&& item : value) {
        typename T::value_type copy = item;
        items.push_back(to_value(copy));
      }
      return items;
    } else {
      return value;
    }
  }

  Json json_ = Json::object();
};

Json describe_config(const fs::path& path, const std::vector<std::string>& sets) {
  auto config = load_config<train::TrainConfig>(path, sets);
  JsonPrinter printer;
  config.visit_fields(printer);
  return {{"kind", "config"}, {"resolved", printer.json()}};
}

// ---- which kind ----

Json describe_folder(const fs::path& folder) {
  if (fs::exists(folder / "corpus.json")) return describe_corpus(folder);
  if (fs::exists(folder / "manifest.json")) return describe_checkpoint(folder);
  if (fs::is_directory(folder / "checkpoints") || fs::exists(folder / "metrics.jsonl")) {
    return describe_run(folder);
  }
  const bool has_weights = std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                                       [](const fs::directory_entry& entry) {
                                         return entry.path().extension() == ".safetensors" ||
                                                entry.path().filename() == "config.json";
                                       });
  ZOETROPE_CHECK_CONFIG(has_weights, folder.string(),
                        ": no corpus, checkpoint, run folder or weights in this folder");
  return describe_weights(folder);
}

Json describe_file(const fs::path& path, const std::vector<std::string>& sets) {
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") return describe_safetensors(path);
  if (extension == ".h5") return describe_shard(path);
  if (extension == ".yaml" || extension == ".yml") return describe_config(path, sets);
  if (extension == ".json") return describe_json(path);
  if (path.filename() == "manifest.jsonl") return describe_manifest(path);
  if (extension == ".jsonl") return describe_json_lines(path);
  return describe_video(path);
}

fs::path find_what(const std::string& name) {
  if (fs::exists(name)) return name;
  const std::string extension = fs::path(name).extension().string();
  if (extension == ".yaml" || extension == ".yml") return find_config(name);
  ZOETROPE_CHECK_CONFIG(name.find('/') == std::string::npos && extension.empty(), name,
                        ": there is no such file or folder");
  return find_weights(name);
}

// ---- for people ----

constexpr std::size_t kMaxRows = 24;  // of a histogram; tensors and records are all shown

std::string cell(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

void print_table(const std::string& name, const Json& rows, const std::string& indent) {
  const bool is_histogram = rows[0].size() == 2 && rows[0].back().is_number_integer();
  const std::size_t shown = is_histogram ? std::min(rows.size(), kMaxRows) : rows.size();
  std::vector<std::size_t> widths;
  for (const auto& [key, value] : rows[0].items()) widths.push_back(key.size());
  for (std::size_t row = 0; row < shown; ++row) {
    std::size_t column = 0;
    for (const auto& item : rows[row].items()) {
      if (column < widths.size()) {
        widths[column] = std::max(widths[column], cell(item.value()).size());
      }
      ++column;
    }
  }
  const auto print_row = [&](const std::vector<std::string>& cells) {
    std::cout << indent << " ";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool is_last = i + 1 >= std::min(cells.size(), widths.size());
      std::cout << " " << std::left << std::setw(is_last ? 0 : static_cast<int>(widths[i]))
                << cells[i];
    }
    std::cout << "\n";
  };
  std::cout << indent << name << "\n";
  std::vector<std::string> cells;
  for (const auto& item : rows[0].items()) cells.push_back(item.key());
  print_row(cells);
  for (std::size_t row = 0; row < shown; ++row) {
    cells.clear();
    for (const auto& item : rows[row].items()) cells.push_back(cell(item.value()));
    print_row(cells);
  }
  if (shown < rows.size()) std::cout << indent << "  and " << rows.size() - shown << " more\n";
}

void print_object(const Json& object, const std::string& indent) {
  std::size_t width = 0;
  for (const auto& item : object.items()) width = std::max(width, item.key().size());
  for (const auto& item : object.items()) {
    const Json& value = item.value();
    if (value.is_object() && !value.empty()) {
      std::cout << indent << item.key() << "\n";
      print_object(value, indent + "  ");
    } else if (is_table(value)) {
      print_table(item.key(), value, indent);
    } else {
      std::cout << indent << std::left << std::setw(static_cast<int>(width)) << item.key() << "  "
                << cell(value) << "\n";
    }
  }
}

int run(int argc, char** argv) {
  po::options_description own("Options of inspect");
  own.add_options()("path", po::value<std::vector<std::string>>(), "what to look at")(
      "json", po::bool_switch(), "print one JSON object")(
      "html", po::value<std::string>()->default_value(""),
      "of a corpus: also writes this page, with pictures")(
      "thumbnails", po::value<std::int64_t>()->default_value(48), "pictures on it")(
      "media-root", po::value<std::string>()->default_value(""),
      "folder where a corpus's sources are looked for; default: from here");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own, "path", common, values)) return kExitOk;
  const auto paths = values.count("path") > 0 ? values["path"].as<std::vector<std::string>>()
                                              : std::vector<std::string>{};
  ZOETROPE_CHECK_CONFIG(paths.size() == 1, "inspect takes one PATH, not ", paths.size());
  const fs::path path = find_what(paths[0]);
  const Json description =
      fs::is_directory(path) ? describe_folder(path) : describe_file(path, common.sets);
  Json json = {{"path", path.string()}};
  json.update(description);
  if (const auto page = values["html"].as<std::string>(); !page.empty()) {
    ZOETROPE_CHECK_CONFIG(json["kind"] == "corpus", path.string(), " is a ",
                          json["kind"].get<std::string>(), ": --html is for a corpus");
    data::write_corpus_page(
        path, page,
        {values["thumbnails"].as<std::int64_t>(), values["media-root"].as<std::string>()});
    json["page"] = page;
  }
  if (values["json"].as<bool>()) {
    std::cout << json.dump() << "\n";
  } else {
    print_object(json, "");
    std::cout << Json{{"path", json["path"]}, {"kind", json["kind"]}}.dump() << "\n";
  }
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
