// Survey, plan, parts, merge.
#include "train/encode_job.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>
#include <map>
#include <set>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/safetensors.h"
#include "data/clip_scores.h"
#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/media_file.h"
#include "data/shot_list.h"
#include "model/text_encoder.h"
#include "model/vae.h"
#include "train/checkpoint.h"
#include "train/clip_encoder.h"

namespace zoetrope::train {
namespace {

namespace fs = std::filesystem;

// Latents are cut into patches of 2x2: pixels come in multiples of the VAE's stride times this.
constexpr int kPatch = 2;
constexpr std::size_t kTextBatch = 256;

// Encodes parts of the list as this rank gets to them.
class EncodingJob {
 public:
  EncodingJob(const EncodeSettings& settings, launch::Communicator& world)
      : settings_(settings),
        world_(world),
        vae_folder_(resolve_weights(settings.vae, "vae")),
        vae_(model::load_vae(vae_folder_, settings.device)),
        vae_hash_(hash_file(find_safetensors(vae_folder_).front())),
        text_(find_weights(settings.text_encoder), settings.device) {
    vae_->set_requires_grad(false);
    model::check_vae_run_config(settings.vae_run, vae_->config().space_stride());
    settings_.decode.size_multiple = vae_->config().space_stride() * kPatch;
    settings_.decode.frames_multiple = vae_->config().time_stride();
    for (const fs::path& folder : settings_.reuse) {
      reuse_.push_back(std::make_unique<data::Corpus>(folder));
    }
  }

  int run() {
    items_ = data::list_sources(settings_.inputs, settings_.lists);
    ZOETROPE_CHECK_CONFIG(!items_.empty(), "no videos or images in ",
                          settings_.inputs.front().string());
    std::unique_ptr<data::CorpusJob> job;  // its lock is held until the end
    if (world_.rank() == 0) {
      job = std::make_unique<data::CorpusJob>(settings_.output, header(), settings_.verify);
    }
    num_sources_ = items_.size();
    world_.barrier();
    take_apart();
    survey();
    if (job) job->begin(work_, settings_.shard_bytes, settings_.retry_rejects);
    world_.barrier();
    plan_ = data::read_plan(settings_.output, work_, settings_.shard_bytes);
    if (job) job->check_room(bytes_to_do());
    world_.barrier();
    const double idle_share = encode_parts();
    world_.all_reduce_sum(std::span(&num_taken_over_, 1));
    return world_.rank() == 0 ? report(idle_share) : kExitOk;
  }

 private:
  Json transform() const {
    const auto& decode = settings_.decode;
    Json json{{"max_pixels", decode.max_pixels},
              {"max_frames", decode.max_frames},
              {"fps", decode.fps},
              {"size_multiple", decode.size_multiple},
              {"frames_multiple", decode.frames_multiple}};
    if (decode.tone_map_hdr) json["hdr"] = "tone_map";
    const auto& run = settings_.vae_run;  // what changes latents; the size of chunks does not
    if (run.tile > 0) {
      json["vae_tile"] = run.tile;
      json["vae_overlap"] = run.tile_overlap;
    }
    if (run.compute_type == at::kBFloat16) json["vae_dtype"] = "bf16";
    if (settings_.split_shots != "auto") json["split_shots"] = settings_.split_shots;
    if (settings_.max_seconds > 0) json["max_seconds"] = settings_.max_seconds;
    return json;
  }

  Json header() const {
    const auto name = [](const std::string& typed) {
      return (fs::absolute(typed) / "").parent_path().filename().string();
    };
    return Json{{"vae", {{"name", name(settings_.vae)}, {"hash", vae_hash_}}},
                {"text_encoder", {{"name", name(settings_.text_encoder)}, {"hash", text_.hash()}}},
                {"latent_channels", vae_->config().z_dim},
                {"transform", transform()}};
  }

  // ---- items of several shots, or longer than they may be, become several ----

  void take_apart() {
    Progress progress("looking for shots", static_cast<std::int64_t>(items_.size()),
                      world_.rank() == 0, "files");
    data::ShotCache cache(settings_.output, world_.rank());
    Json mine = Json::array();
    for (std::size_t i = world_.rank(); i < items_.size(); i += world_.size()) {
      Json ranges = Json::array();
      for (const data::ClipRange& range : ranges_of(items_[i], cache))
        ranges.push_back({range.start_s, range.end_s});
      mine.push_back(std::move(ranges));
      progress.advance(world_.size());
    }
    std::vector<Json> of_ranks;
    for (const std::string& text : world_.all_gather(mine.dump()))
      of_ranks.push_back(parse_json(text, "shots"));
    std::vector<data::SourceItem> pieces;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (const Json& range : of_ranks[i % of_ranks.size()][i / of_ranks.size()]) {
        pieces.push_back(items_[i]);
        pieces.back().start_s = range[0];
        pieces.back().end_s = range[1];
      }
    }
    items_ = std::move(pieces);
  }

  bool splits(const data::SourceItem& item) const {
    if (settings_.split_shots != "auto") return settings_.split_shots == "always";
    return item.captions.empty() && item.start_s == 0 && item.end_s == 0;
  }

  // One range, the item's own, where there is nothing to take apart or it cannot be read.
  std::vector<data::ClipRange> ranges_of(const data::SourceItem& item, data::ShotCache& cache) {
    const std::vector<data::ClipRange> whole{{item.start_s, item.end_s}};
    if (!splits(item) && settings_.max_seconds == 0) return whole;
    try {
      const auto media = media_.find(item.path);
      if (!media) return whole;
      const std::string name = hash_text(concat(data::hash_media(*media), "|", range_of(item)));
      auto timeline = cache.find(name);
      if (!timeline) {
        const double end_s = item.end_s > 0 ? item.end_s : std::numeric_limits<double>::infinity();
        const auto found = data::find_shots(reader_, item.path, item.start_s, end_s);
        if (skipped(found)) return whole;
        timeline = std::get<data::ShotTimeline>(found);
        cache.add(name, *timeline);
      }
      const auto ranges = data::clip_ranges(*timeline, splits(item), settings_.max_seconds);
      return ranges.size() == 1 ? whole : ranges;
    } catch (const DataError&) {
      return whole;  // encode_group says why
    }
  }

  // ---- a look at every file: what it is, and how much work ----

  void survey() {
    Progress progress("looking at files", static_cast<std::int64_t>(items_.size()),
                      world_.rank() == 0, "files");
    Json mine = Json::array();
    for (std::size_t i = world_.rank(); i < items_.size(); i += world_.size()) {
      const std::string key = key_of(items_[i]);
      mine.push_back({key, key.empty() ? 0 : estimated_bytes(items_[i])});
      progress.advance(world_.size());
    }
    std::vector<Json> of_ranks;
    for (const std::string& text : world_.all_gather(mine.dump())) {
      of_ranks.push_back(parse_json(text, "survey"));
    }
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const Json& row = of_ranks[i % of_ranks.size()][i / of_ranks.size()];
      const std::string source = data::source_name(items_[i].path);
      work_.push_back(
          {source,
           items_[i].captions,
           {hash_text(concat(source, "|", range_of(items_[i]))), row[0].get<std::string>()},
           row[1].get<std::int64_t>(),
           items_[i].caption_kinds});
    }
  }

  // To the last bit, which a stream would cut off.
  static std::string range_of(const data::SourceItem& item) {
    return Json{item.start_s, item.end_s}.dump();
  }

  // Equal content, range, transform and VAE: equal key. Empty when the file cannot be read.
  std::string key_of(const data::SourceItem& item) {
    try {
      const auto media = media_.find(item.path);
      if (!media) return "";
      return hash_text(concat(data::hash_media(*media), "|", range_of(item), "|", vae_hash_, "|",
                              transform().dump()));
    } catch (const Error&) {
      return "";  // encode_group says why
    }
  }

  std::int64_t estimated_bytes(const data::SourceItem& item) {
    const auto probed = reader_.probe(item.path);
    const auto* info = std::get_if<data::VideoInfo>(&probed);
    if (info == nullptr) return 0;
    const auto& decode = settings_.decode;
    const double fps = decode.fps > 0 ? decode.fps : info->fps;
    const double end_s = item.end_s > 0 ? std::min(item.end_s, info->duration_s) : info->duration_s;
    auto frames = static_cast<std::int64_t>((end_s - item.start_s) * fps);
    if (decode.max_frames > 0) frames = std::min<std::int64_t>(frames, decode.max_frames);
    if (info->is_image) frames = 1;
    std::int64_t pixels = std::int64_t{1} * info->width * info->height;
    if (decode.max_pixels > 0) pixels = std::min(pixels, decode.max_pixels);
    const auto& vae = vae_->config();
    const std::int64_t positions = (1 + std::max<std::int64_t>(frames - 1, 0) / vae.time_stride()) *
                                   (pixels / (vae.space_stride() * vae.space_stride()));
    return positions * vae.z_dim * 2;
  }

  // ---- the work ----

  // Largest first.
  std::vector<const data::WorkPart*> parts_to_do() const {
    std::vector<const data::WorkPart*> parts;
    for (const data::WorkPart& part : plan_.parts) {
      if (!data::is_published(settings_.output, part.number)) parts.push_back(&part);
    }
    std::stable_sort(parts.begin(), parts.end(),
                     [](const auto* a, const auto* b) { return a->bytes > b->bytes; });
    return parts;
  }

  std::int64_t bytes_to_do() const {
    std::int64_t bytes = 0;
    for (const auto* part : parts_to_do()) bytes += part->bytes;
    return bytes;
  }

  // Ranks take the largest parts first, each when it is through with its last one; the largest
  // share of the time that a rank waits for the others at the end.
  double encode_parts() {
    const std::vector<const data::WorkPart*> parts = parts_to_do();
    std::int64_t num_groups = 0;
    for (const auto* part : parts) num_groups += static_cast<std::int64_t>(part->groups.size());
    world_.barrier();  // before the first of them is done
    const auto start = std::chrono::steady_clock::now();
    Progress progress("encoding", num_groups, world_.rank() == 0, "clips");
    std::int64_t taken = 0;
    for (auto ticket = take_ticket(); ticket < static_cast<std::int64_t>(parts.size());
         ticket = take_ticket()) {
      // What the others took since is done or nearly so.
      for (; taken < ticket; ++taken) {
        progress.advance(static_cast<std::int64_t>(parts[taken]->groups.size()));
      }
      encode_part(*parts[static_cast<std::size_t>(ticket)], progress);
      taken = ticket + 1;
    }
    const double busy_s = seconds_since(start);
    world_.barrier();
    std::vector<double> idle = {1 - busy_s / std::max(seconds_since(start), 1e-9)};
    world_.all_reduce_max(idle);
    return idle[0];
  }

  static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::int64_t take_ticket() const { return data::take_ticket(settings_.output); }

  void encode_part(const data::WorkPart& part, Progress& progress) {
    data::PartWriter writer(settings_.output, part.number);
    for (std::size_t first = 0; first < part.texts.size(); first += kTextBatch) {
      encode_texts({part.texts.begin() + first,
                    part.texts.begin() + std::min(part.texts.size(), first + kTextBatch)},
                   writer);
    }
    for (const data::WorkGroup& group : part.groups) {
      encode_group(group, writer);
      progress.advance();
    }
    writer.publish();
  }

  void encode_texts(const std::vector<std::string>& batch, data::PartWriter& writer) {
    const auto states = text_.encode(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const float* values = states[i].const_data_ptr<float>();
      writer.add_text({hash_text(batch[i]),
                       static_cast<int>(states[i].size(0)),
                       static_cast<int>(states[i].size(1)),
                       {values, values + states[i].numel()}});
    }
  }

  // The first item is encoded; the others have the same content.
  void encode_group(const data::WorkGroup& group, data::PartWriter& writer) {
    const auto work = [&](std::size_t i) -> const data::WorkItem& {
      return work_[static_cast<std::size_t>(group.items[i])];
    };
    const auto known = plan_.known.clips_by_key.find(work(0).origin.key);
    if (known != plan_.known.clips_by_key.end()) {
      for (const data::ClipRecord& clip : known->second) {
        for (std::size_t i = 0; i < group.items.size(); ++i) add_copy(clip, work(i), writer);
      }
      return;
    }
    const auto encoded = encode_item(group.items[0], writer);
    for (std::size_t i = 0; i < group.items.size(); ++i) {
      if (const auto* skip = std::get_if<data::SkipReason>(&encoded)) {
        writer.reject(work(i).source, *skip, work(i).origin);
      } else if (i > 0) {
        add_copy(std::get<data::ClipRecord>(encoded), work(i), writer);
      }
    }
  }

  static void describe(data::ClipRecord& clip, const data::WorkItem& work) {
    clip.source = work.source;
    clip.captions = work.captions;
    clip.caption_kinds.clear();
    const bool has_kinds =
        std::any_of(work.caption_kinds.begin(), work.caption_kinds.end(),
                    [](const std::string& kind) { return kind != data::kPlainCaption; });
    if (has_kinds) clip.caption_kinds = work.caption_kinds;
    clip.text_ids.clear();
    for (const std::string& caption : work.captions) clip.text_ids.push_back(hash_text(caption));
  }

  static void add_copy(data::ClipRecord clip, const data::WorkItem& work,
                       data::PartWriter& writer) {
    describe(clip, work);
    writer.add_copy(std::move(clip), work.origin);
  }

  data::OrSkip<data::ClipRecord> encode_item(std::int64_t index, data::PartWriter& writer) {
    const data::SourceItem& item = items_[static_cast<std::size_t>(index)];
    const data::WorkItem& work = work_[static_cast<std::size_t>(index)];
    data::ClipRecord record;
    describe(record, work);
    record.id = work.origin.key;
    try {
      const auto media = media_.find(item.path);
      if (media) record.content_hash = data::hash_media(*media);
    } catch (const Error& error) {
      return data::SkipReason{"unreadable", error.what()};
    }
    if (take_over(record, work, writer)) return record;
    data::DecodeRequest request = settings_.decode;
    request.path = item.path;
    request.start_s = item.start_s;
    if (item.end_s > 0) request.end_s = item.end_s;
    const auto decoded = reader_.read(request);
    if (const auto* skip = std::get_if<data::SkipReason>(&decoded)) return *skip;
    const data::Frames& frames = std::get<data::Frames>(decoded);
    put_scores(frames, item, record);
    if (const std::string reason = refusal(record); !reason.empty()) {
      return data::SkipReason{
          reason, concat("from ", frames.pts_s.front(), " s, ", frames.num_frames, " frames")};
    }
    return encode_frames(frames, record, work, writer);
  }

  static void put_scores(const data::Frames& frames, const data::SourceItem& item,
                         data::ClipRecord& record) {
    data::ClipScores scores = data::score_clip(frames);
    record.fps = frames.fps;
    record.frames = frames.num_frames;
    record.scores = std::move(scores.numbers);
    record.camera = std::move(scores.camera);
    record.look = std::move(scores.look);
    record.list_scores = item.scores;
  }

  // Why the user's limits leave the clip out; "" where they do not.
  std::string refusal(const data::ClipRecord& clip) const {
    if (!clip.is_image() && clip.frames < settings_.min_seconds * clip.fps)
      return "filtered_length";
    return data::filter_reason(settings_.filter, clip);
  }

  // From a corpus of --reuse, if one has this clip.
  bool take_over(data::ClipRecord& record, const data::WorkItem& work, data::PartWriter& writer) {
    for (const auto& corpus : reuse_) {
      auto found = corpus->find(record.id);
      if (!found || !found->is_stored() || settings_.online) continue;
      if (found->scores.empty() || !refusal(*found).empty()) continue;  // looked at anew
      try {
        const data::LatentRecord latent = corpus->latent(*found);
        describe(*found, work);
        writer.add(*found, latent, work.origin);
        record = *found;
        ++num_taken_over_;
        return true;
      } catch (const DataError& error) {
        log_warn(error.what(), ": encoded anew");
      }
    }
    return false;
  }

  data::OrSkip<data::ClipRecord> encode_frames(const data::Frames& frames, data::ClipRecord record,
                                               const data::WorkItem& work,
                                               data::PartWriter& writer) {
    record.start_s = frames.pts_s.front();
    record.end_s = frames.pts_s.back();
    record.height = frames.height;
    record.width = frames.width;
    if (settings_.online) {
      const auto& vae = vae_->config();
      record.latent_channels = static_cast<int>(vae.z_dim);
      record.latent_frames = 1 + (frames.num_frames - 1) / static_cast<int>(vae.time_stride());
      record.latent_height = frames.height / static_cast<int>(vae.space_stride());
      record.latent_width = frames.width / static_cast<int>(vae.space_stride());
      writer.add_unstored(record, work.origin);
      return record;
    }
    const auto latent = encode_clip(*vae_, frames, record.id, settings_.vae_run);
    if (!latent) return data::SkipReason{"latent_not_finite", "the VAE gave NaN or Inf"};
    record.latent_channels = latent->channels;
    record.latent_frames = latent->frames;
    record.latent_height = latent->height;
    record.latent_width = latent->width;
    writer.add(record, *latent, work.origin);
    return record;
  }

  int report(double idle_share) {
    std::vector<std::int64_t> parts;
    for (const data::WorkPart& part : plan_.parts) parts.push_back(part.number);
    const data::MergeSummary counts = data::merge_corpus(settings_.output, parts);
    std::map<std::string, std::int64_t> by_reason;
    std::int64_t damaged = 0;  // what the user's own limits left out is no damage
    for (const data::Reject& reject : data::read_rejects(settings_.output)) {
      ++by_reason[reject.code];
      damaged += reject.code.starts_with("filtered_") ? 0 : 1;
    }
    std::set<std::string> contents;
    for (const data::WorkItem& work : work_) contents.insert(work.origin.key);
    const double share = static_cast<double>(damaged) / static_cast<double>(items_.size());
    std::cout << Json{{"sources", num_sources_},
                      {"clips", counts.clips},
                      {"copies", work_.size() - contents.size()},
                      {"rejected", counts.rejects},
                      {"rejected_by", by_reason},
                      {"taken_over", num_taken_over_},
                      {"idle_share", idle_share},
                      {"output", settings_.output.string()}}
              << std::endl;
    ZOETROPE_CHECK_DATA(share <= settings_.max_rejected_share, damaged, " of ", items_.size(),
                        " clips were rejected, more than --max-rejected-share ",
                        settings_.max_rejected_share, ": see ",
                        (settings_.output / "rejects.jsonl").string());
    return kExitOk;
  }

  EncodeSettings settings_;
  launch::Communicator& world_;
  fs::path vae_folder_;
  std::unique_ptr<model::Vae> vae_;
  std::string vae_hash_;
  model::TextPipeline text_;
  data::MediaFinder media_;
  data::VideoReader reader_;
  std::vector<std::unique_ptr<data::Corpus>> reuse_;
  std::vector<data::SourceItem> items_;
  std::vector<data::WorkItem> work_;  // of items_
  data::EncodePlan plan_;
  std::size_t num_sources_ = 0;  // before they were taken apart
  std::int64_t num_taken_over_ = 0;
};

}  // namespace

int run_encode_job(const EncodeSettings& settings, launch::Communicator& world) {
  return EncodingJob(settings, world).run();
}

}  // namespace zoetrope::train
