// Which corpus a clip belongs to: the last one that starts at or before it.
#include "data/corpus_mix.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"

namespace zoetrope::data {

CorpusMix::CorpusMix(const std::vector<Part>& parts, const CorpusOptions& options,
                     const ClipFilter& filter, std::int64_t hold_out) {
  check_filter(filter);
  ZOETROPE_CHECK_CONFIG(!parts.empty(), "no corpus is named");
  const auto num_parts = static_cast<std::int64_t>(parts.size());
  const std::int64_t share = (hold_out + num_parts - 1) / num_parts;
  for (const Part& part : parts) {
    CorpusOptions own = options;
    own.make_latent = part.make_latent;
    auto corpus = std::make_unique<Corpus>(part.folder, std::move(own));
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
    Member member{std::move(corpus), part.weight, num_clips_, {}, {clips, {}}, 0};
    if (!filter.takes_all()) apply(filter, member);
    const std::int64_t left = member.filtered.kept;
    member.num_held_out = std::min(share, std::max<std::int64_t>(1, left / 10));
    ZOETROPE_CHECK_CONFIG(member.num_held_out < left, "corpus ", part.folder.string(), " has ",
                          left,
                          " clip: with validation nothing is left to train on (set "
                          "validation.every_steps to 0, or validation.corpus)");
    num_clips_ += left - member.num_held_out;
    members_.push_back(std::move(member));
  }
}

void CorpusMix::apply(const ClipFilter& filter, Member& member) {
  const std::int64_t clips = member.filtered.kept;
  member.filtered = {};
  for (std::int64_t clip = 0; clip < clips; ++clip) {
    const std::string reason = filter_reason(filter, member.corpus->clip(clip));
    member.filtered.add(reason);
    if (reason.empty()) member.kept.push_back(clip);
  }
  ZOETROPE_CHECK_CONFIG(!member.kept.empty(), "the filter leaves nothing of corpus ",
                        member.corpus->folder().string(), ": ", member.filtered.describe());
}

std::int64_t CorpusMix::number_in(const Member& member, std::int64_t clip) {
  const std::int64_t number = clip - member.first_clip + member.num_held_out;
  return member.kept.empty() ? number : member.kept[static_cast<std::size_t>(number)];
}

std::vector<CorpusMix::HeldOutClip> CorpusMix::held_out() const {
  std::vector<HeldOutClip> clips;
  for (const Member& member : members_) {
    for (std::int64_t i = 0; i < member.num_held_out; ++i) {
      const std::int64_t number = number_in(member, member.first_clip - member.num_held_out + i);
      clips.push_back({member.corpus.get(), member.corpus->clip(number)});
    }
  }
  return clips;
}

const FilterCounts& CorpusMix::filtered(std::int64_t part) const {
  return members_.at(static_cast<std::size_t>(part)).filtered;
}

const Corpus& CorpusMix::part(std::int64_t index) const {
  return *members_.at(static_cast<std::size_t>(index)).corpus;
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
  return member.corpus->shape(number_in(member, clip));
}

ClipRecord CorpusMix::clip(std::int64_t clip) const {
  const Member& member = member_of(clip);
  return member.corpus->clip(number_in(member, clip));
}

LatentRecord CorpusMix::latent(std::int64_t clip, const ClipRecord& record) const {
  return member_of(clip).corpus->latent(record);
}

TextRecord CorpusMix::text(std::int64_t clip, const std::string& text_id) const {
  return member_of(clip).corpus->text(text_id);
}

std::int64_t CorpusMix::tokens(std::int64_t clip, const std::vector<std::int64_t>& patch) const {
  const LatentShape latent = shape(clip);
  return (latent.frames / patch[0]) * (latent.height / patch[1]) * (latent.width / patch[2]);
}

std::vector<CorpusMix::Kind> CorpusMix::kinds(const std::vector<std::int64_t>& patch,
                                              const DrawConfig& draw) const {
  ZOETROPE_CHECK_CONFIG(num_clips_ <= std::numeric_limits<std::uint32_t>::max(),
                        "draw tells kinds of at most 4,294,967,295 clips apart, here are ",
                        num_clips_);
  std::map<ClipKind, Kind> kinds;
  std::map<ClipKind, std::int64_t> counts;
  std::vector<double> weights;
  for (std::size_t m = 0; m < members_.size(); ++m) {
    weights.push_back(members_[m].weight);
    const std::int64_t end = m + 1 < members_.size() ? members_[m + 1].first_clip : num_clips_;
    for (std::int64_t clip = members_[m].first_clip; clip < end; ++clip) {
      const std::int64_t length = tokens(clip, patch);
      const ClipKind kind{static_cast<std::int64_t>(m), shape(clip).frames == 1,
                          size_rule(draw, length)};
      kinds[kind].clips.push_back(static_cast<std::uint32_t>(clip));
      kinds[kind].tokens += length;
      ++counts[kind];
    }
  }
  std::vector<Kind> result;
  for (const auto& [kind, share] : shares_of(draw, counts, weights)) {
    result.push_back(std::move(kinds[kind]));
    result.back().kind = kind;
    result.back().share = share;
  }
  return result;
}

ClipPool CorpusMix::pool(const std::vector<std::int64_t>& patch, const DrawConfig& draw) const {
  ZOETROPE_CHECK(patch.size() == 3, "a patch of ", patch.size(), " sides");
  check_draw(draw);
  std::vector<ClipPool::Part> parts;
  const auto length = [this, patch](std::int64_t clip) { return tokens(clip, patch); };
  if (draw.has_kinds()) {
    for (Kind& kind : kinds(patch, draw)) {
      const auto clips = std::make_shared<std::vector<std::uint32_t>>(std::move(kind.clips));
      parts.push_back({static_cast<std::int64_t>(clips->size()), kind.share, clips});
    }
    return {parts, length};
  }
  for (const Member& member : members_) {
    parts.push_back({member.filtered.kept - member.num_held_out, member.weight});
  }
  return {parts, length};
}

}  // namespace zoetrope::data
