// See shot_splitter.h. Two pictures differ by how far their colours (a joint histogram) and their
// shapes (blocks that nothing nearby matches) differ; both must. A cut is a peak of that difference
// which the following pictures confirm.

#include "data/shot_splitter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "base/error.h"

namespace zoetrope::data {

namespace {

constexpr int kLumaBins = 16, kChromaBins = 8;
constexpr int kPatchSide = 8,
              kReach = 6;          // pixels; a block is searched for this far around its place
constexpr double kFlatLevels = 6;  // a block's mismatch counts against its contrast plus this

constexpr double kLeastChange = 0.14;  // of a cut in a still picture
constexpr double kLeastAlone = 0.08;   // when nothing near it changes half as much again,
constexpr double kAloneRatio = 1.5;    // as in a jump cut of a fixed camera
constexpr double kPeakRatio = 2;       // and this much of the mean change around it on top
constexpr double kStaysShare = 0.6;    // of the cut's change, up to kConfirmPictures later
constexpr std::size_t kConfirmPictures = 4;

// Mean absolute difference of a block of `after` and of `before` moved by (dx, dy).
int block_difference(const std::uint8_t* before, const std::uint8_t* after, int stride) {
  int sum = 0;
  for (int y = 0; y < kPatchSide; ++y) {
    for (int x = 0; x < kPatchSide; ++x)
      sum += std::abs(int{after[y * stride + x]} - int{before[y * stride + x]});
  }
  return sum;
}

// Sum of the distances from the block's mean.
int block_contrast(const std::uint8_t* block, int stride) {
  int sum = 0;
  for (int y = 0; y < kPatchSide; ++y) {
    for (int x = 0; x < kPatchSide; ++x) sum += block[y * stride + x];
  }
  const int mean = sum / (kPatchSide * kPatchSide);
  int contrast = 0;
  for (int y = 0; y < kPatchSide; ++y) {
    for (int x = 0; x < kPatchSide; ++x) contrast += std::abs(block[y * stride + x] - mean);
  }
  return contrast;
}

// How much of the block at (left, top) of `after` no block around there in `before` explains: 0
// .. 1.
double block_mismatch(const std::uint8_t* before, const std::uint8_t* after, int height, int width,
                      int left, int top) {
  const std::uint8_t* block = after + top * width + left;
  int best = std::numeric_limits<int>::max();
  for (int y = std::max(0, top - kReach); y <= std::min(height - kPatchSide, top + kReach); ++y) {
    for (int x = std::max(0, left - kReach); x <= std::min(width - kPatchSide, left + kReach); ++x)
      best = std::min(best, block_difference(before + y * width + x, block, width));
  }
  const double contrast = block_contrast(block, width) + kFlatLevels * kPatchSide * kPatchSide;
  return std::min(1.0, best / contrast);
}

}  // namespace

ShotSplitter::Sketch ShotSplitter::sketch_of(const RgbPicture& picture) {
  Sketch sketch;
  sketch.pts_s = picture.pts_s;
  sketch.height = picture.height;
  sketch.width = picture.width;
  const std::size_t pixels = std::size_t{1} * picture.height * picture.width;
  sketch.luma.resize(pixels);
  sketch.histogram.assign(kLumaBins * kChromaBins * kChromaBins, 0);
  for (std::size_t at = 0; at < pixels; ++at) {
    const int red = picture.rgb[3 * at], green = picture.rgb[3 * at + 1],
              blue = picture.rgb[3 * at + 2];
    const int luma = (77 * red + 150 * green + 29 * blue) >> 8;
    sketch.luma[at] = static_cast<std::uint8_t>(luma);
    // Differences to luma lie in -255 .. 255; beyond 64 a colour is as strong as it needs to be.
    auto chroma_bin = [&](int level) {
      return (std::clamp(level - luma, -64, 63) + 64) * kChromaBins / 128;
    };
    const int bin =
        (luma * kLumaBins / 256 * kChromaBins + chroma_bin(red)) * kChromaBins + chroma_bin(blue);
    sketch.histogram[static_cast<std::size_t>(bin)] += 1.0f / static_cast<float>(pixels);
  }
  return sketch;
}

double ShotSplitter::change_between(const Sketch& before, const Sketch& after) {
  double colour = 0;
  for (std::size_t bin = 0; bin < before.histogram.size(); ++bin)
    colour += std::abs(before.histogram[bin] - after.histogram[bin]) / 2;
  double shape = 0;
  int num_blocks = 0;
  for (int top = 0; top + kPatchSide <= after.height; top += kPatchSide) {
    for (int left = 0; left + kPatchSide <= after.width; left += kPatchSide, ++num_blocks)
      shape += block_mismatch(before.luma.data(), after.luma.data(), after.height, after.width,
                              left, top);
  }
  if (num_blocks > 0) shape /= num_blocks;
  return std::sqrt(colour * (num_blocks > 0 ? shape : colour));
}

void ShotSplitter::add(const RgbPicture& picture) {
  Sketch sketch = sketch_of(picture);
  if (!recent_.empty()) {
    const Sketch& before = recent_.back();
    ZOETROPE_CHECK(sketch.height == before.height && sketch.width == before.width, "a picture of ",
                   sketch.width, "x", sketch.height, " after one of ", before.width, "x",
                   before.height);
    sketch.change = change_between(before, sketch);
  }
  recent_.push_back(std::move(sketch));
  if (recent_.size() > num_judged_ + kWindow) judge(num_judged_++);
  if (recent_.size() > 2 * kWindow + 1) {
    recent_.pop_front();
    --num_judged_;
  }
}

std::vector<double> ShotSplitter::finish() {
  while (num_judged_ < recent_.size()) judge(num_judged_++);
  return std::move(cuts_s_);
}

void ShotSplitter::judge(std::size_t index) {
  if (index > 0 && is_peak(index) && stays_changed(index)) cuts_s_.push_back(recent_[index].pts_s);
}

// Well above the changes around it: fast motion and dissolves change every picture.
bool ShotSplitter::is_peak(std::size_t index) const {
  const std::size_t first = index < kWindow ? 0 : index - kWindow;
  const std::size_t end = std::min(recent_.size(), index + kWindow + 1);
  const double change = recent_[index].change;
  double sum = 0, largest = 0;
  std::size_t count = 0;
  for (std::size_t other = std::max<std::size_t>(first, 1); other < end; ++other) {
    if (other == index) continue;
    sum += recent_[other].change;
    largest = std::max(largest, recent_[other].change);
    ++count;
  }
  const double usual = count == 0 ? 0 : sum / static_cast<double>(count);
  const double least = change > kAloneRatio * largest ? kLeastAlone : kLeastChange;
  return change > least + kPeakRatio * usual;
}

// After a flash, or a few pictures pushed in, the old shot is back: then some picture soon after
// looks like one shortly before.
bool ShotSplitter::stays_changed(std::size_t index) const {
  const double enough = std::max(kLeastAlone, kStaysShare * recent_[index].change);
  const std::size_t first = index < kConfirmPictures ? 0 : index - kConfirmPictures;
  const std::size_t end = std::min(recent_.size(), index + kConfirmPictures + 1);
  for (std::size_t before = first; before < index; ++before) {
    for (std::size_t after = index; after < end; ++after) {
      if (change_between(recent_[before], recent_[after]) < enough) return false;
    }
  }
  return true;
}

}  // namespace zoetrope::data
