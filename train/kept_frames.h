// Frames that a sampled video must contain, put where they belong.
#pragma once

#include <vector>

#include "data/frames.h"

namespace zoetrope::train {

struct KeptClip {
  data::Frames frames;  // of the output's size; a still is one frame
  int first = 0;        // where its first frame lies in the output; negative counts from the end
};

// The output as the VAE should see it, and which latent frames hold what was asked for. A latent
// frame beyond the first stands for `time_stride` frames; those of them that were not asked for,
// and the gaps, repeat the nearest kept frame.
struct KeptVideo {
  data::Frames frames;
  std::vector<bool> latent_frames;
};
// ConfigError with the numbers when a clip has another size, lies outside or overlaps another.
KeptVideo place_kept(const std::vector<KeptClip>& clips, int num_frames, int height, int width,
                     int time_stride);

}  // namespace zoetrope::train
