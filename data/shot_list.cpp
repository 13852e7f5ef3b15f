// See shot_list.h.

#include "data/shot_list.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "data/shot_splitter.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr double kHair = 1e-6;  // a shot of exactly the longest length is one piece

void add_pieces(ClipRange shot, double max_s, std::vector<ClipRange>& ranges) {
  const double pieces = max_s > 0 ? std::max(1.0, std::ceil(shot.length_s() / max_s - kHair)) : 1.0;
  for (double piece = 0; piece < pieces; ++piece) {
    const double from_s = shot.start_s + shot.length_s() * piece / pieces;
    const double to_s =
        piece + 1 < pieces ? shot.start_s + shot.length_s() * (piece + 1) / pieces : shot.end_s;
    ranges.push_back({from_s, to_s});
  }
}

}  // namespace

OrSkip<Timeline> find_shots(VideoReader& reader, const fs::path& path, double start_s,
                            double end_s) {
  ShotSplitter splitter;
  Timeline timeline;
  const auto rate = reader.stream(
      {.path = path, .start_s = start_s, .end_s = end_s, .max_pixels = ShotSplitter::kPixels},
      [&](const RgbPicture& picture) {
        if (picture.index == 0) {
          splitter = ShotSplitter();
          timeline.start_s = picture.pts_s;
        }
        splitter.add(picture);
        timeline.end_s = picture.pts_s;
      });
  if (skipped(rate)) return std::get<SkipReason>(rate);
  const double fps = std::get<double>(rate);
  if (fps > 0) timeline.end_s += 1 / fps;
  timeline.cuts_s = splitter.finish();
  return timeline;
}

std::vector<ClipRange> clip_ranges(const Timeline& timeline, bool split_shots, double max_s) {
  std::vector<ClipRange> ranges;
  double start_s = timeline.start_s;
  if (split_shots) {
    for (const double cut_s : timeline.cuts_s)
      add_pieces({std::exchange(start_s, cut_s), cut_s}, max_s, ranges);
  }
  add_pieces({start_s, timeline.end_s}, max_s, ranges);
  return ranges;
}

ShotCache::ShotCache(const fs::path& folder, int rank) {
  const fs::path shots = folder / "shots";
  fs::create_directories(shots);
  for (const auto& entry : fs::directory_iterator(shots)) {
    if (entry.path().extension() == ".jsonl") read(entry.path());
  }
  mine_ = shots / concat("rank_", rank, ".jsonl");
  if (std::ifstream in(mine_, std::ios::ate | std::ios::binary); in && in.tellg() > 0) {
    in.seekg(-1, std::ios::end);
    if (in.get() != '\n') unfinished_ = "\n";
  }
}

void ShotCache::read(const fs::path& path) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("name")) continue;
    try {
      known_[json.at("name")] = {json.at("start_s"), json.at("end_s"), json.at("cuts_s")};
    } catch (const Json::exception&) {
      continue;  // is found again
    }
  }
}

std::optional<Timeline> ShotCache::find(const std::string& name) const {
  const auto found = known_.find(name);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

void ShotCache::add(const std::string& name, const Timeline& timeline) {
  known_[name] = timeline;
  std::ofstream out(mine_, std::ios::app);
  out << std::exchange(unfinished_, "")
      << Json{{"name", name},
              {"start_s", timeline.start_s},
              {"end_s", timeline.end_s},
              {"cuts_s", timeline.cuts_s}}
             .dump()
      << "\n";
  ZOETROPE_CHECK(out.flush(), "cannot write ", mine_.string());
}

}  // namespace zoetrope::data
