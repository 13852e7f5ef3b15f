// Which corpus a clip belongs to: the last one that starts at or before it.
#include "data/corpus_mix.h"

#include <algorithm>

#include "base/error.h"

namespace zoetrope::data {

CorpusMix::CorpusMix(const std::vector<Part>& parts, const CorpusOptions& options,
                     std::int64_t hold_out) {
  ZOETROPE_CHECK_CONFIG(!parts.empty(), "no corpus is named");
  const auto num_parts = static_cast<std::int64_t>(parts.size());
  const std::int64_t share = (hold_out + num_parts - 1) / num_parts;
  for (const Part& part : parts) {
    auto corpus = std::make_unique<Corpus>(part.folder, options);
    const std::int64_t clips = corpus->totals().clips;
    ZOETROPE_CHECK_CONFIG(clips > 0, "corpus ", part.folder.string(), " has no clips");
    if (!members_.empty()) {
      for (const char* field : {"vae", "text_encoder", "latent_channels"}) {
        const Json first = header().value(field, Json());
        const Json other = corpus->header().value(field, Json());
        ZOETROPE_CHECK_CONFIG(first == other, "corpora ", this->part(0).folder().string(), " and ",
                              part.folder.string(), " do not mix: ", field, " is ", first.dump(),
                              " and ", other.dump());
      }
    }
    const std::int64_t held_out = std::min(share, std::max<std::int64_t>(1, clips / 10));
    ZOETROPE_CHECK_CONFIG(held_out < clips, "corpus ", part.folder.string(), " has ", clips,
                          " clip: with validation nothing is left to train on (set "
                          "validation.every_steps to 0, or validation.corpus)");
    members_.push_back({std::move(corpus), part.weight, num_clips_, held_out});
    num_clips_ += clips - held_out;
  }
}

const Corpus& CorpusMix::part(std::int64_t index) const {
  return *members_.at(static_cast<std::size_t>(index)).corpus;
}

std::vector<CorpusMix::HeldOutClip> CorpusMix::held_out() const {
  std::vector<HeldOutClip> clips;
  for (const Member& member : members_) {
    for (std::int64_t i = 0; i < member.num_held_out; ++i) {
      clips.push_back({member.corpus.get(), member.corpus->clip(i)});
    }
  }
  return clips;
}

const CorpusMix::Member& CorpusMix::member_of(std::int64_t clip) const {
  ZOETROPE_CHECK(clip >= 0 && clip < num_clips_, "clip ", clip, " of ", num_clips_);
  const auto after =
      std::upper_bound(members_.begin(), members_.end(), clip,
                       [](std::int64_t i, const Member& member) { return i < member.first_clip; });
  return *(after - 1);
}

LatentShape CorpusMix::shape(std::int64_t clip) const {
  const Member& member = member_of(clip);
  return member.corpus->shape(member.place(clip));
}

ClipRecord CorpusMix::clip(std::int64_t clip) const {
  const Member& member = member_of(clip);
  return member.corpus->clip(member.place(clip));
}

LatentRecord CorpusMix::latent(std::int64_t clip, const ClipRecord& record) const {
  return member_of(clip).corpus->latent(record);
}

TextRecord CorpusMix::text(std::int64_t clip, const std::string& text_id) const {
  return member_of(clip).corpus->text(text_id);
}

ClipPool CorpusMix::pool(const std::vector<std::int64_t>& patch) const {
  ZOETROPE_CHECK(patch.size() == 3, "a patch of ", patch.size(), " sides");
  std::vector<ClipPool::Part> parts;
  for (const Member& member : members_) {
    parts.push_back({member.corpus->totals().clips - member.num_held_out, member.weight});
  }
  return {parts, [this, patch](std::int64_t clip) {
            const LatentShape latent = shape(clip);
            return (latent.frames / patch[0]) * (latent.height / patch[1]) *
                   (latent.width / patch[2]);
          }};
}

}  // namespace zoetrope::data
