// ClipRecord <-> one JSON object. Lines come from disk, so every field is checked before it is
// believed.
#include "data/clip_record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "data/clip_scores.h"

namespace zoetrope::data {
namespace {

class FieldReader {
 public:
  FieldReader(const Json& json, const std::string& place) : json_(json), place_(place) {
    ZOETROPE_CHECK_DATA(json.is_object(), place, ": expected a JSON object, found ",
                        json.type_name());
  }

  std::string text(const char* name) const {
    const Json& value = field(name);
    ZOETROPE_CHECK_DATA(value.is_string(), place_, ": \"", name, "\" is a ", value.type_name(),
                        ", not a string");
    return value.get<std::string>();
  }

  std::string record_name(const char* name) const {
    std::string value = text(name);
    ZOETROPE_CHECK_DATA(is_record_name(value), place_, ": \"", name, "\" is not a valid name: \"",
                        value, "\"");
    return value;
  }

  double number(const char* name) const {
    const Json& value = field(name);
    ZOETROPE_CHECK_DATA(value.is_number(), place_, ": \"", name, "\" is a ", value.type_name(),
                        ", not a number");
    const double result = value.get<double>();
    ZOETROPE_CHECK_DATA(std::isfinite(result) && result >= 0, place_, ": \"", name, "\" is ",
                        result, ", expected a finite number >= 0");
    return result;
  }

  std::int64_t offset(const char* name) const {
    const Json& value = field(name);
    ZOETROPE_CHECK_DATA(value.is_number_integer() && value.get<std::int64_t>() >= 0, place_, ": \"",
                        name, "\" is ", value.dump(), ", expected an integer >= 0");
    return value.get<std::int64_t>();
  }

  int integer(const char* name, int min) const {
    const double value = number(name);
    ZOETROPE_CHECK_DATA(
        value == std::floor(value) && value >= min && value <= std::numeric_limits<int>::max(),
        place_, ": \"", name, "\" is ", value, ", expected an integer >= ", min);
    return static_cast<int>(value);
  }

  std::vector<std::string> texts(const char* name) const {
    const Json& value = field(name);
    ZOETROPE_CHECK_DATA(value.is_array(), place_, ": \"", name, "\" is a ", value.type_name(),
                        ", not an array");
    std::vector<std::string> result;
    for (const Json& item : value) {
      ZOETROPE_CHECK_DATA(item.is_string(), place_, ": \"", name, "\" holds a ", item.type_name(),
                          ", not only strings");
      result.push_back(item.get<std::string>());
    }
    return result;
  }

  bool has(const char* name) const { return json_.contains(name); }

  // Names and finite numbers; nothing when it is not there.
  std::map<std::string, double> numbers(const char* name) const {
    std::map<std::string, double> result;
    if (!has(name)) return result;
    ZOETROPE_CHECK_DATA(json_[name].is_object(), place_, ": \"", name, "\" is a ",
                        json_[name].type_name(), ", not an object");
    for (const auto& [key, value] : json_[name].items()) {
      ZOETROPE_CHECK_DATA(value.is_number() && std::isfinite(value.get<double>()), place_, ": \"",
                          name, "\", \"", key, "\" is no finite number");
      result[key] = value.get<double>();
    }
    return result;
  }

 private:
  const Json& field(const char* name) const {
    const auto found = json_.find(name);
    ZOETROPE_CHECK_DATA(found != json_.end(), place_, ": \"", name, "\" is missing");
    return *found;
  }

  const Json& json_;
  const std::string& place_;
};

}  // namespace

Json to_json(const ClipRecord& record) {
  Json json{{"id", record.id},
            {"source", record.source},
            {"content_hash", record.content_hash},
            {"start_s", record.start_s},
            {"end_s", record.end_s},
            {"fps", record.fps},
            {"frames", record.frames},
            {"height", record.height},
            {"width", record.width},
            {"rotation_deg", record.rotation_deg},
            {"latent_channels", record.latent_channels},
            {"latent_frames", record.latent_frames},
            {"latent_height", record.latent_height},
            {"latent_width", record.latent_width},
            {"shard", record.shard},
            {"shard_offset", record.shard_offset},
            {"captions", record.captions},
            {"text_ids", record.text_ids}};
  if (!record.caption_kinds.empty()) json["caption_kinds"] = record.caption_kinds;
  if (!record.scores.empty()) json["scores"] = record.scores;
  if (!record.camera.empty()) json["camera"] = record.camera;
  if (!record.look.empty()) json["look"] = record.look;
  if (!record.list_scores.empty()) json["list_scores"] = record.list_scores;
  if (!record.duplicate_of.empty()) json["duplicate_of"] = record.duplicate_of;
  return json;
}

ClipRecord clip_from_json(const Json& json, const std::string& place) {
  const FieldReader read(json, place);
  ClipRecord record;
  record.id = read.record_name("id");
  record.source = read.text("source");
  record.content_hash = read.text("content_hash");
  record.start_s = read.number("start_s");
  record.end_s = read.number("end_s");
  record.fps = read.number("fps");
  record.frames = read.integer("frames", 1);
  record.height = read.integer("height", 1);
  record.width = read.integer("width", 1);
  record.rotation_deg = read.integer("rotation_deg", 0);
  record.latent_channels = read.integer("latent_channels", 1);
  record.latent_frames = read.integer("latent_frames", 1);
  record.latent_height = read.integer("latent_height", 1);
  record.latent_width = read.integer("latent_width", 1);
  record.shard = read.text("shard");
  record.shard_offset = read.offset("shard_offset");
  record.captions = read.texts("captions");
  record.text_ids = read.texts("text_ids");
  if (read.has("caption_kinds")) {
    record.caption_kinds = read.texts("caption_kinds");
    ZOETROPE_CHECK_DATA(record.caption_kinds.size() == record.captions.size(), place, ": ",
                        record.captions.size(), " captions but ", record.caption_kinds.size(),
                        " caption_kinds");
  }
  record.scores = read.numbers("scores");
  record.list_scores = read.numbers("list_scores");
  if (read.has("camera")) record.camera = read.text("camera");
  if (read.has("look")) record.look = read.text("look");
  if (read.has("duplicate_of")) record.duplicate_of = read.record_name("duplicate_of");
  ZOETROPE_CHECK_DATA(record.look.empty() ||
                          (record.look.size() == kLookDigits &&
                           record.look.find_first_not_of("0123456789abcdef") == std::string::npos),
                      place, ": \"look\" is not ", kLookDigits, " hexadecimal digits: \"",
                      record.look, "\"");
  ZOETROPE_CHECK_DATA(record.end_s >= record.start_s, place, ": \"end_s\" ", record.end_s,
                      " is before \"start_s\" ", record.start_s);
  ZOETROPE_CHECK_DATA(record.is_stored() ? is_record_name(record.shard) : record.shard_offset == 0,
                      place, ": \"shard\" is not a valid name: \"", record.shard, "\", at ",
                      record.shard_offset);
  ZOETROPE_CHECK_DATA(record.captions.size() == record.text_ids.size(), place, ": ",
                      record.captions.size(), " captions but ", record.text_ids.size(),
                      " text_ids");
  for (const std::string& id : record.text_ids) {
    ZOETROPE_CHECK_DATA(is_record_name(id), place, ": \"text_ids\" holds \"", id,
                        "\", not a valid name");
  }
  return record;
}

bool is_record_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= 128 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace zoetrope::data
