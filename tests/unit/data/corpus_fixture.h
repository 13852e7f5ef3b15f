// Small corpora for tests: a temporary folder, records with known values, and one call that writes
// them.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/half_float.h"
#include "data/shard.h"

namespace zoetrope::data::testing {

namespace fs = std::filesystem;

class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "zoetrope_data_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Error("mkdtemp failed: " + name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline LatentRecord make_latent(const std::string& id, int frames = 3, int height = 4,
                                int width = 5) {
  LatentRecord record{id, 2, frames, height, width, {}};
  const auto salt = static_cast<float>(std::hash<std::string>{}(id) % 97);
  for (int i = 0; i < 2 * frames * height * width; ++i) {
    record.values.push_back((static_cast<float>(i) - salt) * 0.0371f);
  }
  return record;
}

inline TextRecord make_text(const std::string& caption, int width = 6) {
  TextRecord record{hash_text(caption), static_cast<int>(caption.size()) + 1, width, {}};
  for (int i = 0; i < record.length * width; ++i)
    record.values.push_back(static_cast<float>(i) * 0.25f);
  return record;
}

inline ClipRecord make_clip(const std::string& id, const std::vector<std::string>& captions,
                            const std::string& source = "") {
  ClipRecord clip;
  clip.id = id;
  clip.source = source.empty() ? id + ".mp4" : source;
  clip.content_hash = hash_text(id);
  clip.end_s = 0.5625;
  clip.fps = 16;
  clip.frames = 9;
  clip.height = 32;
  clip.width = 40;
  clip.latent_channels = 2;
  clip.latent_frames = 3;
  clip.latent_height = 4;
  clip.latent_width = 5;
  clip.shard = "none.h5";
  clip.shard_offset = 2048;
  clip.captions = captions;
  for (const std::string& caption : captions) clip.text_ids.push_back(hash_text(caption));
  return clip;
}

inline Json make_header() {
  return Json{{"vae", {{"name", "small"}, {"hash", "aaaa"}}},
              {"text_encoder", {{"name", "minilm"}, {"hash", "bbbb"}}},
              {"transform", {{"fps", 16}}},
              {"latent_channels", 2}};
}

inline constexpr std::int64_t kSmallShardBytes = 40'000;  // some 4 clips with their captions

// Ids stand for content: clips of one id are copies.
inline std::vector<WorkItem> items_of(const std::vector<ClipRecord>& clips) {
  std::vector<WorkItem> items;
  for (const ClipRecord& clip : clips) {
    items.push_back({clip.source, clip.captions, {hash_text(clip.source), clip.id}, 240});
  }
  return items;
}

// As encode_dataset does it: the first item of a group is encoded, the others are copies.
inline void write_part_of(const fs::path& folder, const std::vector<ClipRecord>& clips,
                          const EncodePlan& plan, const WorkPart& part) {
  PartWriter writer(folder, part.number);
  for (const std::string& caption : part.texts) writer.add_text(make_text(caption));
  for (const WorkGroup& group : part.groups) {
    for (std::size_t i = 0; i < group.items.size(); ++i) {
      const ClipRecord& clip = clips[static_cast<std::size_t>(group.items[i])];
      const Origin origin{hash_text(clip.source), clip.id};
      if (i > 0 || plan.known.clips_by_key.count(clip.id) != 0) {
        writer.add_copy(clip, origin);
      } else {
        writer.add(clip, make_latent(clip.id), origin);
      }
    }
  }
  writer.publish();
}

// The whole job, on one rank. `order` rearranges the parts that are left to do.
inline MergeSummary write_corpus(
    const fs::path& folder, const std::vector<ClipRecord>& clips,
    const std::function<void(std::vector<WorkPart>&)>& order = nullptr) {
  CorpusJob job(folder, make_header());
  const std::vector<WorkItem> items = items_of(clips);
  job.begin(items, kSmallShardBytes);
  const EncodePlan plan = read_plan(folder, items, kSmallShardBytes);
  std::vector<WorkPart> parts = plan.parts;
  if (order) order(parts);
  for (const WorkPart& part : parts) {
    if (!is_published(folder, part.number)) write_part_of(folder, clips, plan, part);
  }
  return merge_corpus(folder, {}, 0);
}

inline std::vector<ClipRecord> some_clips(int count) {
  std::vector<ClipRecord> clips;
  for (int i = 0; i < count; ++i) {
    const std::string id = "clip" + std::to_string(1000 + i);
    clips.push_back(make_clip(id, {"short " + id, "a dense caption of " + id, "third"}));
  }
  return clips;
}

// Flips a bit.
inline void overwrite_byte(const fs::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

// The byte at which a record's values lie in their shard.
inline std::uint64_t place_of(const ClipRecord& clip) {
  return static_cast<std::uint64_t>(clip.shard_offset);
}

// The message of the error of type E that `act` throws; fails the test's expectations otherwise.
template <class E>
std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error was thrown: ") + error.what();
  }
  return "nothing was thrown";
}

}  // namespace zoetrope::data::testing
