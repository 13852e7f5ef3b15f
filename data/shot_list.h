// Into which clips a video is taken apart: its shots, none shorter or longer than asked for.
// Finding them decodes the whole video once in small size, so what was found is kept beside the
// corpus.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/frames.h"
#include "data/video_reader.h"

namespace zoetrope::data {

struct ClipRange {
  double start_s = 0, end_s = 0;
  double length_s() const { return end_s - start_s; }
};

// The times of a video that matter for taking it apart.
struct Timeline {
  double start_s = 0, end_s = 0;  // first picture; a period after the last one
  std::vector<double> cuts_s;     // first picture of each shot but the first
};

// Of the pictures between start_s and end_s. An image has no length and no cuts.
OrSkip<Timeline> find_shots(VideoReader& reader, const std::filesystem::path& path, double start_s,
                            double end_s);

// The shots, or the whole, each cut into the fewest equal pieces of at most max_s (0: any length).
// They cover the timeline without gap or overlap.
std::vector<ClipRange> clip_ranges(const Timeline& timeline, bool split_shots, double max_s);

// Timelines by name, in FOLDER/shots/rank_R.jsonl: a rank appends to its own file and knows what
// all ranks of earlier jobs have found. A line cut off by a kill counts as not there.
class ShotCache {
 public:
  ShotCache(const std::filesystem::path& folder, int rank);
  std::optional<Timeline> find(const std::string& name) const;
  void add(const std::string& name, const Timeline& timeline);

 private:
  void read(const std::filesystem::path& path);

  std::map<std::string, Timeline> known_;
  std::filesystem::path mine_;
  std::string unfinished_;  // ends the line that a killed job left
};

}  // namespace zoetrope::data
