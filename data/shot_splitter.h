// Where a video cuts: hard cuts between shots, found while its pictures stream by in small size.
// Holds kWindow pictures before and after the one it judges, however long the video is. Dissolves,
// fades, flashes and fast motion are no cuts. data/README.md has the measure.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

class ShotSplitter {
 public:
  // Pictures of this many pixels are enough: more only cost time.
  static constexpr int kPixels = 80 * 48;
  static constexpr int kWindow = 6;

  // In order of time, all of one size.
  void add(const RgbPicture& picture);
  // Times of the first picture of each shot but the first, when all pictures were added.
  std::vector<double> finish();

 private:
  struct Sketch {
    double pts_s = 0;
    int height = 0, width = 0;
    std::vector<std::uint8_t> luma;
    std::vector<float> histogram;  // shares of the picture by colour
    double change = 0;             // from the picture before, 0 .. 1
  };
  static Sketch sketch_of(const RgbPicture& picture);
  static double change_between(const Sketch& before, const Sketch& after);
  void judge(std::size_t index);
  bool is_peak(std::size_t index) const;
  bool stays_changed(std::size_t index) const;

  std::deque<Sketch> recent_;   // at most 2 * kWindow + 1
  std::size_t num_judged_ = 0;  // of recent_, from its front
  std::vector<double> cuts_s_;
};

}  // namespace zoetrope::data
