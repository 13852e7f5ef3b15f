// The held-out grid of samples and noise levels.
#include "train/held_out.h"

#include <algorithm>
#include <map>

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

HeldOut::HeldOut(std::vector<data::CorpusMix::HeldOutClip> clips, std::vector<std::int64_t> patch)
    : clips_(std::move(clips)), patch_(std::move(patch)) {
  std::int64_t pack_tokens = 0;
  for (const auto& held_out : clips_) {
    pack_tokens = std::max(pack_tokens, num_tokens(held_out.clip, patch_));
  }
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < clips_.size(); ++i) {
    for (int level = 0; level < kHeldOutLevels; ++level) {
      tokens += num_tokens(clips_[i].clip, patch_);
      if (packs_.empty() || tokens > pack_tokens) {
        packs_.emplace_back();
        tokens = num_tokens(clips_[i].clip, patch_);
      }
      packs_.back().push_back({i, level});
    }
  }
}

HeldOut::Pack HeldOut::load(std::int64_t pack_index, const model::Objective& objective) const {
  const auto& pairs = packs_[static_cast<std::size_t>(pack_index)];
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
