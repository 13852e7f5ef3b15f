// Places kept frames and fills the gaps between them.
#include "train/kept_frames.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace zoetrope::train {
namespace {

// Where output frame `i` comes from.
struct Source {
  const KeptClip* clip = nullptr;  // null: was not asked for
  int frame = 0;
};

std::vector<Source> sources_of(const std::vector<KeptClip>& clips, int num_frames) {
  std::vector<Source> sources(static_cast<std::size_t>(num_frames));
  for (const KeptClip& clip : clips) {
    const int length = clip.frames.num_frames;
    const int first = clip.first < 0 ? num_frames + clip.first : clip.first;
    ZOETROPE_CHECK_CONFIG(first >= 0 && first + length <= num_frames, "a kept clip of ", length,
                          " frames at frame ", clip.first, " does not fit into ", num_frames,
                          " frames");
    for (int i = 0; i < length; ++i) {
      Source& source = sources[static_cast<std::size_t>(first + i)];
      ZOETROPE_CHECK_CONFIG(source.clip == nullptr, "two kept clips claim frame ", first + i);
      source = {&clip, i};
    }
  }
  return sources;
}

// The nearest frame that was asked for; the earlier of two.
const Source& nearest(const std::vector<Source>& sources, int place) {
  const Source* best = nullptr;
  int distance = 0;
  for (int i = 0; i < static_cast<int>(sources.size()); ++i) {
    if (sources[static_cast<std::size_t>(i)].clip == nullptr) continue;
    if (best != nullptr && std::abs(i - place) >= distance) continue;
    best = &sources[static_cast<std::size_t>(i)];
    distance = std::abs(i - place);
  }
  return *best;
}

}  // namespace

KeptVideo place_kept(const std::vector<KeptClip>& clips, int num_frames, int height, int width,
                     int time_stride) {
  ZOETROPE_CHECK(!clips.empty(), "no frames to keep");
  for (const KeptClip& clip : clips) {
    ZOETROPE_CHECK_CONFIG(clip.frames.height == height && clip.frames.width == width,
                          "kept frames are ", clip.frames.height, "x", clip.frames.width,
                          " (height x width), the output is ", height, "x", width);
  }
  const std::vector<Source> sources = sources_of(clips, num_frames);
  KeptVideo video;
  video.frames.num_frames = num_frames;
  video.frames.height = height;
  video.frames.width = width;
  const std::size_t bytes = video.frames.frame_bytes();
  video.latent_frames.resize(static_cast<std::size_t>(1 + (num_frames - 1) / time_stride));
  for (int i = 0; i < num_frames; ++i) {
    const Source& source = nearest(sources, i);
    const auto begin =
        source.clip->frames.rgb.begin() + static_cast<std::ptrdiff_t>(bytes) * source.frame;
    video.frames.rgb.insert(video.frames.rgb.end(), begin,
                            begin + static_cast<std::ptrdiff_t>(bytes));
    if (sources[static_cast<std::size_t>(i)].clip != nullptr) {
      video.latent_frames[static_cast<std::size_t>((i + time_stride - 1) / time_stride)] = true;
    }
  }
  return video;
}

}  // namespace zoetrope::train
