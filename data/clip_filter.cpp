// See clip_filter.h.

#include "data/clip_filter.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace zoetrope::data {

namespace {

struct NamedRange {
  const char* name;
  const std::vector<double>& range;
  bool of_time;
};

std::vector<NamedRange> ranges_of_filter(const ClipFilter& filter) {
  return {{"motion", filter.motion, true},
          {"static_share", filter.static_share, true},
          {"frozen_share", filter.frozen_share, true},
          {"sharpness", filter.sharpness, false},
          {"brightness", filter.brightness, false},
          {"contrast", filter.contrast, false},
          {"black_share", filter.black_share, false},
          {"letterbox_share", filter.letterbox_share, false},
          {"text_share", filter.text_share, false}};
}

double known_score(const std::map<std::string, double>& scores, const std::string& name,
                   const ClipRecord& clip) {
  const auto found = scores.find(name);
  ZOETROPE_CHECK_CONFIG(found != scores.end(), "the filter asks for ", name, ", which clip ",
                        clip.id, " of ", clip.source,
                        " has not: encode it again, or take the filter away");
  return found->second;
}

}  // namespace

bool ClipFilter::takes_all() const {
  const auto ranges = ranges_of_filter(*this);
  return std::all_of(ranges.begin(), ranges.end(),
                     [](const NamedRange& named) { return named.range.empty(); }) &&
         camera.empty() && near_duplicates == "keep" && list_at_least.empty() &&
         list_at_most.empty();
}

void check_filter(const ClipFilter& filter) {
  for (const auto& [name, range, of_time] : ranges_of_filter(filter)) {
    ZOETROPE_CHECK_CONFIG(range.empty() || (range.size() == 2 && range[0] <= range[1]), "filter.",
                          name, " is not a range [low, high] of two numbers");
  }
}

std::string filter_reason(const ClipFilter& filter, const ClipRecord& clip) {
  for (const auto& [name, range, of_time] : ranges_of_filter(filter)) {
    if (range.empty() || (of_time && clip.is_image())) continue;
    const double score = known_score(clip.scores, name, clip);
    if (score < range[0] || score > range[1]) return std::string("filtered_") + name;
  }
  if (!filter.camera.empty() && !clip.is_image()) {
    ZOETROPE_CHECK_CONFIG(!clip.camera.empty(), "the filter asks for camera, which clip ", clip.id,
                          " of ", clip.source,
                          " has not: encode it again, or take the filter away");
    if (std::find(filter.camera.begin(), filter.camera.end(), clip.camera) == filter.camera.end())
      return "filtered_camera";
  }
  for (const auto& [name, least] : filter.list_at_least) {
    if (known_score(clip.list_scores, name, clip) < least) return "filtered_" + name;
  }
  for (const auto& [name, most] : filter.list_at_most) {
    if (known_score(clip.list_scores, name, clip) > most) return "filtered_" + name;
  }
  if (filter.near_duplicates == "drop" && !clip.duplicate_of.empty())
    return "filtered_near_duplicate";
  return "";
}

std::string FilterCounts::describe() const {
  std::int64_t all = kept;
  std::string reasons;
  for (const auto& [reason, count] : dropped) {
    all += count;
    reasons += concat(reasons.empty() ? "; " : ", ", reason, " ", count);
  }
  return concat("kept ", kept, " of ", all, " clips", reasons);
}

}  // namespace zoetrope::data
