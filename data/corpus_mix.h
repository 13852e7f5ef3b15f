// The corpora that a run trains on, their clips numbered one corpus after the other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/clip_draw.h"
#include "data/clip_filter.h"
#include "data/clip_pool.h"
#include "data/corpus.h"

namespace zoetrope::data {

class CorpusMix {
 public:
  struct Part {
    std::filesystem::path folder;
    double weight = 1;  // share of the samples, relative to the other parts
    std::function<LatentRecord(const ClipRecord&)> make_latent;  // see CorpusOptions
  };
  // ConfigError when one has no clips, or two differ in what makes latents and text states mean the
  // same: VAE, text encoder, latent channels.
  // Also when the filter leaves nothing of a corpus; with a filter, the manifest is read once.
  // `hold_out` clips in all, those whose ids come first in each corpus (ids are hashes), at most a
  // tenth of it but one at least, are left out: they have no number.
  CorpusMix(const std::vector<Part>& parts, const CorpusOptions& options = {},
            const ClipFilter& filter = {}, std::int64_t hold_out = 0);

  const Json& header() const { return members_.front().corpus->header(); }
  std::int64_t num_clips() const { return num_clips_; }
  std::int64_t num_parts() const { return static_cast<std::int64_t>(members_.size()); }
  const Corpus& part(std::int64_t index) const;
  struct HeldOutClip {
    const Corpus* corpus = nullptr;
    ClipRecord clip;
  };
  std::vector<HeldOutClip> held_out() const;
  // Of the filter; all clips are kept without one.
  const FilterCounts& filtered(std::int64_t part) const;
  // Thread-safe; clip 0 .. num_clips - 1.
  LatentShape shape(std::int64_t clip) const;
  ClipRecord clip(std::int64_t clip) const;
  // `record`: what clip() gave for it.
  LatentRecord latent(std::int64_t clip, const ClipRecord& record) const;
  // A text of this clip's corpus; "" is the null text.
  TextRecord text(std::int64_t clip, const std::string& text_id) const;
  // A pool of these clips, a patch of `patch` latent positions a token. The mix outlives it. Asks
  // for every length, and keeps 4 bytes a clip, when `draw` tells kinds of clips apart.
  ClipPool pool(const std::vector<std::int64_t>& patch, const DrawConfig& draw = {}) const;
  // The kinds that `draw` tells apart, and what samples have of each.
  struct Kind {
    ClipKind kind;
    std::vector<std::uint32_t> clips;
    std::int64_t tokens = 0;  // of all
    double share = 0;         // of the samples
  };
  std::vector<Kind> kinds(const std::vector<std::int64_t>& patch, const DrawConfig& draw) const;

 private:
  struct Member {
    std::unique_ptr<Corpus> corpus;
    double weight = 1;
    std::int64_t first_clip = 0;
    std::vector<std::int64_t> kept;  // by the filter; empty: all
    FilterCounts filtered;
    std::int64_t num_held_out = 0;  // the first of those
  };
  static void apply(const ClipFilter& filter, Member& member);
  const Member& member_of(std::int64_t clip) const;
  std::int64_t tokens(std::int64_t clip, const std::vector<std::int64_t>& patch) const;
  static std::int64_t number_in(const Member& member, std::int64_t clip);

  std::vector<Member> members_;
  std::int64_t num_clips_ = 0;
};

}  // namespace zoetrope::data
