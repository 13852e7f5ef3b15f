// Opens a generated index of very many clips and plans steps with it: seconds, and the memory that
// is this process's own. Lines of the manifest are made for the clips that the steps draw.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "base/options.h"
#include "base/random.h"
#include "data/corpus_index.h"
#include "data/planner.h"
#include "launch/run_main.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "corpus_index [--clips N] [--ranks R] [--batch B] [--steps S]";
constexpr const char* kExamples =
    "  corpus_index --clips 100000000 --ranks 1024 --batch 8192 --steps 4\n";

constexpr std::int64_t kLineBytes = 640;  // of a typical clip with two captions

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// MiB of /proc/self/status.
double memory_mb(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == field && status >> kilobytes) return kilobytes / 1024;
  }
  return 0;
}

data::LatentShape shape_of(std::int64_t clip) {
  Random random(1, Purpose::kTest, 0, static_cast<std::uint64_t>(clip));
  return {16, static_cast<int>(random.integer(1, 41)), 2 * static_cast<int>(random.integer(8, 45)),
          2 * static_cast<int>(random.integer(8, 45))};
}

void write_files(const fs::path& folder, std::int64_t clips) {
  for (const char* name : {"manifest.jsonl", "texts.jsonl"}) {
    write_file_atomically(folder / name, "");
  }
  fs::resize_file(folder / "manifest.jsonl", static_cast<std::uintmax_t>(clips * kLineBytes));
  data::IndexWriter writer(folder / "index.bin");
  for (std::int64_t i = 0; i < clips; ++i) {
    writer.add_clip(static_cast<std::uint64_t>(i * kLineBytes), shape_of(i), "index");
  }
  writer.finish(static_cast<std::uint64_t>(clips * kLineBytes), 0);
}

// The manifest is a sparse file but for these clips' lines.
void write_lines(const fs::path& folder, const data::StepPlan& plan) {
  const fs::path path = folder / "manifest.jsonl";
  const auto time = fs::last_write_time(path);
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  for (const data::PlannedSample& sample : plan.samples) {
    data::ClipRecord clip;
    clip.id = concat("clip", sample.clip);
    clip.frames = clip.height = clip.width = 1;
    const data::LatentShape shape = shape_of(sample.clip);
    clip.latent_channels = shape.channels;
    clip.latent_frames = shape.frames;
    clip.latent_height = shape.height;
    clip.latent_width = shape.width;
    std::string line = to_json(clip).dump();
    line.resize(kLineBytes, ' ');
    const auto written = ::pwrite(file, line.data(), line.size(), sample.clip * kLineBytes);
    ZOETROPE_CHECK(written == kLineBytes, "cannot write ", path.string());
  }
  ::close(file);
  fs::last_write_time(path, time);
}

Json measure(const fs::path& folder, const po::variables_map& values) {
  const auto clips = values["clips"].as<std::int64_t>();
  const auto num_ranks = values["ranks"].as<int>();
  data::PlannerConfig config;
  config.global_batch = values["batch"].as<std::int64_t>();
  const data::Calibration calibration = starting_calibration(config);
  write_files(folder, clips);
  const double before_mb = memory_mb("RssAnon:");

  auto start = std::chrono::steady_clock::now();
  const data::CorpusIndex index(folder);
  const double open_s = seconds_since(start);
  const data::ClipPool pool({{index.totals().clips, 1}}, [&](std::int64_t clip) {
    const data::LatentShape latent = index.shape(clip);
    return std::int64_t{1} * latent.frames * (latent.height / 2) * (latent.width / 2);
  });
  const auto steps = values["steps"].as<std::int64_t>();
  std::vector<data::StepPlan> plans;
  start = std::chrono::steady_clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    plans.push_back(data::plan_step(config, 1000 + step, pool, num_ranks, calibration));
  }
  const double plan_s = seconds_since(start) / static_cast<double>(steps);
  for (const auto& plan : plans) write_lines(folder, plan);
  start = std::chrono::steady_clock::now();
  std::int64_t lines = 0;
  for (const auto& plan : plans) {
    for (const auto& sample : plan.samples) {
      if (!sample.seat.holds(0)) continue;
      index.clip(sample.clip);
      ++lines;
    }
  }
  const double line_s =
      seconds_since(start) / static_cast<double>(std::max<std::int64_t>(lines, 1));
  return {{"clips", clips},
          {"index_bytes", fs::file_size(folder / "index.bin")},
          {"open_s", open_s},
          {"plan_step_s", plan_s},
          {"balance", plans.front().balance},
          {"read_line_s", line_s},
          {"private_mb", memory_mb("RssAnon:") - before_mb},
          {"mapped_mb", memory_mb("RssFile:")}};
}

int run(int argc, char** argv) {
  po::options_description own("Options of corpus_index");
  auto add = own.add_options();
  add("clips", po::value<std::int64_t>()->default_value(100'000'000), "in the index");
  add("ranks", po::value<int>()->default_value(64), "to plan for");
  add("batch", po::value<std::int64_t>()->default_value(512), "samples a step");
  add("steps", po::value<std::int64_t>()->default_value(4), "to plan");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own, "", common, values)) return kExitOk;
  std::string name = (fs::temp_directory_path() / "zoetrope_index_XXXXXX").string();
  ZOETROPE_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make ", name);
  const fs::path folder = name;
  Json result;
  try {
    result = measure(folder, values);
  } catch (...) {
    fs::remove_all(folder);
    throw;
  }
  fs::remove_all(folder);
  std::cout << result.dump() << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
