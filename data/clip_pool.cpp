// Slots of a block are dealt to the parts once; a block of samples is a permutation of its slots.
#include "data/clip_pool.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

constexpr std::int64_t kLeastBlock = 4096, kLargestBlock = std::int64_t{1} << 28;
// Samples that a part has of a block: rounding is at most a 32nd of them.
constexpr std::int64_t kLeastSlots = 16;
// Keeps the shuffle of blocks apart from the order of clips, which has the run's seed.
constexpr std::uint64_t kDrawBlockSeed = 0x5a17b10c;

double sum_of_weights(const std::vector<ClipPool::Part>& parts) {
  double total = 0;
  for (const auto& part : parts) total += part.weight;
  return total;
}

std::int64_t block_for(const std::vector<ClipPool::Part>& parts) {
  const double total = sum_of_weights(parts);
  std::int64_t block = kLeastBlock;
  for (const auto& part : parts) {
    const auto few = [&] {
      return part.weight / total * static_cast<double>(block) < static_cast<double>(kLeastSlots);
    };
    while (part.weight > 0 && few()) block *= 2;
  }
  return block;
}

// `block` slots by weight: the floors, and one more where most is cut off (ties: the first).
std::vector<std::int64_t> deal_slots(const std::vector<ClipPool::Part>& parts, std::int64_t block) {
  const double total = sum_of_weights(parts);
  std::vector<std::int64_t> slots;
  std::vector<double> cut;
  for (const auto& part : parts) {
    const double exact = part.weight / total * static_cast<double>(block);
    slots.push_back(static_cast<std::int64_t>(exact));
    cut.push_back(exact - std::floor(exact));
  }
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return cut[a] > cut[b]; });
  const std::int64_t left = block - std::accumulate(slots.begin(), slots.end(), std::int64_t{0});
  for (std::int64_t i = 0; i < left; ++i)
    ++slots[order[static_cast<std::size_t>(i) % order.size()]];
  return slots;
}

}  // namespace

ClipPool::ClipPool(const std::vector<Part>& parts, std::function<std::int64_t(std::int64_t)> tokens)
    : tokens_(std::move(tokens)) {
  const double total = sum_of_weights(parts);
  for (const Part& part : parts) {
    ZOETROPE_CHECK_CONFIG(part.num_clips >= 1, "corpus ", &part - parts.data(),
                          " of the mixture has no clips");
    if (part.weight == 0 && part.clips) continue;
    ZOETROPE_CHECK_CONFIG(part.weight > 0 && std::isfinite(part.weight), "corpus ",
                          &part - parts.data(), " of the mixture has weight ", part.weight,
                          ", expected more than 0");
    ZOETROPE_CHECK_CONFIG(part.weight / total * kLargestBlock >= kLeastSlots, "corpus ",
                          &part - parts.data(), " of the mixture has weight ", part.weight, " of ",
                          total, ": the least is 1/", kLargestBlock / kLeastSlots);
  }
  block_ = block_for(parts);
  const std::vector<std::int64_t> slots = deal_slots(parts, block_);
  std::int64_t slot = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (slots[i] > 0) {
      ranges_.push_back({size_, parts[i].num_clips, slot, slots[i], parts[i].clips});
    }
    size_ += parts[i].num_clips;
    slot += slots[i];
  }
}

ClipPool::ClipPool(std::span<const std::int64_t> tokens)
    : block_(kLeastBlock),
      size_(static_cast<std::int64_t>(tokens.size())),
      tokens_([tokens](std::int64_t clip) { return tokens[static_cast<std::size_t>(clip)]; }) {
  ranges_.push_back({0, size_, 0, block_, nullptr});
}

std::int64_t ClipPool::draw(std::int64_t global_index, std::uint64_t seed) const {
  const Range* range = &ranges_.front();
  std::int64_t nth = global_index;
  if (ranges_.size() > 1) {
    const std::int64_t block = global_index / block_;
    const auto slot = static_cast<std::int64_t>(permute(
        static_cast<std::uint64_t>(global_index % block_), static_cast<std::uint64_t>(block_),
        seed ^ kDrawBlockSeed, static_cast<std::uint64_t>(block)));
    while (slot >= range->first_slot + range->num_slots) ++range;
    nth = block * range->num_slots + (slot - range->first_slot);
  }
  const auto size = static_cast<std::uint64_t>(range->num_clips);
  const auto index = static_cast<std::uint64_t>(nth);
  return clip_at(*range, permute(index % size, size, seed, index / size));
}

std::vector<std::int64_t> ClipPool::draw(std::int64_t first, std::int64_t count,
                                         std::uint64_t seed) const {
  std::vector<std::int64_t> clips;
  clips.reserve(static_cast<std::size_t>(count));
  if (ranges_.size() > 1) {
    for (std::int64_t i = 0; i < count; ++i) clips.push_back(draw(first + i, seed));
    return clips;
  }
  const Range& range = ranges_.front();
  std::vector<std::uint64_t> places;
  for (const std::int64_t end = first + count; first < end;) {
    const std::int64_t epoch = first / range.num_clips, begin = first % range.num_clips;
    places.resize(static_cast<std::size_t>(std::min(end - first, range.num_clips - begin)));
    std::iota(places.begin(), places.end(), static_cast<std::uint64_t>(begin));
    permute(places, static_cast<std::uint64_t>(range.num_clips), seed,
            static_cast<std::uint64_t>(epoch));
    for (const std::uint64_t place : places) clips.push_back(clip_at(range, place));
    first += static_cast<std::int64_t>(places.size());
  }
  return clips;
}

std::int64_t ClipPool::clip_at(const Range& range, std::uint64_t place) {
  return range.clips ? std::int64_t{(*range.clips)[place]}
                     : range.first_clip + static_cast<std::int64_t>(place);
}

}  // namespace zoetrope::data
