// Loss on samples that training never sees, at fixed noise: a figure that falls as the model gets
// better, and that two runs can be compared by.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/corpus_mix.h"
#include "train/collate.h"

namespace zoetrope::train {

// The grid of noise levels: k / 8 for k = 0 .. 7 (equidistant in [0, 7/8]).
inline constexpr int kHeldOutLevels = 8;

// (sample, level) pairs, each with noise of its own and the first caption, in packs no longer
// than the longest sample. The packs, and so their sum, do not depend on the ranks.
class HeldOut {
 public:
  // Corpora outlive this.
  HeldOut(std::vector<data::CorpusMix::HeldOutClip> clips, std::vector<std::int64_t> patch);

  std::int64_t num_packs() const { return static_cast<std::int64_t>(packs_.size()); }
  struct Pack {
    PackedBatch batch;
    std::vector<int> levels;  // of each segment
  };
  // Reads the samples and noises them. Each pair weighs 1 / samples.
  Pack load(std::int64_t pack, const model::Objective& objective) const;

 private:
  struct Pair {
    std::size_t clip = 0;
    int level = 0;
  };
  std::vector<data::CorpusMix::HeldOutClip> clips_;
  std::vector<std::int64_t> patch_;
  std::vector<std::vector<Pair>> packs_;
};

}  // namespace zoetrope::train
