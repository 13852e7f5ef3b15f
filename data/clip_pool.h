// What a run draws its samples from: the clips of one corpus, or of several mixed by weight, as
// lengths by index. Nothing is kept per clip, so the size of the corpora does not matter.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace zoetrope::data {

class ClipPool {
 public:
  struct Part {
    std::int64_t num_clips = 0;
    double weight = 1;  // share of the samples, relative to the other parts
    // Which clips they are; null: those that follow the part before. With a list, weight 0 is
    // allowed: these clips have numbers, but are not drawn.
    std::shared_ptr<const std::vector<std::uint32_t>> clips = nullptr;
  };
  // `tokens(clip)`: a clip's sequence length, from any thread. ConfigError for a part without clips
  // or of a weight below 2^-24 of all.
  ClipPool(const std::vector<Part>& parts, std::function<std::int64_t(std::int64_t)> tokens);
  // One part, with a table of lengths that outlives the pool.
  ClipPool(std::span<const std::int64_t> tokens);
  ClipPool(const std::vector<std::int64_t>& tokens) : ClipPool(std::span(tokens)) {}

  std::int64_t size() const { return size_; }
  std::int64_t tokens(std::int64_t clip) const { return tokens_(clip); }

  // The clip of sample `global_index` of the run. With one part of N clips it is
  // permute(g mod N, N, seed, g div N): each clip once an epoch. With several, every 4,096 samples
  // hold each part by its weight, to one sample, shuffled; the k-th sample of a part is drawn from
  // it as from one part. Where a part has less than 16 of 4,096 samples, twice as many are taken,
  // and so on. A function of (seed, global_index, sizes, weights) alone, in constant time.
  std::int64_t draw(std::int64_t global_index, std::uint64_t seed) const;
  // Those of `count` samples from `first` on; from one part in less time than one by one.
  std::vector<std::int64_t> draw(std::int64_t first, std::int64_t count, std::uint64_t seed) const;

 private:
  struct Range {
    std::int64_t first_clip, num_clips;
    std::int64_t first_slot, num_slots;  // of the block's
    std::shared_ptr<const std::vector<std::uint32_t>> clips;
  };
  static std::int64_t clip_at(const Range& range, std::uint64_t place);

  std::vector<Range> ranges_;
  std::int64_t block_ = 0;  // samples that hold each part by its weight
  std::int64_t size_ = 0;
  std::function<std::int64_t(std::int64_t)> tokens_;
};

}  // namespace zoetrope::data
