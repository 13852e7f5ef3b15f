// Reads videos and images with FFmpeg in a child process with limits, so that a hostile or broken
// file ends as a SkipReason and never takes this process along. The child (zoetrope_decoder, beside
// the running program) is started at the first request and reused; after a crash or a time-out the
// next request gets a new one. One reader serves one thread at a time. data/README.md has the rules
// of decoding.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include "data/frames.h"
#include "data/media_file.h"

namespace zoetrope::data {

struct VideoInfo {
  std::string container, codec, pixel_format;
  int width = 0, height = 0;  // as shown: rotation and sample aspect ratio applied
  int coded_width = 0, coded_height = 0;
  double fps = 0;               // average; 0 for a still image
  double duration_s = 0;        // 0 when the file does not say
  std::int64_t num_frames = 0;  // 0 when the file does not say
  int rotation_deg = 0;         // clockwise, to stand upright: 0, 90, 180, 270
  bool is_image = false;
};

struct DecodeRequest {
  std::filesystem::path path;  // of a file, or "shard.tar/KEY.mp4"
  double start_s = 0;
  double end_s = std::numeric_limits<double>::infinity();
  double fps = 0;               // resample to this rate by pts; 0 keeps every frame
  int max_frames = 0;           // 0 = no limit
  std::int64_t max_pixels = 0;  // of one frame: scaled down, never distorted; 0 = no limit
  int size_multiple = 1;        // height and width are floored to this multiple by a centred crop
  int frames_multiple = 1;      // frames are trimmed at the end to 1 + k * frames_multiple
  bool tone_map_hdr = false;    // PQ and HLG become SDR (data/tone_map.h), else a SkipReason
};

struct DecodeLimits {
  std::int64_t memory_bytes = std::int64_t{2} << 30;
  double wall_s = 120;                                // a request; with stream(), a picture
  std::int64_t output_bytes = std::int64_t{4} << 30;  // decoded frames of a request
};

class VideoReader {
 public:
  explicit VideoReader(DecodeLimits limits = {});
  ~VideoReader();
  VideoReader(const VideoReader&) = delete;
  VideoReader& operator=(const VideoReader&) = delete;

  OrSkip<VideoInfo> probe(const std::filesystem::path& path);
  // Throws Error for a request that makes no sense, and when the child cannot be started.
  // Pictures are shown upright with square pixels. YUV is converted with the file's own matrix and
  // range (BT.601 up to 576 lines, else BT.709, when the file does not say).
  OrSkip<Frames> read(const DecodeRequest& request);
  // The same pictures one at a time, so that a video of any length fits; frames_multiple trims
  // nothing here. Returns their rate. The time limit holds for each picture, output_bytes does not
  // count. Index 0 may come twice: when the child died and another one starts from the beginning.
  OrSkip<double> stream(const DecodeRequest& request,
                        const std::function<void(const RgbPicture&)>& use);

 private:
  struct Child;
  template <class Result, class Talk>
  OrSkip<Result> ask(const std::filesystem::path& path, const Talk& talk);
  std::optional<SkipReason> find(const std::filesystem::path& path, MediaFile& media);

  DecodeLimits limits_;
  MediaFinder files_;
  std::unique_ptr<Child> child_;
};

}  // namespace zoetrope::data
