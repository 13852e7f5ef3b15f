// One part at a time: text shard, then latent shard, then the journal that makes both count.
#include "data/corpus_writer.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "data/shard.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

// The number behind "r00012" or "p00012", or nothing.
std::optional<std::int64_t> numbered(const std::string& name, char letter) {
  if (name.size() < 6 || name.size() > 16 || name.front() != letter ||
      name.find_first_not_of("0123456789", 1) != std::string::npos) {
    return std::nullopt;
  }
  return std::stoll(name.substr(1));
}

bool is_temporary(const fs::path& path) {
  return path.extension() == ".tmp";
}

// What a journal line says of a clip, whichever shard holds it.
std::string line_hash(ClipRecord clip) {
  clip.shard.clear();
  clip.shard_offset = 0;
  return hash_text(to_json(clip).dump(-1, ' ', false, Json::error_handler_t::replace));
}

ClipRecord without_source(ClipRecord clip) {
  clip.source.clear();
  clip.captions.clear();
  clip.text_ids.clear();
  return clip;
}

}  // namespace

struct CorpusWriter::Impl {
  fs::path folder;
  int rank, num_ranks;
  std::int64_t shard_limit_bytes;
  fs::path records;  // of this rank
  std::optional<FolderLock> lock;
  std::unordered_map<std::string, ClipRecord> known_clips;  // without source and captions
  std::unordered_set<std::string> known_lines, text_ids;
  std::int64_t part_index = 0;
  bool finished = false;
  Part part;
  std::unique_ptr<ShardWriter> latents, texts;
  RankFinish finish;

  Impl(const fs::path& target, Json header, int my_rank, int ranks, std::int64_t limit)
      : folder(target), rank(my_rank), num_ranks(ranks), shard_limit_bytes(limit) {
    ZOETROPE_CHECK(rank >= 0 && rank < num_ranks, "rank ", rank, " of ", num_ranks);
    ZOETROPE_CHECK_CONFIG(limit > 0, "shard limit is ", limit, " bytes, expected more than 0");
    records = folder / "records" / rank_name(rank);
    for (const fs::path& path : {folder / "latents", folder / "text", records}) {
      fs::create_directories(path);
    }
    // Two jobs meet at some rank's lock before they touch the same file.
    lock.emplace(rank == 0 ? folder : records, "encode_dataset");
    open_header(std::move(header));
    fs::remove(records / "finished.json");
    read_journals();
    remove_leftovers();
  }

  void open_header(Json header) {
    header["format"] = kCorpusFormat;
    if (fs::exists(folder / "corpus.json")) {
      check_same_origin(read_corpus_header(folder), header, folder);
    } else if (rank == 0) {
      write_json(folder / "corpus.json", header);
    }
  }

  void read_journals() {
    for (const auto& entry : fs::recursive_directory_iterator(folder / "records")) {
      if (entry.path().extension() != ".jsonl") continue;
      const Part known = read_part(entry.path());
      for (const ClipRecord& clip : known.clips) {
        known_clips.emplace(clip.id, without_source(clip));
        known_lines.insert(line_hash(clip));
      }
      for (const TextEntry& text : known.texts) text_ids.insert(text.id);
      const auto index = numbered(entry.path().stem().string(), 'p');
      if (index && entry.path().parent_path() == records) {
        part_index = std::max(part_index, *index + 1);
      }
    }
  }

  // This rank's, and on rank 0 also those of ranks that this job does not have.
  bool is_mine(const std::string& owner) const {
    const auto number = numbered(owner, 'r');
    return number && (*number == rank || (rank == 0 && *number >= num_ranks));
  }

  void remove_leftovers() const {
    for (const char* kind : {"latents", "text"}) {
      for (const auto& entry : fs::directory_iterator(folder / kind)) {
        const std::string name = entry.path().filename().string();  // r00000_p00000.h5
        const std::size_t cut = name.find('_');
        if (cut == std::string::npos || !is_mine(name.substr(0, cut))) continue;
        const std::string part_stem = name.substr(cut + 1, name.find('.') - cut - 1);
        const fs::path journal = folder / "records" / name.substr(0, cut) / (part_stem + ".jsonl");
        if (is_temporary(entry.path()) || !fs::exists(journal)) fs::remove(entry.path());
      }
    }
    for (const auto& owner : fs::directory_iterator(folder / "records")) {
      if (!is_mine(owner.path().filename().string())) continue;
      for (const auto& entry : fs::directory_iterator(owner.path())) {
        if (is_temporary(entry.path())) fs::remove(entry.path());
      }
    }
  }

  std::string shard_name() const { return rank_name(rank) + "_" + part_name(part_index) + ".h5"; }

  ShardWriter& open(std::unique_ptr<ShardWriter>& writer, const char* kind) const {
    ZOETROPE_CHECK(!finished, "corpus ", folder.string(), ": added after finish_rank()");
    if (!writer) writer = std::make_unique<ShardWriter>(folder / kind / shard_name());
    return *writer;
  }

  void check_texts(const ClipRecord& clip) const {
    ZOETROPE_CHECK(clip.captions.size() == clip.text_ids.size(), "clip ", clip.id, " has ",
                   clip.captions.size(), " captions but ", clip.text_ids.size(), " text ids");
    for (const std::string& id : clip.text_ids) {
      ZOETROPE_CHECK(has_text(id), "clip ", clip.id, ": text ", id, " was not added before it");
    }
  }

  bool has_text(const std::string& id) const { return text_ids.count(id) != 0; }

  void note(ClipRecord clip) {
    clip_from_json(to_json(clip), concat("clip ", clip.id, " of ", clip.source));
    if (!known_lines.insert(line_hash(clip)).second) return;
    part.clips.push_back(std::move(clip));
  }

  void add(ClipRecord clip, const LatentRecord& latent) {
    ZOETROPE_CHECK_DATA(known_clips.count(clip.id) == 0, "clip ", clip.id,
                        " is already in the corpus");
    ZOETROPE_CHECK_DATA(
        latent.id == clip.id && latent.channels == clip.latent_channels &&
            latent.frames == clip.latent_frames && latent.height == clip.latent_height &&
            latent.width == clip.latent_width,
        "clip ", clip.id, " of ", clip.latent_channels, "x", clip.latent_frames, "x",
        clip.latent_height, "x", clip.latent_width, " does not fit latent ", latent.id, " of ",
        latent.channels, "x", latent.frames, "x", latent.height, "x", latent.width);
    check_texts(clip);
    clip.shard_offset = open(latents, "latents").add(latent);
    clip.shard = shard_name();
    known_clips.emplace(clip.id, without_source(clip));
    note(std::move(clip));
    publish_when_full();
  }

  void add_source(ClipRecord clip) {
    ZOETROPE_CHECK(!finished, "corpus ", folder.string(), ": added after finish_rank()");
    const auto found = known_clips.find(clip.id);
    ZOETROPE_CHECK(found != known_clips.end(), "clip ", clip.id, " is not in the corpus yet");
    check_texts(clip);
    ClipRecord again = found->second;
    again.source = std::move(clip.source);
    again.captions = std::move(clip.captions);
    again.text_ids = std::move(clip.text_ids);
    note(std::move(again));
  }

  void add_text(const TextRecord& text) {
    ZOETROPE_CHECK_DATA(!has_text(text.id), "text ", text.id, " is already in the corpus");
    const std::int64_t offset = open(texts, "text").add(text);
    text_ids.insert(text.id);
    part.texts.push_back({text.id, shard_name(), text.length, text.width, offset});
    publish_when_full();
  }

  // Clips follow their texts, so these lie in the same part or an earlier one.
  void publish_when_full() {
    const std::int64_t bytes = (latents ? latents->bytes() : 0) + (texts ? texts->bytes() : 0);
    if (bytes >= shard_limit_bytes) publish();
  }

  void close(std::unique_ptr<ShardWriter>& writer, const std::string& kind) {
    if (!writer) return;
    const std::int64_t num_records = writer->num_records();
    writer->close();
    writer.reset();
    const std::string file = kind + "/" + shard_name();
    part.shards.push_back({file, num_records,
                           static_cast<std::int64_t>(fs::file_size(folder / file)),
                           hash_file(folder / file)});
  }

  void publish() {
    if (part.clips.empty() && part.texts.empty()) return;
    close(texts, "text");
    close(latents, "latents");
    write_part(records / (part_name(part_index) + ".jsonl"), part);
    part = {};
    ++part_index;
  }

  void finish_rank() {
    publish();
    finish.num_parts = part_index;
    write_finish(records / "finished.json", finish);
    finished = true;
  }
};

CorpusWriter::CorpusWriter(const fs::path& folder, Json header, int rank, int num_ranks,
                           std::int64_t shard_limit_bytes)
    : impl_(std::make_unique<Impl>(folder, std::move(header), rank, num_ranks, shard_limit_bytes)) {
}
CorpusWriter::~CorpusWriter() = default;

bool CorpusWriter::has(const std::string& clip_id) const {
  return impl_->known_clips.count(clip_id) != 0;
}
bool CorpusWriter::has_text(const std::string& text_id) const {
  return impl_->has_text(text_id);
}
void CorpusWriter::add(ClipRecord clip, const LatentRecord& latent) {
  impl_->add(std::move(clip), latent);
}
void CorpusWriter::add_source(ClipRecord clip) {
  impl_->add_source(std::move(clip));
}
void CorpusWriter::add_text(const TextRecord& text) {
  impl_->add_text(text);
}

void CorpusWriter::reject(const std::string& source, const SkipReason& reason) {
  impl_->finish.rejects.push_back({source, reason.code, reason.detail});
}

void CorpusWriter::finish_rank() {
  impl_->finish_rank();
}

}  // namespace zoetrope::data
