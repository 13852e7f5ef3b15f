// Synthetic data sets matched to published means of video corpora, and what their samples cost.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/cost_model.h"

namespace zoetrope::bench {

// Seconds a layer of width 3072, forward and backward, on a GPU of 600 TFLOP/s in matrix products
// and 500 in attention: 3 * 24 H^2 s / 600e12 + 3.5 * 4 H s^2 / 500e12.
inline data::CostModel layer_cost() {
  constexpr double kWidth = 3072;
  return {0, 3 * 24 * kWidth * kWidth / 600e12, 3.5 * 4 * kWidth / 500e12};
}

struct Clip {
  std::int64_t frames = 1, tokens_per_frame = 0;  // of the latent, 16 x 16 pixels a token
  std::int64_t tokens() const { return frames * tokens_per_frame + kTextTokens; }
  static constexpr std::int64_t kTextTokens = 128;
};

// A: 30 % images of 256, 512 and 1024 pixels; clips of lognormal length (median 5 s, sigma .55, at
// most 16 s at 16 fps) at 256, 480 and 720 lines; six aspect ratios. B: clips of median 7 s, sigma
// .75, at most 60 s. C: A without images.
inline Clip draw_clip(char mix, Random& random) {
  constexpr double kAspects[] = {16. / 9, 9. / 16, 4. / 3, 3. / 4, 1, 21. / 9};
  constexpr double kShares[] = {.62, .14, .08, .05, .08, .03};
  const auto pick = [&](const double* shares, std::size_t count) {
    double draw = random.uniform();
    std::size_t i = 0;
    while (i + 1 < count && draw >= shares[i]) draw -= shares[i++];
    return i;
  };
  const double aspect = kAspects[pick(kShares, std::size(kShares))];
  Clip clip;
  double area = 0;
  if (mix != 'C' && random.uniform() < 0.3) {
    constexpr double kSides[] = {256, 512, 1024}, kSideShares[] = {.4, .4, .2};
    const double side = kSides[pick(kSideShares, 3)];
    area = side * side;
  } else {
    constexpr double kAreas[] = {256 * 256, 480 * 848, 720 * 1280}, kTierShares[] = {.45, .4, .15};
    area = kAreas[pick(kTierShares, 3)];
    const bool is_long = mix == 'B';
    const double seconds =
        std::clamp(std::exp(std::log(is_long ? 7. : 5.) + (is_long ? .75 : .55) * random.normal()),
                   1., is_long ? 60. : 16.);
    clip.frames = 1 + std::max<std::int64_t>(1, static_cast<std::int64_t>((seconds * 16 - 1) / 4));
  }
  const double height = std::sqrt(area / aspect);
  const auto side = [](double pixels) {
    return std::max<std::int64_t>(1, std::lround(pixels / 16));
  };
  clip.tokens_per_frame = side(height) * side(height * aspect);
  return clip;
}

inline std::vector<Clip> draw_mix(char mix, std::int64_t num_clips) {
  Random random(2026, Purpose::kTest, static_cast<std::uint64_t>(mix));
  std::vector<Clip> clips;
  for (std::int64_t i = 0; i < num_clips; ++i) clips.push_back(draw_clip(mix, random));
  return clips;
}

}  // namespace zoetrope::bench
