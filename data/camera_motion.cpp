// See camera_motion.h.

#include "data/camera_motion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace zoetrope::data {

namespace {

constexpr int kBlockSide = 8, kSearchReach = 8;  // pixels
constexpr double kTextureLevels = 3;             // mean distance from a block's mean
constexpr double kMoveGainLevels = 0.5;          // by which moving must explain a pixel better
constexpr double kMovedPixels = 0.3;
constexpr double kAgreePixels = 1;

constexpr double kLeastPanPerS = 0.02;  // of the longer side
constexpr double kLeastMovedShare = 0.35;
constexpr double kLeastAgreeing = 0.5;

double mean_difference(const LumaPicture& before, const LumaPicture& after, int top, int left,
                       int dy, int dx) {
  double sum = 0;
  for (int y = top; y < top + kBlockSide; ++y) {
    for (int x = left; x < left + kBlockSide; ++x)
      sum += std::abs(after.at(y, x) - before.at(y - dy, x - dx));
  }
  return sum / (kBlockSide * kBlockSide);
}

double texture_of(const LumaPicture& picture, int top, int left) {
  double mean = 0, distance = 0;
  for (int y = top; y < top + kBlockSide; ++y) {
    for (int x = left; x < left + kBlockSide; ++x) mean += picture.at(y, x);
  }
  mean /= kBlockSide * kBlockSide;
  for (int y = top; y < top + kBlockSide; ++y) {
    for (int x = left; x < left + kBlockSide; ++x) distance += std::abs(picture.at(y, x) - mean);
  }
  return distance / (kBlockSide * kBlockSide);
}

// Where a parabola through three values at -1, 0, 1 is least.
double parabola_shift(double left, double middle, double right) {
  const double bend = left - 2 * middle + right;
  return bend > 1e-9 ? std::clamp((left - right) / (2 * bend), -0.5, 0.5) : 0;
}

BlockMotion motion_of(const LumaPicture& before, const LumaPicture& after, int top, int left) {
  BlockMotion block;
  block.x = left + kBlockSide / 2.0 - after.width / 2.0;
  block.y = top + kBlockSide / 2.0 - after.height / 2.0;
  block.textured = texture_of(after, top, left) >= kTextureLevels;
  if (!block.textured) return block;
  auto inside = [&](int dy, int dx) {
    return top - dy >= 0 && left - dx >= 0 && top - dy + kBlockSide <= after.height &&
           left - dx + kBlockSide <= after.width && std::abs(dy) <= kSearchReach &&
           std::abs(dx) <= kSearchReach;
  };
  auto cost = [&](int dy, int dx) { return mean_difference(before, after, top, left, dy, dx); };
  double best = cost(0, 0) - kMoveGainLevels;
  int best_dx = 0, best_dy = 0;
  for (int dy = -kSearchReach; dy <= kSearchReach; ++dy) {
    for (int dx = -kSearchReach; dx <= kSearchReach; ++dx) {
      if (!inside(dy, dx)) continue;
      if (const double here = cost(dy, dx); here < best) {
        best = here;
        best_dx = dx;
        best_dy = dy;
      }
    }
  }
  const double middle = cost(best_dy, best_dx);
  if (middle < kMoveGainLevels && best_dx == 0 && best_dy == 0) return block;  // the same picture
  block.dx = best_dx;
  block.dy = best_dy;
  if (inside(best_dy, best_dx - 1) && inside(best_dy, best_dx + 1))
    block.dx += parabola_shift(cost(best_dy, best_dx - 1), middle, cost(best_dy, best_dx + 1));
  if (inside(best_dy - 1, best_dx) && inside(best_dy + 1, best_dx))
    block.dy += parabola_shift(cost(best_dy - 1, best_dx), middle, cost(best_dy + 1, best_dx));
  return block;
}

double distance_from(const CameraMove& move, const BlockMotion& block) {
  return std::hypot(block.dx - move.dx - move.growth * block.x,
                    block.dy - move.dy - move.growth * block.y);
}

// One round of weighted least squares. The normal equations of (dx, dy, growth) couple through
// growth alone, so they are solved by elimination.
void refit(const std::vector<BlockMotion>& blocks, double scale, CameraMove& move) {
  double weights = 0, x = 0, y = 0, dx = 0, dy = 0, square = 0, along = 0;
  for (const BlockMotion& block : blocks) {
    if (!block.textured) continue;
    const double off = distance_from(move, block) / scale;
    if (off >= 1) continue;
    const double weight = (1 - off * off) * (1 - off * off);
    weights += weight;
    x += weight * block.x;
    y += weight * block.y;
    dx += weight * block.dx;
    dy += weight * block.dy;
    square += weight * (block.x * block.x + block.y * block.y);
    along += weight * (block.x * block.dx + block.y * block.dy);
  }
  if (weights <= 0) return;
  const double spread = square - (x * x + y * y) / weights;
  move.growth = spread > 1e-6 ? (along - (x * dx + y * dy) / weights) / spread : 0;
  move.dx = (dx - move.growth * x) / weights;
  move.dy = (dy - move.growth * y) / weights;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class Part>
double median_of(const std::vector<CameraMove>& moves, Part part) {
  std::vector<double> values;
  for (const CameraMove& move : moves) values.push_back(move.*part);
  return median(std::move(values));
}

}  // namespace

std::vector<BlockMotion> block_motion(const LumaPicture& before, const LumaPicture& after) {
  std::vector<BlockMotion> blocks;
  for (int top = 0; top + kBlockSide <= after.height; top += kBlockSide) {
    for (int left = 0; left + kBlockSide <= after.width; left += kBlockSide)
      blocks.push_back(motion_of(before, after, top, left));
  }
  return blocks;
}

CameraMove fit_camera(const std::vector<BlockMotion>& blocks) {
  CameraMove move;
  std::vector<double> dx, dy;
  double moved = 0;
  for (const BlockMotion& block : blocks) {
    moved += std::hypot(block.dx, block.dy) > kMovedPixels ? 1 : 0;
    if (!block.textured) continue;
    dx.push_back(block.dx);
    dy.push_back(block.dy);
  }
  if (dx.empty()) return move;
  move.moved = moved / static_cast<double>(blocks.size());
  const double num_textured = static_cast<double>(dx.size());
  move.dx = median(std::move(dx));
  move.dy = median(std::move(dy));
  for (const double scale : {16.0, 8.0, 4.0, 3.0, 2.0, 2.0}) refit(blocks, scale, move);
  double agreeing = 0;
  for (const BlockMotion& block : blocks)
    agreeing += block.textured && distance_from(move, block) < kAgreePixels ? 1 : 0;
  move.agreeing = agreeing / num_textured;
  return move;
}

std::string camera_name(const std::vector<CameraMove>& moves, double interval_s, int side) {
  const double per_s = 1 / (interval_s * side);
  const double right = median_of(moves, &CameraMove::dx) * per_s;
  const double down = median_of(moves, &CameraMove::dy) * per_s;
  const double growth = median_of(moves, &CameraMove::growth) / interval_s;
  const double pan = std::max(std::abs(right), std::abs(down)), zoom = std::abs(growth) / 2;
  if (median_of(moves, &CameraMove::moved) < kLeastMovedShare) return "static";
  if (median_of(moves, &CameraMove::agreeing) < kLeastAgreeing) return "mixed";
  if (std::max(pan, zoom) < kLeastPanPerS) return "static";
  if (zoom > pan) return growth > 0 ? "zoom_in" : "zoom_out";
  // What is seen goes the other way than the camera.
  if (std::abs(right) >= std::abs(down)) return right < 0 ? "pan_right" : "pan_left";
  return down < 0 ? "tilt_down" : "tilt_up";
}

}  // namespace zoetrope::data
