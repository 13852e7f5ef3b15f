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

// (sample, level) pairs, each with noise of its own and the first caption, shared out evenly to
// ranks and packed. What a pair's loss is depends neither on its rank nor on its pack.
class HeldOut {
 public:
  // `pack_tokens`: what a pack may have, unless one pair has more. Corpora outlive this.
  HeldOut(std::vector<data::CorpusMix::HeldOutClip> clips, std::vector<std::int64_t> patch,
          int num_ranks, std::int64_t pack_tokens);

  // Packs of the rank that has most.
  std::int64_t num_passes() const;
  struct Pack {
    PackedBatch batch;
    std::vector<int> levels;  // of each segment; empty: the rank has no such pack
  };
  // Reads the samples and noises them. Each pair weighs 1 / samples.
  Pack load(int rank, std::int64_t pass, const model::Objective& objective) const;

 private:
  struct Pair {
    std::size_t clip = 0;
    int level = 0;
  };
  std::vector<data::CorpusMix::HeldOutClip> clips_;
  std::vector<std::int64_t> patch_;
  std::vector<std::vector<std::vector<Pair>>> packs_;  // by rank
};

}  // namespace zoetrope::train
