// encode_dataset: videos and images with captions -> corpus of latents and text states.
#include <ATen/Parallel.h>

#include "base/config.h"
#include "base/error.h"
#include "base/files.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "train/encode_job.h"
#include "train/vae_options.h"

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
    "--max-pixels scales larger ones, never distorts. A run "
    "that was\n"
    "interrupted goes on where it was, and a second run does only what is missing. What is left "
    "out is in\n"
    "CORPUS/rejects.jsonl, with the reason.\n";

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
  add("vae", po::value<std::string>()->default_value("vae_small"),
      "folder, run folder, checkpoint or shipped NAME");
  add("text-encoder", po::value<std::string>()->default_value("minilm"),
      "text encoder folder or NAME");
  add("max-pixels", po::value<std::int64_t>()->default_value(0),
      "larger frames are scaled to this area; 0 = native");
  add("max-frames", po::value<int>()->default_value(0),
      "longer videos are cut at the end; 0 = all");
  add("fps", po::value<double>()->default_value(0), "resample by time stamps; 0 = native");
  add("split-shots", po::value<std::string>()->default_value("auto"),
      "a clip per shot: always, never, or auto: where neither a caption nor a time range came with "
      "the video");
  add("min-seconds", po::value<double>()->default_value(0), "shorter clips are left out, counted");
  add("max-seconds", po::value<double>()->default_value(0),
      "longer clips are cut into equal pieces; 0 = any length");
  add("filter", po::value<std::string>()->default_value(""),
      "clips by their scores, as 'motion: [0.02, 1], camera: [static]': the fields of dit.filter");
  add("max-rejected-share", po::value<double>()->default_value(0.05),
      "more rejects than this: exit code 3");
  add("shard-mb", po::value<std::int64_t>()->default_value(256),
      "a latent shard is closed at about this size");
  add("reuse", po::value<std::vector<std::string>>()->composing(),
      "corpus whose latents are taken over where file, range, transform and VAE agree; repeatable");
  add("online", po::bool_switch(),
      "store no latents of new clips: train makes them when it needs them");
  add("retry-rejects", po::bool_switch(), "try again what earlier runs rejected");
  add("verify", po::bool_switch(), "read all shards; those that are damaged are made anew");
  train::add_vae_options(own);
  return own;
}

train::EncodeSettings read_settings(const po::variables_map& values) {
  for (const char* name : {"input", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  train::EncodeSettings s;
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
  s.split_shots = values["split-shots"].as<std::string>();
  ZOETROPE_CHECK_CONFIG(
      s.split_shots == "auto" || s.split_shots == "always" || s.split_shots == "never",
      "--split-shots ", s.split_shots, " is none of auto, always and never");
  s.min_seconds = values["min-seconds"].as<double>();
  s.max_seconds = values["max-seconds"].as<double>();
  ZOETROPE_CHECK_CONFIG(s.min_seconds >= 0 && s.max_seconds >= 0 &&
                            (s.max_seconds == 0 || s.max_seconds >= s.min_seconds),
                        "--min-seconds ", s.min_seconds, " and --max-seconds ", s.max_seconds,
                        " leave no length");
  s.filter = read_config<data::ClipFilter>(
      ConfigNode::from_text("{" + values["filter"].as<std::string>() + "}", "--filter"));
  data::check_filter(s.filter);
  ZOETROPE_CHECK_CONFIG(s.filter.near_duplicates == "keep",
                        "--filter: near duplicates are known only when all clips are there: set "
                        "dit.filter.near_duplicates when you train");
  s.vae_run = train::read_vae_options(values);
  s.vae = values["vae"].as<std::string>();
  s.text_encoder = values["text-encoder"].as<std::string>();
  s.decode.max_pixels = values["max-pixels"].as<std::int64_t>();
  s.decode.max_frames = values["max-frames"].as<int>();
  s.decode.fps = values["fps"].as<double>();
  s.max_rejected_share = values["max-rejected-share"].as<double>();
  s.shard_bytes = values["shard-mb"].as<std::int64_t>() << 20;
  if (values.count("reuse") > 0) {
    for (const auto& path : values["reuse"].as<std::vector<std::string>>())
      s.reuse.emplace_back(path);
  }
  s.online = values["online"].as<bool>();
  s.retry_rejects = values["retry-rejects"].as<bool>();
  s.verify = values["verify"].as<bool>();
  ZOETROPE_CHECK_CONFIG(s.decode.max_pixels >= 0 && s.decode.max_frames >= 0 && s.decode.fps >= 0,
                        "--max-pixels, --max-frames and --fps must not be negative");
  ZOETROPE_CHECK_CONFIG(s.max_rejected_share >= 0 && s.max_rejected_share <= 1,
                        "--max-rejected-share ", s.max_rejected_share, " is not between 0 and 1");
  return s;
}

int run(int argc, char** argv, launch::Communicator& world) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "input", common, values))
    return kExitOk;
  train::EncodeSettings settings = read_settings(values);
  settings.device = model::select_device(common.device, launch::local_rank().index);
  at::set_num_threads(launch::threads_per_rank());
  return train::run_encode_job(settings, world);
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
