// Decoded videos kept in memory, and random crops of them: the VAE's training data.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/random.h"
#include "data/frames.h"
#include "train/train_config.h"

namespace zoetrope::train {

class VideoPool {
 public:
  // Decodes the videos of each entry of config.videos, in order, until ram_mb is full; what is left
  // out or rejected is counted in the log. ConfigError when nothing is left for a kind of crop.
  explicit VideoPool(const VaeTaskConfig& config);

  // A crop [3, frames, height, width] in [-1, 1]: entry by weight, then video, time and place
  // uniformly.
  at::Tensor crop(std::size_t kind, Random& random) const;
  std::size_t num_videos() const { return videos_.size(); }

 private:
  void find_eligible(const VaeTaskConfig& config);

  struct Kind {
    CropConfig crop;
    std::vector<std::vector<std::size_t>> videos;  // by entry: large and long enough
    std::vector<double> cumulative_weights;        // by entry
  };
  std::vector<data::Frames> videos_;
  std::vector<std::size_t> entry_of_video_;
  std::vector<Kind> kinds_;
};

}  // namespace zoetrope::train
