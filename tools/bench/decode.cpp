// Times VideoReader on one video: frames a second at target size, and the peak memory of this
// process and of its decoder. README.md has the line of FFmpeg's program that it stands beside.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "data/video_reader.h"
#include "launch/run_main.h"

namespace zoetrope {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    "decode --input VIDEO [--max-pixels N] [--fps R] [--stream] [--repeat N]";

double peak_mib(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

template <class T>
T taken(data::OrSkip<T> result) {
  if (const auto* skip = std::get_if<data::SkipReason>(&result)) throw DataError(skip->detail);
  return std::get<T>(std::move(result));
}

double seconds_of(data::VideoReader& reader, const data::DecodeRequest& request, bool stream,
                  int& num_frames) {
  const auto start = std::chrono::steady_clock::now();
  if (stream) {
    num_frames = 0;
    taken(reader.stream(request, [&](const data::RgbPicture&) { ++num_frames; }));
  } else {
    num_frames = taken(reader.read(request)).num_frames;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  po::options_description own("Options of decode");
  auto add = own.add_options();
  add("input", po::value<std::string>()->required(), "video");
  add("max-pixels", po::value<std::int64_t>()->default_value(256 * 256), "of a frame");
  add("fps", po::value<double>()->default_value(0), "resample; 0 = every frame");
  add("start", po::value<double>()->default_value(0), "seconds");
  add("seconds", po::value<double>()->default_value(0), "length; 0 = to the end");
  add("stream", po::bool_switch(), "one picture at a time in the place of all of them");
  add("repeat", po::value<int>()->default_value(3), "the median is printed");
  if (!parse_options(argc, argv, kUsage, "", own, "input", common, values)) return kExitOk;
  data::DecodeRequest request;
  request.path = values["input"].as<std::string>();
  request.max_pixels = values["max-pixels"].as<std::int64_t>();
  request.fps = values["fps"].as<double>();
  request.start_s = values["start"].as<double>();
  if (const double length_s = values["seconds"].as<double>(); length_s > 0)
    request.end_s = request.start_s + length_s;
  const bool stream = values["stream"].as<bool>();
  std::vector<double> times_s;
  int num_frames = 0;
  std::optional<data::VideoReader> reader(std::in_place);
  for (int round = 0; round < std::max(1, values["repeat"].as<int>()); ++round)
    times_s.push_back(seconds_of(*reader, request, stream, num_frames));
  reader.reset();  // only an ended child shows its memory
  std::sort(times_s.begin(), times_s.end());
  const double median_s = times_s[times_s.size() / 2];
  const Json line = {{"frames", num_frames},
                     {"median_s", median_s},
                     {"frames_per_s", num_frames / median_s},
                     {"reader_peak_mib", peak_mib(RUSAGE_SELF)},
                     {"decoder_peak_mib", peak_mib(RUSAGE_CHILDREN)}};
  std::printf("%s\n", line.dump().c_str());
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
