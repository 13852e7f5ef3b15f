// What a run draws its samples from: the clips of one corpus, or of several mixed by weight, as
// lengths by index. Nothing is kept per clip, so the size of the corpora does not matter.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace zoetrope::data {

class ClipPool {
 public:
  struct Part {
    std::int64_t num_clips = 0;
    double weight = 1;  // share of the samples, relative to the other parts
  };
  // Clips are numbered part by part. `tokens(clip)`: its sequence length, from any thread.
  // ConfigError for a part without clips or of a weight below 1/4096 of all.
  ClipPool(const std::vector<Part>& parts, std::function<std::int64_t(std::int64_t)> tokens);
  // One part, with a table of lengths that outlives the pool.
  ClipPool(std::span<const std::int64_t> tokens);
  ClipPool(const std::vector<std::int64_t>& tokens) : ClipPool(std::span(tokens)) {}

  std::int64_t size() const { return size_; }
  std::int64_t tokens(std::int64_t clip) const { return tokens_(clip); }

  // The clip of sample `global_index` of the run. With one part of N clips it is
  // permute(g mod N, N, seed, g div N): each clip once an epoch. With several, every 4,096 samples
  // hold each part by its weight (to 1/4096), shuffled; the k-th sample of a part is drawn from it
  // as from one part. A function of (seed, global_index, sizes, weights) alone, in constant time.
  std::int64_t draw(std::int64_t global_index, std::uint64_t seed) const;

 private:
  struct Range {
    std::int64_t first_clip, num_clips;
    std::int64_t first_slot, num_slots;  // of the 4,096
  };
  std::vector<Range> ranges_;
  std::int64_t size_ = 0;
  std::function<std::int64_t(std::int64_t)> tokens_;
};

}  // namespace zoetrope::data
