// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) and what is
// drawn from it. Every stream is a pure function of its seed, purpose, step and sample.
#include "base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "base/error.h"

namespace zoetrope {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kFeistelRounds = 8;
constexpr std::uint32_t kPermutation = 0xFFFFFFFF;  // in place of a purpose

std::uint32_t low_word(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high_word(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

// Philox with a fixed key is a bijection of the counter, so for one seed two (purpose, step) never
// get the same four words; three of them select the stream.
std::array<std::uint32_t, 4> stream_words(std::uint64_t seed, std::uint32_t purpose,
                                          std::uint64_t step) {
  return philox4x32({purpose, 0, low_word(step), high_word(step)},
                    {low_word(seed), high_word(seed)});
}

// Two independent normals from two words. The first uniform is in (0, 1]: its logarithm is finite.
std::array<double, 2> box_muller(double uniform_above_0, double uniform) {
  double radius = std::sqrt(-2.0 * std::log(uniform_above_0));
  double angle = 2.0 * std::numbers::pi * uniform;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {high_word(product1) ^ counter[1] ^ key[0], low_word(product1),
               high_word(product0) ^ counter[3] ^ key[1], low_word(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

Random::Random(std::uint64_t seed, Purpose purpose, std::uint64_t step, std::uint64_t sample) {
  auto words = stream_words(seed, static_cast<std::uint32_t>(purpose), step);
  key_ = {words[0], words[1]};
  counter_ = {0, low_word(sample), high_word(sample), words[2]};
}

std::uint32_t Random::next_u32() {
  if (used_ == 4) {
    ZOETROPE_CHECK(!exhausted_, "a random stream gave all of its 2^34 words");
    block_ = philox4x32(counter_, key_);
    exhausted_ = ++counter_[0] == 0;
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Random::next_u64() {
  std::uint64_t low = next_u32();
  return low | std::uint64_t{next_u32()} << 32;
}

double Random::uniform() {
  return static_cast<double>(next_u64() >> 11) * 0x1p-53;
}

double Random::uniform(double low, double high) {
  ZOETROPE_CHECK(low < high, "uniform: ", low, " is not below ", high);
  double value = low + (high - low) * uniform();
  return value < high ? value : std::nextafter(high, low);  // rounding may reach `high`
}

std::int64_t Random::integer(std::int64_t low, std::int64_t high) {
  ZOETROPE_CHECK(low <= high, "integer: ", low, " is above ", high);
  std::uint64_t count = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
  if (count == 0) return static_cast<std::int64_t>(next_u64());  // all 2^64 values
  // Draws below 2^64 mod count are dropped: the rest is a whole number of times `count`.
  std::uint64_t dropped = (std::numeric_limits<std::uint64_t>::max() - count + 1) % count;
  std::uint64_t draw = next_u64();
  while (draw < dropped) draw = next_u64();
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + draw % count);
}

double Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  double first = 1.0 - uniform();
  auto pair = box_muller(first, uniform());
  spare_ = pair[1];
  has_spare_ = true;
  return pair[0];
}

void Random::fill_normal(std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); i += 2) {
    double first = (static_cast<double>(next_u32()) + 1.0) * 0x1p-32;
    auto pair = box_muller(first, static_cast<double>(next_u32()) * 0x1p-32);
    values[i] = static_cast<float>(pair[0]);
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(pair[1]);
  }
}

std::uint64_t permute(std::uint64_t index, std::uint64_t size, std::uint64_t seed,
                      std::uint64_t epoch) {
  permute(std::span(&index, 1), size, seed, epoch);
  return index;
}

void permute(std::span<std::uint64_t> indices, std::uint64_t size, std::uint64_t seed,
             std::uint64_t epoch) {
  for (const std::uint64_t index : indices) {
    ZOETROPE_CHECK(index < size, "permute: index ", index, " is not below the size ", size);
  }
  const int half_bits = size > 1 ? (std::bit_width(size - 1) + 1) / 2 : 1;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  const auto words = stream_words(seed, kPermutation, epoch);
  // A round waits for the one before it, so several indices go through the rounds together.
  constexpr std::size_t kTogether = 8;
  for (; !indices.empty(); indices = indices.subspan(std::min(kTogether, indices.size()))) {
    std::array<std::uint64_t*, kTogether> points{};
    std::size_t count = 0;
    while (count < std::min(kTogether, indices.size())) {
      points[count] = &indices[count];
      ++count;
    }
    // The network permutes [0, 4^half_bits); following it from a point below `size` comes back
    // below `size`, after fewer than 4 steps on average.
    while (count > 0) {
      std::array<std::uint64_t, kTogether> left{}, right{};
      for (std::size_t i = 0; i < count; ++i) {
        left[i] = *points[i] >> half_bits;
        right[i] = *points[i] & mask;
      }
      for (std::uint32_t round = 0; round < kFeistelRounds; ++round) {
        for (std::size_t i = 0; i < count; ++i) {
          const auto mixed =
              philox4x32({low_word(right[i]), round, words[2], words[3]}, {words[0], words[1]});
          left[i] = std::exchange(right[i], left[i] ^ (mixed[0] & mask));
        }
      }
      std::size_t outside = 0;
      for (std::size_t i = 0; i < count; ++i) {
        *points[i] = left[i] << half_bits | right[i];
        if (*points[i] >= size) points[outside++] = points[i];
      }
      count = outside;
    }
  }
}

}  // namespace zoetrope
