// Reading a corpus: lists at once, shards on demand.
#include "data/corpus.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/lru_cache.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kIdsInMessage = 5;

// Empty when the file is as listed.
std::string what_is_wrong(const fs::path& path, const ShardEntry& entry, bool hash_too,
                          double wait_s) {
  std::error_code gone;
  const auto has_size = [&] {
    const auto bytes = fs::file_size(path, gone);
    return !gone && static_cast<std::int64_t>(bytes) == entry.bytes;
  };
  if (!wait_until_visible(has_size, wait_s)) {
    const auto bytes = fs::file_size(path, gone);
    if (gone) return concat("is missing (", gone.message(), ")");
    return concat("has ", bytes, " bytes, expected ", entry.bytes);
  }
  if (hash_too) {
    const std::string hash = hash_file(path);
    if (hash != entry.hash) return concat("has hash ", hash, ", expected ", entry.hash);
  }
  return "";
}

std::vector<BadShard> bad_shards(const fs::path& folder, const std::vector<ShardEntry>& shards,
                                 const std::vector<ClipRecord>& clips,
                                 const std::vector<TextEntry>& texts, bool hash_too,
                                 double wait_s) {
  std::vector<BadShard> result;
  for (const ShardEntry& entry : shards) {
    // One wait is enough: a file system that hides several files shows them together.
    const double patience_s = result.empty() ? wait_s : 0;
    std::string reason = what_is_wrong(folder / entry.file, entry, hash_too, patience_s);
    if (reason.empty()) continue;
    BadShard bad{entry.file, std::move(reason), {}};
    for (const ClipRecord& clip : clips) {
      if ("latents/" + clip.shard == entry.file) bad.lost_ids.push_back(clip.id);
    }
    for (const TextEntry& text : texts) {
      if ("text/" + text.shard == entry.file) bad.lost_ids.push_back(text.id);
    }
    result.push_back(std::move(bad));
  }
  return result;
}

std::string describe(const BadShard& bad) {
  std::string text =
      concat(bad.file, " ", bad.reason, "; it held ", bad.lost_ids.size(), " records");
  const std::size_t num_shown = std::min(bad.lost_ids.size(), kIdsInMessage);
  for (std::size_t i = 0; i < num_shown; ++i) text += concat(i == 0 ? ": " : ", ", bad.lost_ids[i]);
  return num_shown < bad.lost_ids.size() ? text + ", ..." : text;
}

}  // namespace

std::vector<BadShard> find_bad_shards(const fs::path& folder, bool hash_too, double wait_s) {
  return bad_shards(folder, read_shard_list(folder), read_manifest(folder), read_text_index(folder),
                    hash_too, wait_s);
}

struct Corpus::Impl {
  fs::path folder;
  CorpusOptions options;
  Json header;
  std::vector<ClipRecord> clips;
  std::unordered_map<std::string, TextEntry> texts;
  const std::string null_text_id = hash_text("");
  std::mutex mutex;
  LruCache<std::unique_ptr<ShardReader>> readers;
  LruCache<TextRecord> text_cache;

  Impl(const fs::path& target, const CorpusOptions& with)
      : folder(target),
        options(with),
        header(read_corpus_header(target)),
        readers(std::max<std::int64_t>(with.max_open_shards, 1)),
        text_cache(with.text_cache_bytes) {
    wait_until_visible([&] { return fs::exists(folder / "manifest.jsonl"); }, options.wait_s);
    clips = read_manifest(folder);
    const std::vector<TextEntry> entries = read_text_index(folder);
    for (const TextEntry& entry : entries) texts.emplace(entry.id, entry);
    refuse_or_skip(
        bad_shards(folder, read_shard_list(folder), clips, entries, false, options.wait_s));
    check_texts();
  }

  void refuse_or_skip(const std::vector<BadShard>& bad) {
    if (bad.empty()) return;
    ZOETROPE_CHECK_DATA(options.skip_bad_shards, "corpus ", folder.string(), ": ", bad.size(),
                        " bad shards, the first: ", describe(bad.front()));
    std::unordered_set<std::string> lost;
    for (const BadShard& shard : bad) {
      log_warn("corpus ", folder.string(), ": left out ", describe(shard));
      lost.insert(shard.lost_ids.begin(), shard.lost_ids.end());
    }
    const auto is_lost = [&](const ClipRecord& clip) {
      return lost.count(clip.id) != 0 ||
             std::any_of(clip.text_ids.begin(), clip.text_ids.end(),
                         [&](const std::string& id) { return lost.count(id) != 0; });
    };
    clips.erase(std::remove_if(clips.begin(), clips.end(), is_lost), clips.end());
    for (const std::string& id : lost) texts.erase(id);
  }

  void check_texts() const {
    for (const ClipRecord& clip : clips) {
      for (const std::string& id : clip.text_ids) {
        ZOETROPE_CHECK_DATA(texts.count(id) != 0, "corpus ", folder.string(), ": clip ", clip.id,
                            " names text ", id, ", which texts.jsonl does not list");
      }
    }
  }

  // Under the mutex.
  const ShardReader& reader(const std::string& file) {
    if (const auto* kept = readers.find(file)) return **kept;
    readers.insert(file, std::make_unique<ShardReader>(folder / file), 1);
    return **readers.find(file);
  }

  LatentRecord latent(const ClipRecord& clip) {
    LatentRecord record;
    {
      const std::scoped_lock lock(mutex);
      record = reader("latents/" + clip.shard).latent(clip.id);
    }
    ZOETROPE_CHECK_DATA(
        record.channels == clip.latent_channels && record.frames == clip.latent_frames &&
            record.height == clip.latent_height && record.width == clip.latent_width,
        "corpus ", folder.string(), ": latent ", clip.id, " in latents/", clip.shard, " is ",
        record.channels, "x", record.frames, "x", record.height, "x", record.width,
        ", the manifest says ", clip.latent_channels, "x", clip.latent_frames, "x",
        clip.latent_height, "x", clip.latent_width);
    return record;
  }

  TextRecord text(const std::string& id_or_empty) {
    const std::string& id = id_or_empty.empty() ? null_text_id : id_or_empty;
    const std::scoped_lock lock(mutex);
    if (const TextRecord* kept = text_cache.find(id)) return *kept;
    const auto found = texts.find(id);
    ZOETROPE_CHECK_DATA(
        found != texts.end(), "corpus ", folder.string(), " has no text state ", id,
        id == null_text_id ? ", the one of the empty caption; encode_dataset adds it" : "");
    TextRecord record = reader("text/" + found->second.shard).text(id);
    text_cache.insert(id, record, static_cast<std::int64_t>(record.values.size() * sizeof(float)));
    return record;
  }
};

Corpus::Corpus(const fs::path& folder, CorpusOptions options)
    : impl_(std::make_unique<Impl>(folder, options)) {}
Corpus::~Corpus() = default;
const fs::path& Corpus::folder() const {
  return impl_->folder;
}
const Json& Corpus::header() const {
  return impl_->header;
}
const std::vector<ClipRecord>& Corpus::clips() const {
  return impl_->clips;
}
LatentRecord Corpus::latent(const ClipRecord& clip) const {
  return impl_->latent(clip);
}
TextRecord Corpus::text(const std::string& text_id) const {
  return impl_->text(text_id);
}

}  // namespace zoetrope::data
