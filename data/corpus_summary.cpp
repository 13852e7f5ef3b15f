// Counts over manifests and shards.
#include "data/corpus_summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <set>

#include "base/error.h"
#include "data/corpus.h"
#include "data/manifest.h"
#include "data/shard.h"

namespace zoetrope::data {
namespace {

// [{"size": "64x64", "clips": 12}, ...], most frequent first.
template <class Key, class Record>
Json histogram(const char* key_name, const char* count_name, const std::vector<Record>& records,
               const std::function<Key(const Record&)>& key_of) {
  std::map<Key, std::int64_t> counts;
  for (const Record& record : records) ++counts[key_of(record)];
  std::vector<std::pair<Key, std::int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  Json bars = Json::array();
  for (const auto& [key, count] : sorted) bars.push_back({{key_name, key}, {count_name, count}});
  return bars;
}

// Width over height to one decimal: wide enough to group 1920x1080 with 1280x720.
std::string aspect_of(const ClipRecord& clip) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f:1", static_cast<double>(clip.width) / clip.height);
  return text;
}

// Sums in double: shards hold millions of values.
struct Moments {
  std::int64_t count = 0;
  double sum = 0, squares = 0;
  void add(const std::vector<float>& values) {
    for (float value : values) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    count += static_cast<std::int64_t>(values.size());
  }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  double deviation() const {
    if (count == 0) return 0;
    return std::sqrt(std::max(0.0, squares / static_cast<double>(count) - mean() * mean()));
  }
};

Json summarise_shards(const std::filesystem::path& folder) {
  std::int64_t bytes = 0, records = 0;
  const std::vector<ShardEntry> shards = read_shard_list(folder);
  for (const ShardEntry& shard : shards) {
    bytes += shard.bytes;
    records += shard.records;
  }
  Json bad = Json::array();
  for (const BadShard& shard : find_bad_shards(folder, false, 0)) {
    bad.push_back(
        {{"file", shard.file}, {"reason", shard.reason}, {"records_lost", shard.lost_ids.size()}});
  }
  return {{"files", shards.size()}, {"records", records}, {"bytes", bytes}, {"bad", bad}};
}

Json summarise_texts(const std::filesystem::path& folder) {
  const std::vector<TextEntry> texts = read_text_index(folder);
  std::int64_t tokens = 0;
  int longest = 0;
  for (const TextEntry& text : texts) {
    tokens += text.length;
    longest = std::max(longest, text.length);
  }
  return {{"states", texts.size()}, {"tokens", tokens}, {"longest", longest}};
}

}  // namespace

Json summarise_clips(const std::vector<ClipRecord>& clips) {
  std::int64_t images = 0, frames = 0, captions = 0, without_caption = 0, latent_tokens = 0;
  double seconds = 0;
  std::set<std::string> sources;
  for (const ClipRecord& clip : clips) {
    sources.insert(clip.source);
    images += clip.is_image() ? 1 : 0;
    frames += clip.frames;
    captions += static_cast<std::int64_t>(clip.captions.size());
    without_caption += clip.captions.empty() ? 1 : 0;
    latent_tokens += std::int64_t{1} * clip.latent_frames * clip.latent_height * clip.latent_width;
    if (!clip.is_image() && clip.fps > 0) seconds += clip.frames / clip.fps;
  }
  Json summary = {{"clips", clips.size()},
                  {"images", images},
                  {"sources", sources.size()},
                  {"frames", frames},
                  {"seconds", seconds},
                  {"captions", captions},
                  {"clips_without_caption", without_caption},
                  {"latent_positions", latent_tokens}};
  summary["sizes"] = histogram<std::string, ClipRecord>(
      "width_x_height", "clips", clips,
      [](const ClipRecord& clip) { return concat(clip.width, "x", clip.height); });
  summary["lengths"] = histogram<int, ClipRecord>(
      "frames", "clips", clips, [](const ClipRecord& clip) { return clip.frames; });
  summary["aspects"] = histogram<std::string, ClipRecord>("aspect", "clips", clips, aspect_of);
  return summary;
}

Json summarise_corpus(const std::filesystem::path& folder) {
  Json summary = {{"header", read_corpus_header(folder)}};
  summary.update(summarise_clips(read_manifest(folder)));
  summary["texts"] = summarise_texts(folder);
  summary["shards"] = summarise_shards(folder);
  const std::vector<Reject> rejects = read_rejects(folder);
  summary["rejected"] = rejects.size();
  summary["rejects"] = histogram<std::string, Reject>(
      "reason", "sources", rejects, [](const Reject& reject) { return reject.code; });
  return summary;
}

Json summarise_shard(const std::filesystem::path& file) {
  const ShardReader reader(file);
  Json records = Json::array();
  Moments moments;
  for (const std::string& id : reader.ids()) {
    Json shape;
    if (reader.num_dims(id) == 4) {
      const LatentRecord record = reader.latent(id);
      shape = {record.channels, record.frames, record.height, record.width};
      moments.add(record.values);
    } else {
      const TextRecord record = reader.text(id);
      shape = {record.length, record.width};
      moments.add(record.values);
    }
    records.push_back({{"id", id}, {"shape", shape}});
  }
  return {{"records", records.size()},  {"bytes", std::filesystem::file_size(file)},
          {"values", moments.count},    {"mean", moments.mean()},
          {"std", moments.deviation()}, {"content", records}};
}

}  // namespace zoetrope::data
