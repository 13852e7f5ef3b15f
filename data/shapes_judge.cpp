// See shapes_judge.h. The constants are frozen: they were set once from the generator's own
// figures, before any model was trained, and scores stay comparable only as long as they stand.
#include "data/shapes_judge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "data/sprite_mask.h"

namespace zoetrope::data {
namespace {

constexpr double kMinShareOfFrames = .6;
// A perfect disc and the square of its area have an IoU of .83, disc and triangle .68: with every
// edge pixel half wrong the smallest sprite (12 px) still reaches .75 with its own template.
constexpr double kMinIou = .75;
// Sprite colours lie >= 107 apart; the share keeps out what lies half-way between two of them.
constexpr double kMaxColourDistance = 70;
constexpr double kMaxColourRatio = .75;  // distance to the nearest / to the second nearest
// A sprite that moves travels >= 1/6 of the canvas; one that stands wavers by a pixel or so.
constexpr double kMovingFrom = 1.0 / 10;  // of the side along which it moves
constexpr double kStillBelow = 1.0 / 20;
constexpr double kMaxCrossShare = .5;  // of travel across the direction, against travel along it
constexpr double kMaxStraying = .25;   // rms distance from a steady track, against the travel

std::string nearest_colour(const std::array<double, 3>& rgb) {
  std::vector<std::pair<double, std::string>> near;
  for (const std::string& name : kColourNames) {
    const RgbColour colour = sprite_rgb(name);
    near.emplace_back(std::hypot(rgb[0] - colour.red, rgb[1] - colour.green, rgb[2] - colour.blue),
                      name);
  }
  std::sort(near.begin(), near.end());
  const bool certain =
      near[0].first < kMaxColourDistance && near[0].first < kMaxColourRatio * near[1].first;
  return certain ? near[0].second : "";
}

// The template of a shape with this area and centroid.
std::vector<float> matched_template(const std::string& shape, const SpriteMask& mask, int height,
                                    int width) {
  if (shape == "circle") {
    const double diameter = 2 * std::sqrt(mask.area_px / M_PI);
    return shape_coverage(shape, mask.x, mask.y, diameter, height, width);
  }
  if (shape == "square") {
    return shape_coverage(shape, mask.x, mask.y, std::sqrt(mask.area_px), height, width);
  }
  // A triangle's centroid lies a sixth of its height below the middle of its bounding box.
  const double size = std::sqrt(2 * mask.area_px);
  return shape_coverage(shape, mask.x, mask.y - size / 6, size, height, width);
}

double soft_iou(const std::vector<float>& alpha, const std::vector<float>& coverage) {
  double both = 0, either = 0;
  for (std::size_t i = 0; i < alpha.size(); ++i) {
    const float ideal = sharpen(coverage[i]);
    both += std::min(alpha[i], ideal);
    either += std::max(alpha[i], ideal);
  }
  return either > 0 ? both / either : 0;
}

// Index into kShapeNames, or -1.
int shape_in_frame(const SpriteMask& mask, int height, int width) {
  int best = -1;
  double best_iou = kMinIou;
  for (std::size_t i = 0; i < kShapeNames.size(); ++i) {
    const double iou = soft_iou(mask.alpha, matched_template(kShapeNames[i], mask, height, width));
    if (iou > best_iou) {
      best_iou = iou;
      best = static_cast<int>(i);
    }
  }
  return best;
}

// Least-squares line through (t, value): travel over the clip, and rms distance from the line.
struct Track {
  double travel = 0, straying = 0;
};

Track fit_track(const std::vector<double>& times, const std::vector<double>& values,
                int num_frames) {
  const double count = static_cast<double>(times.size());
  double mean_t = 0, mean_v = 0, tt = 0, tv = 0, squares = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    mean_t += times[i] / count;
    mean_v += values[i] / count;
  }
  for (std::size_t i = 0; i < times.size(); ++i) {
    tt += (times[i] - mean_t) * (times[i] - mean_t);
    tv += (times[i] - mean_t) * (values[i] - mean_v);
  }
  const double slope = tt > 0 ? tv / tt : 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double off = values[i] - mean_v - slope * (times[i] - mean_t);
    squares += off * off;
  }
  return {slope * (num_frames - 1), std::sqrt(squares / count)};
}

std::string direction_of(const Track& x, const Track& y, int height, int width) {
  const bool sideways = std::abs(x.travel) / width >= std::abs(y.travel) / height;
  const Track& along = sideways ? x : y;
  const Track& across = sideways ? y : x;
  const double side = sideways ? width : height, travel = std::abs(along.travel);
  const double straying = std::hypot(x.straying, y.straying);
  if (travel < kStillBelow * side && straying < kStillBelow * side) return "still";
  if (travel < kMovingFrom * side || straying > kMaxStraying * travel) return "";
  if (std::abs(across.travel) > kMaxCrossShare * travel) return "";
  if (sideways) return along.travel < 0 ? "left" : "right";
  return along.travel < 0 ? "up" : "down";
}

}  // namespace

SpriteSeen judge_clip(const Frames& frames) {
  ZOETROPE_CHECK(frames.num_frames >= 1, "a clip without frames cannot be judged");
  std::vector<double> times, xs, ys;
  std::array<double, 3> colour = {};
  std::array<int, 3> shape_votes = {};
  for (int t = 0; t < frames.num_frames; ++t) {
    const auto mask = find_sprite(frames.frame(t), frames.height, frames.width);
    if (!mask) continue;
    times.push_back(t);
    xs.push_back(mask->x);
    ys.push_back(mask->y);
    for (int c = 0; c < 3; ++c) colour[c] += mask->colour[c];
    const int shape = shape_in_frame(*mask, frames.height, frames.width);
    if (shape >= 0) ++shape_votes[shape];
  }
  SpriteSeen seen;
  const double num_seen = static_cast<double>(times.size());
  seen.in_frame_share = num_seen / frames.num_frames;
  seen.found = seen.in_frame_share >= kMinShareOfFrames;
  if (!seen.found) return seen;
  for (double& value : colour) value /= num_seen;
  seen.colour = nearest_colour(colour);
  const auto most = std::max_element(shape_votes.begin(), shape_votes.end());
  if (*most >= kMinShareOfFrames * num_seen) seen.shape = kShapeNames[most - shape_votes.begin()];
  if (frames.num_frames > 1) {
    seen.direction =
        direction_of(fit_track(times, xs, frames.num_frames),
                     fit_track(times, ys, frames.num_frames), frames.height, frames.width);
  }
  return seen;
}

ShapesScore score_shapes(const std::vector<SpriteSeen>& seen,
                         const std::vector<ShapesScene>& asked) {
  ZOETROPE_CHECK(seen.size() == asked.size() && !seen.empty(), seen.size(), " clips judged, ",
                 asked.size(), " asked for");
  ShapesScore score;
  score.num_prompts = static_cast<int>(seen.size());
  const double one = 1.0 / static_cast<double>(seen.size());
  std::array<int, 4> agree = {};
  for (std::size_t i = 0; i < seen.size(); ++i) {
    ZOETROPE_CHECK(!asked[i].sprites.empty(), "scene ", i, " asks for no sprite");
    const Sprite& sprite = asked[i].sprites.front();
    const bool colour = seen[i].found && seen[i].colour == sprite.colour;
    const bool shape = seen[i].found && seen[i].shape == sprite.shape;
    const bool direction =
        seen[i].found && (asked[i].frames == 1 || seen[i].direction == sprite.direction);
    agree[0] += colour;
    agree[1] += shape;
    agree[2] += direction;
    agree[3] += colour && shape && direction;
  }
  score.colour = agree[0] * one;
  score.shape = agree[1] * one;
  score.direction = agree[2] * one;
  score.all = agree[3] * one;
  return score;
}

Interval wilson_interval(double share, int count) {
  ZOETROPE_CHECK(count >= 1 && share >= 0 && share <= 1, "no interval for a share of ", share,
                 " of ", count);
  constexpr double kZ = 1.959963984540054;  // 97.5 % of the normal distribution
  const double n = count, z2 = kZ * kZ;
  const double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
  const double reach = kZ / (1 + z2 / n) * std::sqrt(share * (1 - share) / n + z2 / (4 * n * n));
  return {std::max(0.0, middle - reach), std::min(1.0, middle + reach)};
}

}  // namespace zoetrope::data
