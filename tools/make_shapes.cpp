// make_shapes: writes MovingShapes, generated clips with exact captions.
//   000000.mp4 (PNG for one frame), captions.jsonl, truth.jsonl, settings.json (what made the
//   folder)
// The same flags give the same files. A folder made with the same settings is completed: clips that
// are there are kept, so that a larger --count adds to it.
#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/options.h"
#include "base/progress.h"
#include "data/shapes.h"
#include "data/video_writer.h"
#include "launch/run_main.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "make_shapes --count N --output DIR";
constexpr const char* kExamples =
    "  make_shapes --count 2000 --output shapes/train\n"
    "  make_shapes --count 400 --output shapes/test --split test\n"
    "  make_shapes --count 2000 --output shapes/mixed --vary\n"
    "  make_shapes --count 500 --output shapes/images --frames 1\n";
constexpr int kCrf = 10;  // nearly transparent: the VAE learns the drawing, not the codec

struct Job {
  std::int64_t count = 0;
  fs::path output;
  std::string split;
  std::uint64_t seed = 0;
  data::ShapesOptions options;
};

po::options_description own_options() {
  po::options_description own("Options of make_shapes");
  auto add = own.add_options();
  add("count", po::value<std::int64_t>(), "how many clips");
  add("output", po::value<std::string>(), "folder, made when missing");
  add("frames", po::value<int>()->default_value(17),
      "of a clip; with --vary the longest; 1 = images");
  add("height", po::value<int>()->default_value(64), "pixels, even");
  add("width", po::value<int>()->default_value(64), "pixels, even");
  add("camera", po::bool_switch(),
      "textured grounds under a camera that stands still, pans, tilts or zooms");
  add("vary", po::bool_switch(),
      "mix lengths 1, 5, 9, ... and canvases (64x64, 48x80, 80x48, 64x96, ...)");
  add("split", po::value<std::string>()->default_value("train"),
      "train or test; they share no clip");
  return own;
}

Job job_from(const po::variables_map& values, const CommonOptions& common) {
  for (const char* name : {"count", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  Job job;
  job.count = values["count"].as<std::int64_t>();
  job.output = values["output"].as<std::string>();
  job.split = values["split"].as<std::string>();
  job.seed = static_cast<std::uint64_t>(common.seed);
  job.options = {values["frames"].as<int>(), values["height"].as<int>(), values["width"].as<int>(),
                 values["vary"].as<bool>(), values["camera"].as<bool>()};
  ZOETROPE_CHECK_CONFIG(job.count >= 1, "--count ", job.count, " is less than 1");
  const bool sized = !values["height"].defaulted() || !values["width"].defaulted();
  ZOETROPE_CHECK_CONFIG(!(job.options.vary && sized),
                        "--vary picks the canvas: leave out --height and --width");
  ZOETROPE_CHECK_CONFIG(job.options.height % 2 == 0 && job.options.width % 2 == 0, "canvas ",
                        job.options.height, "x", job.options.width,
                        " is odd: mp4 needs even sides");
  data::make_scene(job.seed, job.split, 0,
                   job.options);  // checks the rest before anything is written
  return job;
}

Json settings_of(const Job& job) {
  Json settings{{"made_by", "make_shapes"},
                {"format", 1},
                {"seed", job.seed},
                {"split", job.split},
                {"frames", job.options.frames},
                {"height", job.options.height},
                {"width", job.options.width},
                {"vary", job.options.vary}};
  if (job.options.camera) settings["camera"] = true;
  return settings;
}

// Touches nothing: a folder that is someone else's stays as it is.
void check_folder(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  ZOETROPE_CHECK_CONFIG(fs::is_directory(folder), folder.string(), " is not a folder");
  if (fs::exists(folder / "settings.json")) return;
  const bool empty =
      std::all_of(fs::directory_iterator(folder), fs::directory_iterator(),
                  [](const auto& entry) { return entry.path().filename() == ".lock"; });
  ZOETROPE_CHECK_CONFIG(empty, folder.string(),
                        " is not empty and has no settings.json of make_shapes");
}

// Claims the folder: empty, or made by the same settings with no more clips than asked for now.
void claim_folder(const Job& job) {
  const fs::path path = job.output / "settings.json";
  Json settings = settings_of(job);
  if (fs::exists(path)) {
    Json before = read_json(path);
    ZOETROPE_CHECK_CONFIG(
        before.is_object() && before.contains("count") && before["count"].is_number_integer(),
        path.string(), " is not from make_shapes");
    const std::int64_t count = before["count"];
    before.erase("count");
    ZOETROPE_CHECK_CONFIG(before == settings, job.output.string(),
                          " holds clips of other settings: ", before.dump(), ", asked for ",
                          settings.dump(), "; choose another folder");
    ZOETROPE_CHECK_CONFIG(count <= job.count, job.output.string(), " holds ", count,
                          " clips, more than --count ", job.count, "; choose another folder");
  }
  settings["count"] = job.count;
  write_json(path, settings);
}

std::string clip_name(std::int64_t index, const data::ShapesScene& scene) {
  char name[40];
  std::snprintf(name, sizeof(name), "%06lld.%s", static_cast<long long>(index),
                scene.frames == 1 ? "png" : "mp4");
  return name;
}

// Calls `work(index)` for 0 .. count-1 on several threads; the first exception ends all and is
// rethrown.
template <class Work>
void for_each_index(std::int64_t count, int num_threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto loop = [&] {
    try {
      for (std::int64_t index = next++; index < count; index = next++) work(index);
    } catch (...) {
      next = count;
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < num_threads; ++i) threads.emplace_back(loop);
  }
  if (failure) std::rethrow_exception(failure);
}

std::int64_t write_clips(const Job& job) {
  std::atomic<std::int64_t> written{0};
  std::mutex mutex;
  Progress progress("drawing", job.count, true, "clips");
  for_each_index(job.count, launch::threads_per_rank(), [&](std::int64_t index) {
    const data::ShapesScene scene = data::make_scene(job.seed, job.split, index, job.options);
    const fs::path path = job.output / clip_name(index, scene);
    if (!fs::exists(path)) {
      data::VideoOptions video;
      video.fps = data::kShapesFps;
      video.crf = kCrf;
      data::write_clip(path, data::draw_scene(scene), video);
      ++written;
    }
    const std::scoped_lock lock(mutex);
    progress.advance();
  });
  return written;
}

std::int64_t write_lists(const Job& job) {
  std::string captions, truth;
  std::int64_t num_frames = 0;
  for (std::int64_t index = 0; index < job.count; ++index) {
    const data::ShapesScene scene = data::make_scene(job.seed, job.split, index, job.options);
    const std::string name = clip_name(index, scene);
    captions += Json{{"video", name},
                     {"short", data::short_caption(scene)},
                     {"dense", data::dense_caption(scene)}}
                    .dump() +
                "\n";
    truth += data::scene_to_json(scene, name).dump() + "\n";
    num_frames += scene.frames;
  }
  write_file_atomically(job.output / "truth.jsonl", truth);
  write_file_atomically(job.output / "captions.jsonl", captions);
  return num_frames;
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "", common, values))
    return kExitOk;
  const Job job = job_from(values, common);
  if (common.dry_run || common.print_config) {
    std::cout << settings_of(job) << std::endl;
    return kExitOk;
  }
  check_folder(job.output);
  fs::create_directories(job.output);
  const FolderLock lock(job.output, "make_shapes");
  claim_folder(job);
  const std::int64_t written = write_clips(job);
  const std::int64_t num_frames = write_lists(job);
  std::cout << Json{{"clips", job.count},           {"written", written},
                    {"kept", job.count - written},  {"frames", num_frames},
                    {"split", job.split},           {"seed", job.seed},
                    {"output", job.output.string()}}
            << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
