// What a corpus holds: a clip's line in the manifest, its latents, and the text states of its
// captions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace zoetrope::data {

// Normalised latents ((mean - vae_mean) / vae_std), [channels, frames, height, width], row-major.
struct LatentRecord {
  std::string id;
  int channels = 0, frames = 0, height = 0, width = 0;
  std::vector<float> values;
};

// Shape of a clip's latents.
struct LatentShape {
  int channels = 0, frames = 0, height = 0, width = 0;
  bool operator==(const LatentShape&) const = default;
};

// Hidden states of one caption, [length, width], true length only.
struct TextRecord {
  std::string id;  // hash_text(caption)
  int length = 0, width = 0;
  std::vector<float> values;
};

// The kind of captions that came without one.
inline constexpr char kPlainCaption[] = "caption";

// One clip. `id` is the hash of (file content, time range, transform, VAE), hence a name for the
// work.
struct ClipRecord {
  std::string id;
  std::string source;             // as the user's list named it
  std::string content_hash;       // of the file
  double start_s = 0, end_s = 0;  // pts range kept
  double fps = 0;
  int frames = 0, height = 0, width = 0, rotation_deg = 0;  // of the pixels encoded
  int latent_channels = 0, latent_frames = 0, latent_height = 0, latent_width = 0;
  std::string shard;              // file name under latents/; empty: latents are made when needed
  std::int64_t shard_offset = 0;  // of its values in that file, bytes
  std::vector<std::string> captions;
  std::vector<std::string> text_ids;          // TextRecord ids, one per caption
  std::vector<std::string> caption_kinds;     // "short", ...: one per caption, or empty
  std::map<std::string, double> scores;       // of the pixels, see data/clip_scores.h
  std::string camera, look;                   // likewise; "" where there are none
  std::map<std::string, double> list_scores;  // as the user's list had them
  std::string duplicate_of;  // id of the clip that it looks like; set when the corpus is merged
  bool is_stored() const { return !shard.empty(); }
  bool is_image() const { return frames == 1; }
  std::string caption_kind(std::size_t i) const {
    return caption_kinds.empty() ? kPlainCaption : caption_kinds[i];
  }
  LatentShape latent_shape() const {
    return {latent_channels, latent_frames, latent_height, latent_width};
  }
};

Json to_json(const ClipRecord& record);
// DataError with the place when a field is missing, of the wrong type or impossible. Unknown fields
// pass.
ClipRecord clip_from_json(const Json& json, const std::string& place);

// Ids and shard names become dataset names and paths: letters, digits, "_", "-" and ".", at most
// 128, no leading dot.
bool is_record_name(std::string_view name);

}  // namespace zoetrope::data
