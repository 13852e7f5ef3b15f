// encode_dataset: videos and images with captions -> corpus of latents and text states.
#include <iostream>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/options.h"
#include "base/progress.h"
#include "base/safetensors.h"
#include "data/corpus_writer.h"
#include "data/media_file.h"
#include "data/source_list.h"
#include "data/video_reader.h"
#include "launch/run_main.h"
#include "model/text_encoder.h"
#include "model/vae.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "encode_dataset --input PATH... --output CORPUS [--captions FILE]";
constexpr const char* kExamples =
    "  mpirun -np 2 encode_dataset --input clips --captions captions.jsonl --output corpus\n"
    "  mpirun -np 2 encode_dataset --input panda70m.csv --media-root videos --output corpus\n"
    "PATH: a folder, a video, an image, a .csv, .jsonl, .json or .txt list (of Open-Sora, "
    "OpenVid-1M, "
    "Panda-70M,\n"
    "finetrainers, diffusion-pipe, musubi-tuner), a webdataset .tar. Captions beside a video "
    "(KEY.txt, KEY.json)\n"
    "are used. Every clip keeps its own size and length, rounded down to the patch multiple; "
    "--max-pixels scales larger ones, never distorts. A second "
    "run does\n"
    "only what is missing. What is left out is in CORPUS/rejects.jsonl, with the reason.\n";

// Latents are cut into patches of 2x2: pixels come in multiples of the VAE's stride times this.
constexpr int kPatch = 2;
constexpr std::size_t kTextBatch = 256;

po::options_description own_options() {
  po::options_description own("Options of encode_dataset");
  auto add = own.add_options();
  add("input", po::value<std::vector<std::string>>()->composing(),
      "folder, video, image or list; repeatable");
  add("output", po::value<std::string>(), "corpus folder");
  add("captions", po::value<std::string>()->default_value(""),
      ".jsonl or .csv with captions by file name");
  add("media-root", po::value<std::string>()->default_value(""),
      "folder where lists look for their videos; default: the list's own");
  add("inside-root", po::bool_switch(),
      "refuse a listed file outside that folder, also through links");
  add("hdr", po::value<std::string>()->default_value("reject"),
      "PQ and HLG videos: reject or tone_map");
  add("vae", po::value<std::string>()->default_value("vae_small"), "VAE folder or shipped NAME");
  add("text-encoder", po::value<std::string>()->default_value("minilm"),
      "text encoder folder or NAME");
  add("max-pixels", po::value<std::int64_t>()->default_value(0),
      "larger frames are scaled to this area; 0 = native");
  add("max-frames", po::value<int>()->default_value(0),
      "longer videos are cut at the end; 0 = all");
  add("fps", po::value<double>()->default_value(0), "resample by time stamps; 0 = native");
  add("max-rejected-share", po::value<double>()->default_value(0.05),
      "more rejects than this: exit code 3");
  add("shard-mb", po::value<std::int64_t>()->default_value(256),
      "a latent shard is closed at this size");
  return own;
}

struct Settings {
  std::vector<fs::path> inputs;
  fs::path output, vae, text_encoder;
  data::ListOptions lists;
  data::DecodeRequest decode;  // without the path
  double max_rejected_share = 0.05;
  std::int64_t shard_bytes = 0;
};

Settings read_settings(const po::variables_map& values) {
  for (const char* name : {"input", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  Settings s;
  for (const auto& path : values["input"].as<std::vector<std::string>>())
    s.inputs.emplace_back(path);
  s.output = values["output"].as<std::string>();
  s.lists = {.captions_file = values["captions"].as<std::string>(),
             .media_root = values["media-root"].as<std::string>(),
             .inside_root = values["inside-root"].as<bool>()};
  ZOETROPE_CHECK_CONFIG(s.lists.media_root.empty() || fs::is_directory(s.lists.media_root),
                        "--media-root ", s.lists.media_root.string(), " is no folder");
  const std::string hdr = values["hdr"].as<std::string>();
  ZOETROPE_CHECK_CONFIG(hdr == "reject" || hdr == "tone_map", "--hdr ", hdr,
                        " is neither reject nor tone_map");
  s.decode.tone_map_hdr = hdr == "tone_map";
  s.vae = find_weights(values["vae"].as<std::string>());
  s.text_encoder = find_weights(values["text-encoder"].as<std::string>());
  s.decode.max_pixels = values["max-pixels"].as<std::int64_t>();
  s.decode.max_frames = values["max-frames"].as<int>();
  s.decode.fps = values["fps"].as<double>();
  s.max_rejected_share = values["max-rejected-share"].as<double>();
  s.shard_bytes = values["shard-mb"].as<std::int64_t>() << 20;
  ZOETROPE_CHECK_CONFIG(s.decode.max_pixels >= 0 && s.decode.max_frames >= 0 && s.decode.fps >= 0,
                        "--max-pixels, --max-frames and --fps must not be negative");
  ZOETROPE_CHECK_CONFIG(s.max_rejected_share >= 0 && s.max_rejected_share <= 1,
                        "--max-rejected-share ", s.max_rejected_share, " is not between 0 and 1");
  return s;
}

// Encodes this rank's share of the clips and captions.
class EncodingJob {
 public:
  EncodingJob(const Settings& settings, launch::Communicator& world)
      : settings_(settings),
        world_(world),
        vae_(model::load_vae(settings.vae, at::kCPU)),
        vae_hash_(hash_file(find_safetensors(settings.vae).front())),
        text_(settings.text_encoder, at::kCPU) {
    vae_->set_requires_grad(false);
    settings_.decode.size_multiple = vae_->config().space_stride() * kPatch;
    settings_.decode.frames_multiple = vae_->config().time_stride();
  }

  int run() {
    const auto items = data::list_sources(settings_.inputs, settings_.lists);
    ZOETROPE_CHECK_CONFIG(!items.empty(), "no videos or images in ",
                          settings_.inputs.front().string());
    data::CorpusWriter writer(settings_.output, header(), world_.rank(), world_.size(),
                              settings_.shard_bytes);
    world_.barrier();
    std::vector<const data::SourceItem*> mine;
    for (std::size_t i = world_.rank(); i < items.size(); i += world_.size())
      mine.push_back(&items[i]);
    encode_texts(mine, writer);
    encode_clips(mine, writer);
    writer.finish_rank();
    world_.barrier();
    return world_.rank() == 0 ? report(items.size()) : kExitOk;
  }

 private:
  Json header() const {
    const auto& decode = settings_.decode;
    Json header{{"vae", {{"name", settings_.vae.filename().string()}, {"hash", vae_hash_}}},
                {"text_encoder",
                 {{"name", settings_.text_encoder.filename().string()}, {"hash", text_.hash()}}},
                {"latent_channels", vae_->config().z_dim},
                {"transform",
                 {{"max_pixels", decode.max_pixels},
                  {"max_frames", decode.max_frames},
                  {"fps", decode.fps},
                  {"size_multiple", decode.size_multiple},
                  {"frames_multiple", decode.frames_multiple}}}};
    if (decode.tone_map_hdr) header["transform"]["hdr"] = "tone_map";
    return header;
  }

  // A caption is encoded by each rank that has clips with it; rank 0 adds the null text, for
  // guidance.
  void encode_texts(const std::vector<const data::SourceItem*>& mine, data::CorpusWriter& writer) {
    std::set<std::string> unique;
    if (world_.rank() == 0) unique.insert("");
    for (const auto* item : mine) unique.insert(item->captions.begin(), item->captions.end());
    std::erase_if(unique,
                  [&](const std::string& text) { return writer.has_text(hash_text(text)); });
    const std::vector<std::string> texts(unique.begin(), unique.end());
    Progress progress("encoding captions", static_cast<std::int64_t>(texts.size()),
                      world_.rank() == 0, "captions");
    for (std::size_t first = 0; first < texts.size(); first += kTextBatch) {
      const std::vector<std::string> batch(
          texts.begin() + first, texts.begin() + std::min(texts.size(), first + kTextBatch));
      const auto states = text_.encode(batch);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const float* values = states[i].const_data_ptr<float>();
        writer.add_text({hash_text(batch[i]),
                         static_cast<int>(states[i].size(0)),
                         static_cast<int>(states[i].size(1)),
                         {values, values + states[i].numel()}});
      }
      progress.advance(static_cast<std::int64_t>(batch.size()));
    }
  }

  void encode_clips(const std::vector<const data::SourceItem*>& mine, data::CorpusWriter& writer) {
    Progress progress("encoding", static_cast<std::int64_t>(mine.size()), world_.rank() == 0,
                      "clips");
    for (const data::SourceItem* item : mine) {
      encode_clip(*item, writer);
      progress.advance();
    }
  }

  void encode_clip(const data::SourceItem& item, data::CorpusWriter& writer) {
    data::ClipRecord record;
    record.source = data::source_name(item.path);
    record.captions = item.captions;
    for (const std::string& caption : item.captions) record.text_ids.push_back(hash_text(caption));
    std::optional<data::MediaFile> media;
    try {
      media = media_.find(item.path);
      if (media) record.content_hash = data::hash_media(*media);
    } catch (const Error& error) {
      return writer.reject(record.source, {"unreadable", error.what()});
    }
    if (media) {
      record.id = hash_text(
          concat(record.content_hash, "|", item.start_s, "|", item.end_s, "|", header().dump()));
      if (writer.has(record.id)) return writer.add_source(record);
    }
    data::DecodeRequest request = settings_.decode;
    request.path = item.path;
    request.start_s = item.start_s;
    if (item.end_s > 0) request.end_s = item.end_s;
    const auto decoded = reader_.read(request);
    if (const auto* skip = std::get_if<data::SkipReason>(&decoded))
      return writer.reject(record.source, *skip);
    encode_frames(std::get<data::Frames>(decoded), record, writer);
  }

  void encode_frames(const data::Frames& frames, data::ClipRecord& record,
                     data::CorpusWriter& writer) {
    const at::NoGradGuard no_grad;
    const at::Tensor pixels =
        model::pixels_from_rgb(frames.rgb.data(), frames.num_frames, frames.height, frames.width);
    const at::Tensor latent = vae_->normalise(vae_->encode(pixels).mean)[0].contiguous();
    if (!at::isfinite(latent).all().item<bool>()) {
      return writer.reject(record.source, {"latent_not_finite", "the VAE gave NaN or Inf"});
    }
    record.start_s = frames.pts_s.front();
    record.end_s = frames.pts_s.back();
    record.fps = frames.fps;
    record.frames = frames.num_frames;
    record.height = frames.height;
    record.width = frames.width;
    record.latent_channels = static_cast<int>(latent.size(0));
    record.latent_frames = static_cast<int>(latent.size(1));
    record.latent_height = static_cast<int>(latent.size(2));
    record.latent_width = static_cast<int>(latent.size(3));
    const float* values = latent.const_data_ptr<float>();
    writer.add(record, {record.id,
                        record.latent_channels,
                        record.latent_frames,
                        record.latent_height,
                        record.latent_width,
                        {values, values + latent.numel()}});
  }

  int report(std::size_t num_items) {
    const data::MergeSummary counts = data::merge_corpus(settings_.output, world_.size());
    const double share = static_cast<double>(counts.rejects) / static_cast<double>(num_items);
    std::cout << Json{{"sources", num_items},
                      {"clips", counts.clips},
                      {"rejected", counts.rejects},
                      {"output", settings_.output.string()}}
              << std::endl;
    ZOETROPE_CHECK_DATA(share <= settings_.max_rejected_share, counts.rejects, " of ", num_items,
                        " sources were rejected, more than --max-rejected-share ",
                        settings_.max_rejected_share, ": see ",
                        (settings_.output / "rejects.jsonl").string());
    return kExitOk;
  }

  Settings settings_;
  launch::Communicator& world_;
  std::unique_ptr<model::Vae> vae_;
  std::string vae_hash_;
  model::TextPipeline text_;
  data::MediaFinder media_;
  data::VideoReader reader_;
};

int run(int argc, char** argv, launch::Communicator& world) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "input", common, values))
    return kExitOk;
  const Settings settings = read_settings(values);
  at::set_num_threads(launch::threads_per_rank());
  return EncodingJob(settings, world).run();
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
