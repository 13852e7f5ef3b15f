// Lines of the corpus's text files, each with one writer and one checking reader.
#include "data/manifest.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

std::string text_field(const Json& json, const char* name, const std::string& place) {
  const auto found = json.find(name);
  ZOETROPE_CHECK_DATA(found != json.end() && found->is_string(), place, ": \"", name,
                      "\" is missing or not a string");
  return found->get<std::string>();
}

std::int64_t count_field(const Json& json, const char* name, const std::string& place) {
  const auto found = json.find(name);
  ZOETROPE_CHECK_DATA(
      found != json.end() && found->is_number_integer() && found->get<std::int64_t>() >= 0, place,
      ": \"", name, "\" is missing or not a count");
  return found->get<std::int64_t>();
}

std::string name_field(const Json& json, const char* name, const std::string& place) {
  std::string value = text_field(json, name, place);
  ZOETROPE_CHECK_DATA(is_record_name(value), place, ": \"", name, "\" is not a valid name: \"",
                      value, "\"");
  return value;
}

Json to_json(const TextEntry& entry) {
  return Json{{"id", entry.id},
              {"shard", entry.shard},
              {"length", entry.length},
              {"width", entry.width},
              {"shard_offset", entry.shard_offset}};
}

Json to_json(const ShardEntry& entry) {
  return Json{{"file", entry.file},
              {"records", entry.records},
              {"bytes", entry.bytes},
              {"hash", entry.hash}};
}

ShardEntry shard_from_json(const Json& json, const std::string& place) {
  ShardEntry entry{text_field(json, "file", place), count_field(json, "records", place),
                   count_field(json, "bytes", place), text_field(json, "hash", place)};
  const fs::path file(entry.file);
  ZOETROPE_CHECK_DATA((file.parent_path() == "latents" || file.parent_path() == "text") &&
                          is_record_name(file.filename().string()),
                      place, ": \"file\" is not latents/NAME or text/NAME: \"", entry.file, "\"");
  return entry;
}

Json to_json(const Reject& reject) {
  return Json{{"source", reject.source}, {"code", reject.code}, {"detail", reject.detail}};
}

Reject reject_from_json(const Json& json, const std::string& place) {
  return {text_field(json, "source", place), text_field(json, "code", place),
          text_field(json, "detail", place)};
}

// Not the dump's default: a source's name may hold bytes that are not UTF-8.
std::string line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

template <class Item>
std::vector<Item> read_lines(const fs::path& path,
                             Item (*from_json)(const Json&, const std::string&)) {
  ZOETROPE_CHECK_CONFIG(fs::exists(path), path.string(),
                        " is missing: not a corpus, or encode_dataset has not finished it");
  std::vector<Item> items;
  for_each_json_line(path, [&](const Json& json, int line_number) {
    const std::string place = concat(path.string(), ":", line_number);
    ZOETROPE_CHECK_DATA(json.is_object(), place, ": expected a JSON object, found ",
                        json.type_name());
    items.push_back(from_json(json, place));
  });
  return items;
}

template <class Item>
void write_lines(const fs::path& path, const std::vector<Item>& items) {
  std::string text;
  for (const Item& item : items) text += line(to_json(item));
  write_file_atomically(path, text);
}

}  // namespace

TextEntry text_from_json(const Json& json, const std::string& place) {
  return {name_field(json, "id", place), name_field(json, "shard", place),
          static_cast<int>(count_field(json, "length", place)),
          static_cast<int>(count_field(json, "width", place)),
          count_field(json, "shard_offset", place)};
}

void write_part(const fs::path& path, const Part& part) {
  std::string text;
  const auto add = [&](const char* kind, const Json& body, const Origin* origin) {
    Json json{{kind, body}};
    if (origin != nullptr) {
      json["item"] = origin->item;
      json["key"] = origin->key;
    }
    text += line(json);
  };
  for (const ShardEntry& shard : part.shards) add("shard", to_json(shard), nullptr);
  for (const TextEntry& entry : part.texts) add("text", to_json(entry), nullptr);
  for (const PartClip& clip : part.clips) add("clip", to_json(clip.clip), &clip.origin);
  for (const PartClip& copy : part.copies) add("copy", to_json(copy.clip), &copy.origin);
  for (const PartReject& one : part.rejects) add("reject", to_json(one.reject), &one.origin);
  write_file_atomically(path, text);
}

Part read_part(const fs::path& path) {
  Part part;
  for_each_json_line(path, [&](const Json& json, int line_number) {
    const std::string place = concat(path.string(), ":", line_number);
    ZOETROPE_CHECK_DATA(!json.empty() && json.begin()->is_object(), place,
                        ": expected {\"clip\": {}}, {\"copy\": {}}, {\"text\": {}}, "
                        "{\"shard\": {}} or {\"reject\": {}}");
    const std::string kind = json.begin().key();
    const Json& body = *json.begin();
    const auto origin = [&] {
      return Origin{text_field(json, "item", place), text_field(json, "key", place)};
    };
    if (kind == "clip" || kind == "copy") {
      auto& clips = kind == "clip" ? part.clips : part.copies;
      clips.push_back({origin(), clip_from_json(body, place)});
    } else if (kind == "text") {
      part.texts.push_back(text_from_json(body, place));
    } else if (kind == "reject") {
      part.rejects.push_back({origin(), reject_from_json(body, place)});
    } else {
      ZOETROPE_CHECK_DATA(kind == "shard", place, ": unknown kind of line \"", kind, "\"");
      part.shards.push_back(shard_from_json(body, place));
    }
  });
  return part;
}

std::map<std::int64_t, fs::path> list_parts(const fs::path& folder) {
  std::map<std::int64_t, fs::path> parts;
  if (!fs::is_directory(folder / "records")) return parts;
  for (const auto& entry : fs::directory_iterator(folder / "records")) {
    const std::string stem = entry.path().stem().string();
    const bool is_part = entry.path().extension() == ".jsonl" && stem.size() > 1 &&
                         stem.size() < 18 && stem.front() == 'p' &&
                         stem.find_first_not_of("0123456789", 1) == std::string::npos;
    if (is_part) parts.emplace(std::stoll(stem.substr(1)), entry.path());
  }
  return parts;
}

std::string part_name(std::int64_t part) {
  char name[32];
  std::snprintf(name, sizeof name, "p%07lld", static_cast<long long>(part));
  return name;
}

std::string shard_damage(const fs::path& folder, const ShardEntry& shard, bool hash_too,
                         double wait_s) {
  const fs::path path = folder / shard.file;
  std::error_code gone;
  const auto has_size = [&] {
    const auto bytes = fs::file_size(path, gone);
    return !gone && static_cast<std::int64_t>(bytes) == shard.bytes;
  };
  if (!wait_until_visible(has_size, wait_s)) {
    const auto bytes = fs::file_size(path, gone);
    if (gone) return concat("is missing (", gone.message(), ")");
    return concat("has ", bytes, " bytes, expected ", shard.bytes);
  }
  if (hash_too) {
    const std::string hash = hash_file(path);
    if (hash != shard.hash) return concat("has hash ", hash, ", expected ", shard.hash);
  }
  return "";
}

Json read_corpus_header(const fs::path& folder) {
  const fs::path path = folder / "corpus.json";
  ZOETROPE_CHECK_CONFIG(fs::exists(path), folder.string(),
                        " is not a corpus: it has no corpus.json");
  Json header = read_json(path);
  const std::string format = header.is_object() ? header.value("format", "") : "";
  ZOETROPE_CHECK_CONFIG(format == kCorpusFormat, path.string(), ": format is \"", format,
                        "\", this program reads \"", kCorpusFormat, "\"");
  return header;
}

std::vector<ClipRecord> read_manifest(const fs::path& folder) {
  return read_lines<ClipRecord>(folder / "manifest.jsonl", clip_from_json);
}

std::vector<TextEntry> read_text_index(const fs::path& folder) {
  return read_lines<TextEntry>(folder / "texts.jsonl", text_from_json);
}

std::vector<ShardEntry> read_shard_list(const fs::path& folder) {
  return read_lines<ShardEntry>(folder / "shards.jsonl", shard_from_json);
}

std::vector<Reject> read_rejects(const fs::path& folder) {
  return read_lines<Reject>(folder / "rejects.jsonl", reject_from_json);
}

void write_manifest(const fs::path& folder, const std::vector<ClipRecord>& clips) {
  write_lines(folder / "manifest.jsonl", clips);
}

void write_text_index(const fs::path& folder, const std::vector<TextEntry>& texts) {
  write_lines(folder / "texts.jsonl", texts);
}

void write_shard_list(const fs::path& folder, const std::vector<ShardEntry>& shards) {
  write_lines(folder / "shards.jsonl", shards);
}

void write_rejects(const fs::path& folder, const std::vector<Reject>& rejects) {
  write_lines(folder / "rejects.jsonl", rejects);
}

void check_same_origin(const Json& corpus, const Json& run, const fs::path& folder) {
  for (const char* field : {"format", "vae", "text_encoder", "transform", "latent_channels"}) {
    const Json theirs = Json{{field, corpus.value(field, Json())}}.flatten();
    const Json ours = Json{{field, run.value(field, Json())}}.flatten();
    for (const auto& [one, other] : {std::pair(&theirs, &ours), std::pair(&ours, &theirs)}) {
      for (const auto& [pointer, value] : one->items()) {
        if (other->contains(pointer) && other->at(pointer) == value) continue;
        std::string name = pointer.substr(1);
        std::replace(name.begin(), name.end(), '/', '.');
        const std::string in_corpus =
            theirs.contains(pointer) ? theirs.at(pointer).dump() : "no value";
        const std::string in_run = ours.contains(pointer) ? ours.at(pointer).dump() : "no value";
        throw ConfigError(concat("corpus ", folder.string(), " was made with ", name, " = ",
                                 in_corpus, ", this run has ", in_run,
                                 ": choose another folder, or the settings that it was made with"));
      }
    }
  }
}

bool wait_until_visible(const std::function<bool()>& visible, double wait_s) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(wait_s);
  auto pause = std::chrono::milliseconds(10);
  while (!visible()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(1000));
  }
  return true;
}

}  // namespace zoetrope::data
