// A part: text shard, then latent shard, then the journal that makes both count.
#include "data/corpus_writer.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/shard.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

fs::path job_file(const fs::path& folder) {
  return folder / "records" / "job.json";
}

fs::path ticket_file(const fs::path& folder) {
  return folder / "records" / "next.txt";
}

const fs::path& with_folders(const fs::path& folder) {
  for (const char* name : {"latents", "text", "records"}) fs::create_directories(folder / name);
  return folder;
}

// Why a part must be made again; empty when it is whole.
std::string damage_of(const fs::path& folder, const fs::path& journal, bool verify) {
  try {
    for (const ShardEntry& shard : read_part(journal).shards) {
      const std::string wrong = shard_damage(folder, shard, verify, 0);
      if (!wrong.empty()) return shard.file + " " + wrong;
    }
    return "";
  } catch (const DataError& error) {
    return error.what();
  }
}

// Journals last, so that a kill in between leaves no journal without its shards.
void remove_unfinished(const fs::path& folder, bool verify) {
  for (const auto& [number, journal] : list_parts(folder)) {
    const std::string damage = damage_of(folder, journal, verify);
    if (damage.empty()) continue;
    log_warn("corpus ", folder.string(), ": ", damage, "; part ", number, " is made anew");
    fs::remove(journal);
  }
  for (const char* kind : {".", "latents", "text", "records"}) {
    for (const auto& entry : fs::directory_iterator(folder / kind)) {
      const fs::path name = entry.path().filename();
      const bool is_orphan = name.extension() == ".h5" &&
                             !fs::exists(folder / "records" / (name.stem().string() + ".jsonl"));
      if (name.extension() == ".tmp" || is_orphan) fs::remove(entry.path());
    }
  }
}

std::string hash_inputs(const std::vector<WorkItem>& items, std::int64_t shard_bytes) {
  Json rows = Json::array({shard_bytes});
  for (const WorkItem& item : items) {
    rows.push_back(Json{item.source, item.captions, item.caption_kinds, item.origin.item,
                        item.origin.key, item.bytes});
  }
  return hash_text(rows.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

CorpusJob::CorpusJob(const fs::path& folder, Json header, bool verify)
    : folder_(folder), lock_(with_folders(folder), "encode_dataset") {
  header["format"] = kCorpusFormat;
  if (fs::exists(folder / "corpus.json")) {
    check_same_origin(read_corpus_header(folder), header, folder);
  } else {
    write_json(folder / "corpus.json", header);
  }
  remove_unfinished(folder, verify);
}

void CorpusJob::begin(const std::vector<WorkItem>& items, std::int64_t shard_bytes,
                      bool retry_rejects) {
  fs::remove(ticket_file(folder_));
  const std::string inputs = hash_inputs(items, shard_bytes);
  if (!retry_rejects && fs::exists(job_file(folder_)) &&
      read_json(job_file(folder_)).value("inputs", "") == inputs) {
    return;
  }
  const auto parts = list_parts(folder_);
  const std::int64_t first_part = parts.empty() ? 0 : parts.rbegin()->first + 1;
  write_json(job_file(folder_),
             {{"first_part", first_part}, {"inputs", inputs}, {"retry_rejects", retry_rejects}});
}

void CorpusJob::check_room(std::int64_t bytes) const {
  constexpr double kMargin = 1.2;
  constexpr std::int64_t kMiB = 1 << 20;
  const auto free = static_cast<double>(fs::space(folder_).available);
  ZOETROPE_CHECK_CONFIG(free >= kMargin * static_cast<double>(bytes), folder_.string(),
                        ": the corpus needs about ", (bytes + kMiB - 1) / kMiB,
                        " MiB more, and a fifth of that to spare; the disk has ",
                        static_cast<std::int64_t>(free) / kMiB, " MiB free");
}

EncodePlan read_plan(const fs::path& folder, const std::vector<WorkItem>& items,
                     std::int64_t shard_bytes) {
  const Json job = read_json(job_file(folder));
  const auto first = job.find("first_part");
  ZOETROPE_CHECK_DATA(first != job.end() && first->is_number_integer() && *first >= 0,
                      job_file(folder).string(), ": \"first_part\" is missing or not a count");
  const bool retry_rejects = job.value("retry_rejects", false);
  EncodePlan plan{read_known_parts(folder, first->get<std::int64_t>(), retry_rejects), {}};
  plan.parts = cut_parts(items, plan.known, shard_bytes);
  return plan;
}

bool is_published(const fs::path& folder, std::int64_t part) {
  return fs::exists(folder / "records" / (part_name(part) + ".jsonl"));
}

std::int64_t take_ticket(const fs::path& folder) {
  const FolderLock lock(folder / "records");
  const fs::path path = ticket_file(folder);
  const std::int64_t ticket = fs::exists(path) ? std::stoll(read_file(path)) : 0;
  FileWriter out(path);  // begin() removes it: it need not survive a crash
  out.write(std::to_string(ticket + 1));
  out.close();
  return ticket;
}

struct PartWriter::Impl {
  fs::path folder;
  std::int64_t number;
  std::string shard_name;
  bool published = false;
  Part part;
  std::unordered_set<std::string> clip_ids, text_ids;
  std::unique_ptr<ShardWriter> latents, texts;

  Impl(const fs::path& target, std::int64_t part_number)
      : folder(target), number(part_number), shard_name(part_name(part_number) + ".h5") {}

  ShardWriter& open(std::unique_ptr<ShardWriter>& writer, const char* kind) const {
    ZOETROPE_CHECK(!published, "corpus ", folder.string(), ": part ", number, " is published");
    if (!writer) writer = std::make_unique<ShardWriter>(folder / kind / shard_name);
    return *writer;
  }

  static void check(const ClipRecord& clip) {
    clip_from_json(to_json(clip), concat("clip ", clip.id, " of ", clip.source));
  }

  void add_text(const TextRecord& text) {
    ZOETROPE_CHECK_DATA(text_ids.insert(text.id).second, "text ", text.id,
                        " is already in this part");
    const std::int64_t offset = open(texts, "text").add(text);
    part.texts.push_back({text.id, shard_name, text.length, text.width, offset});
  }

  void add(ClipRecord clip, const LatentRecord& latent, const Origin& origin) {
    ZOETROPE_CHECK_DATA(
        latent.id == clip.id && latent.channels == clip.latent_channels &&
            latent.frames == clip.latent_frames && latent.height == clip.latent_height &&
            latent.width == clip.latent_width,
        "clip ", clip.id, " of ", clip.latent_channels, "x", clip.latent_frames, "x",
        clip.latent_height, "x", clip.latent_width, " does not fit latent ", latent.id, " of ",
        latent.channels, "x", latent.frames, "x", latent.height, "x", latent.width);
    refuse_twice(clip.id);
    clip.shard_offset = open(latents, "latents").add(latent);
    clip.shard = shard_name;
    check(clip);
    part.clips.push_back({origin, std::move(clip)});
  }

  void refuse_twice(const std::string& id) {
    ZOETROPE_CHECK_DATA(clip_ids.insert(id).second, "clip ", id, " is already in this part");
  }

  void add_line(std::vector<PartClip>& lines, ClipRecord clip, const Origin& origin) const {
    ZOETROPE_CHECK(!published, "corpus ", folder.string(), ": part ", number, " is published");
    clip.shard.clear();
    clip.shard_offset = 0;
    check(clip);
    lines.push_back({origin, std::move(clip)});
  }

  void close(std::unique_ptr<ShardWriter>& writer, const std::string& kind) {
    if (!writer) return;
    const std::int64_t num_records = writer->num_records();
    writer->close();
    writer.reset();
    const std::string file = kind + "/" + shard_name;
    part.shards.push_back({file, num_records,
                           static_cast<std::int64_t>(fs::file_size(folder / file)),
                           hash_file(folder / file)});
  }

  void publish() {
    ZOETROPE_CHECK(!published, "corpus ", folder.string(), ": part ", number, " is published");
    close(texts, "text");
    close(latents, "latents");
    write_part(folder / "records" / (part_name(number) + ".jsonl"), part);
    published = true;
  }
};

PartWriter::PartWriter(const fs::path& folder, std::int64_t part)
    : impl_(std::make_unique<Impl>(folder, part)) {}
PartWriter::~PartWriter() = default;
void PartWriter::add_text(const TextRecord& text) {
  impl_->add_text(text);
}
void PartWriter::add(ClipRecord clip, const LatentRecord& latent, const Origin& origin) {
  impl_->add(std::move(clip), latent, origin);
}
void PartWriter::add_unstored(ClipRecord clip, const Origin& origin) {
  impl_->refuse_twice(clip.id);
  impl_->add_line(impl_->part.clips, std::move(clip), origin);
}
void PartWriter::add_copy(ClipRecord clip, const Origin& origin) {
  impl_->add_line(impl_->part.copies, std::move(clip), origin);
}
void PartWriter::reject(const std::string& source, const SkipReason& reason, const Origin& origin) {
  impl_->part.rejects.push_back({origin, {source, reason.code, reason.detail}});
}
void PartWriter::publish() {
  impl_->publish();
}

}  // namespace zoetrope::data
