// Which clips a run takes, by the scores in the manifest. Every clip that is left out has a reason
// that can be counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/clip_record.h"
#include "data/clip_scores.h"

namespace zoetrope::data {

// A range is [low, high], both kept, or empty: any value. Images have no scores of time, and pass.
struct ClipFilter {
  std::vector<double> motion, static_share, frozen_share;  // scores of time
  std::vector<double> sharpness, brightness, contrast, black_share, letterbox_share, text_share;
  std::vector<std::string> camera;
  std::string near_duplicates = "keep";
  std::map<std::string, double> list_at_least, list_at_most;

  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("motion", motion, "[low, high]: longer sides a second that blocks move, on average");
    visit("static_share", static_share, "[low, high]: share of pictures that stand still");
    visit("frozen_share", frozen_share, "[low, high]: share of pictures that repeat the last one");
    visit("sharpness", sharpness, "[low, high]: root mean square of the Laplacian, 1 = white");
    visit("brightness", brightness, "[low, high]: mean luma, 0 = black, 1 = white");
    visit("contrast", contrast, "[low, high]: standard deviation of luma, 1 = white");
    visit("black_share", black_share, "[low, high]: share of pictures that are black");
    visit("letterbox_share", letterbox_share, "[low, high]: share of the area that is black bars");
    visit("text_share", text_share, "[low, high]: share of the area that is text laid over it");
    visit("camera", camera, "only these camera moves; empty = any", one_of(kCameraNames));
    visit("near_duplicates", near_duplicates,
          "drop: of clips that look alike only the one whose id sorts first",
          one_of({"keep", "drop"}));
    visit("list_at_least", list_at_least,
          "least values of scores that came with the user's list, as {aesthetic: 4.5}");
    visit("list_at_most", list_at_most, "largest values of such scores");
  }
  bool takes_all() const;
};

// ConfigError naming the field when a range is not two numbers, the first the smaller.
void check_filter(const ClipFilter& filter);

// "filtered_motion" and the like for what the filter leaves out, "" for what it keeps. ConfigError
// when the clip has no such score: it was encoded by an older version, or the list had none.
std::string filter_reason(const ClipFilter& filter, const ClipRecord& clip);

// How many clips a filter left out, by reason.
struct FilterCounts {
  std::int64_t kept = 0;
  std::map<std::string, std::int64_t> dropped;
  void add(const std::string& reason) { reason.empty() ? ++kept : ++dropped[reason]; }
  std::string describe() const;  // "kept 80 of 100 clips; filtered_motion 15, filtered_camera 5"
};

}  // namespace zoetrope::data
