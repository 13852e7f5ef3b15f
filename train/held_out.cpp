// The held-out grid of samples and noise levels.
#include "train/held_out.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::train {
namespace {

// A seed of its own: the noise is the same in every run, and none that training sees.
constexpr std::uint64_t kHeldOutSeed = 0x68656C646F757421;

std::int64_t num_tokens(const data::ClipRecord& clip, const std::vector<std::int64_t>& patch) {
  return (clip.latent_frames / patch[0]) * (clip.latent_height / patch[1]) *
         (clip.latent_width / patch[2]);
}

// A number that names the clip, whatever else is in the corpus.
std::uint64_t clip_key(const data::ClipRecord& clip) {
  return std::stoull(hash_text(clip.id).substr(0, 16), nullptr, 16);
}

}  // namespace

// Longest first, each to the rank that has the fewest tokens.
HeldOut::HeldOut(std::vector<data::CorpusMix::HeldOutClip> clips, std::vector<std::int64_t> patch,
                 int num_ranks, std::int64_t pack_tokens)
    : clips_(std::move(clips)), patch_(std::move(patch)), packs_(num_ranks) {
  std::vector<std::pair<std::int64_t, Pair>> pairs;  // tokens of each
  for (std::size_t i = 0; i < clips_.size(); ++i) {
    for (int level = 0; level < kHeldOutLevels; ++level) {
      pairs.push_back({num_tokens(clips_[i].clip, patch_), {i, level}});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::int64_t> loads(packs_.size()), in_pack(packs_.size());
  for (const auto& [tokens, pair] : pairs) {
    const auto rank =
        static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
    if (packs_[rank].empty() || in_pack[rank] + tokens > pack_tokens) {
      packs_[rank].emplace_back();
      in_pack[rank] = 0;
    }
    packs_[rank].back().push_back(pair);
    in_pack[rank] += tokens;
    loads[rank] += tokens;
  }
}

std::int64_t HeldOut::num_passes() const {
  std::size_t most = 0;
  for (const auto& packs : packs_) most = std::max(most, packs.size());
  return static_cast<std::int64_t>(most);
}

HeldOut::Pack HeldOut::load(int rank, std::int64_t pass, const model::Objective& objective) const {
  const auto& packs = packs_.at(static_cast<std::size_t>(rank));
  if (pass >= static_cast<std::int64_t>(packs.size())) return {};
  const auto& pairs = packs[static_cast<std::size_t>(pass)];
  std::map<std::size_t, data::LatentRecord> latents;
  std::map<std::size_t, data::TextRecord> texts;
  Pack result;
  std::vector<NoisedSample> samples;
  for (const Pair& pair : pairs) {
    const auto& [corpus, clip] = clips_[pair.clip];
    if (!latents.contains(pair.clip)) {
      latents[pair.clip] = corpus->latent(clip);
      texts[pair.clip] = corpus->text(clip.text_ids.empty() ? "" : clip.text_ids[0]);
    }
    samples.push_back({&latents[pair.clip],
                       &texts[pair.clip],
                       static_cast<double>(pair.level) / kHeldOutLevels,
                       Random(kHeldOutSeed, Purpose::kNoise, static_cast<std::uint64_t>(pair.level),
                              clip_key(clip)),
                       1.0 / static_cast<double>(clips_.size()),
                       {}});
    result.levels.push_back(pair.level);
  }
  result.batch = pack(samples, patch_, objective);
  return result;
}

}  // namespace zoetrope::train
