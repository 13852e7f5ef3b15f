// Reading a corpus: everything on demand.
#include "data/corpus.h"

#include <mutex>

#include "base/error.h"
#include "base/files.h"
#include "data/lru_cache.h"
#include "data/record_reader.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

std::vector<BadShard> bad_shards(const fs::path& folder, const std::vector<ShardEntry>& shards,
                                 const std::vector<ClipRecord>& clips,
                                 const std::vector<TextEntry>& texts, bool hash_too,
                                 double wait_s) {
  std::vector<BadShard> result;
  for (const ShardEntry& entry : shards) {
    // One wait is enough: a file system that hides several files shows them together.
    const double patience_s = result.empty() ? wait_s : 0;
    std::string reason = shard_damage(folder, entry, hash_too, patience_s);
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

}  // namespace

std::vector<BadShard> find_bad_shards(const fs::path& folder, bool hash_too, double wait_s) {
  return bad_shards(folder, read_shard_list(folder), read_manifest(folder), read_text_index(folder),
                    hash_too, wait_s);
}

struct Corpus::Impl {
  fs::path folder;
  Json header;
  CorpusIndex index;
  mutable RecordReader records;
  std::function<LatentRecord(const ClipRecord&)> make_latent;
  const std::string null_text_id = hash_text("");
  std::mutex mutex;
  LruCache<TextRecord> text_cache;

  Impl(const fs::path& target, const CorpusOptions& options)
      : folder(target),
        header(read_corpus_header(target)),
        index(when_visible(target, options.wait_s)),
        records(target, {options.max_open_shards, options.wait_s, options.cache_folder,
                         options.cache_bytes}),
        make_latent(options.make_latent),
        text_cache(options.text_cache_bytes) {}

  static const fs::path& when_visible(const fs::path& folder, double wait_s) {
    wait_until_visible([&] { return fs::exists(folder / "manifest.jsonl"); }, wait_s);
    return folder;
  }

  LatentRecord latent(const ClipRecord& clip) const {
    if (!clip.is_stored()) {
      ZOETROPE_CHECK_DATA(make_latent != nullptr, "corpus ", folder.string(),
                          ": the latents of clip ", clip.id, " are not stored");
      LatentRecord made = make_latent(clip);
      ZOETROPE_CHECK_DATA(
          clip.latent_shape() == (LatentShape{made.channels, made.frames, made.height, made.width}),
          "corpus ", folder.string(), ": the latents made for clip ", clip.id,
          " have another shape than the manifest says");
      return made;
    }
    const std::size_t num_values = std::size_t{1} * clip.latent_channels * clip.latent_frames *
                                   clip.latent_height * clip.latent_width;
    return {clip.id,
            clip.latent_channels,
            clip.latent_frames,
            clip.latent_height,
            clip.latent_width,
            records.read("latents/" + clip.shard, clip.shard_offset, num_values, clip.id)};
  }

  TextRecord text(const std::string& id_or_empty) {
    const std::string& id = id_or_empty.empty() ? null_text_id : id_or_empty;
    {
      const std::scoped_lock lock(mutex);
      if (const TextRecord* kept = text_cache.find(id)) return *kept;
    }
    const auto entry = index.text(id);
    ZOETROPE_CHECK_DATA(
        entry.has_value(), "corpus ", folder.string(), " has no text state ", id,
        id == null_text_id ? ", the one of the empty caption; encode_dataset adds it" : "");
    TextRecord record{id, entry->length, entry->width,
                      records.read("text/" + entry->shard, entry->shard_offset,
                                   std::size_t{1} * entry->length * entry->width, id)};
    const std::scoped_lock lock(mutex);
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
const IndexTotals& Corpus::totals() const {
  return impl_->index.totals();
}
LatentShape Corpus::shape(std::int64_t clip) const {
  return impl_->index.shape(clip);
}
ClipRecord Corpus::clip(std::int64_t clip) const {
  return impl_->index.clip(clip);
}
std::optional<ClipRecord> Corpus::find(const std::string& id) const {
  return impl_->index.find(id);
}
LatentRecord Corpus::latent(const ClipRecord& clip) const {
  return impl_->latent(clip);
}
TextRecord Corpus::text(const std::string& text_id) const {
  return impl_->text(text_id);
}

}  // namespace zoetrope::data
