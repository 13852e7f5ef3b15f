// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011).
// A draw is a pure function of (seed, purpose, step, sample, index), so the order of work, the
// number of ranks and restarts cannot change it. A stream gives 2^34 words of 32 bits, then throws
// Error.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace zoetrope {

// One Philox4x32-10 block.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// What the numbers are for; two purposes never share numbers.
enum class Purpose : std::uint32_t {
  kInit = 1,
  kOrder = 2,
  kNoise = 3,
  kTimestep = 4,
  kCaptionDropout = 5,
  kCaptionChoice = 6,
  kCrop = 7,
  kLatentNoise = 8,
  kSampling = 9,
  kShapes = 10,
  kCondition = 11,
  kTest = 12,
  kReplacement = 13,
};

// A stream of numbers for one (seed, purpose, step, sample). Copyable; cheap to make.
class Random {
 public:
  Random(std::uint64_t seed, Purpose purpose, std::uint64_t step = 0, std::uint64_t sample = 0);

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  double uniform();                                           // [0, 1), 53 bits
  double uniform(double low, double high);                    // [low, high)
  std::int64_t integer(std::int64_t low, std::int64_t high);  // [low, high], unbiased
  double normal();                                            // Box-Muller, mean 0, variance 1
  // Normals from 32-bit words (tails to 6.6 sigma): fewer words a value than normal() takes.
  void fill_normal(std::span<float> values);

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  bool exhausted_ = false;  // the block counter has wrapped
  bool has_spare_ = false;
  double spare_ = 0;
};

// Position of `index` in a stateless pseudo-random permutation of [0, size): a Feistel network with
// cycle walking, keyed by (seed, epoch). O(1) memory; a bijection for every size >= 1.
std::uint64_t permute(std::uint64_t index, std::uint64_t size, std::uint64_t seed,
                      std::uint64_t epoch);
// Each of `indices` by its position; many at once take half the time.
void permute(std::span<std::uint64_t> indices, std::uint64_t size, std::uint64_t seed,
             std::uint64_t epoch);

}  // namespace zoetrope
