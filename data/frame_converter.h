// One decoded picture -> packed RGB: right matrix and range, upright, square pixels, target size.
// The same input and FFmpeg version give the same bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/ffmpeg.h"
#include "data/frames.h"
#include "data/tone_map.h"
#include "data/video_reader.h"
#include "data/yuv_to_rgb.h"

namespace zoetrope::data {

// How the stored picture is turned to stand upright: transposed first, then mirrored.
struct Orientation {
  bool transpose = false;
  bool flip_x = false;
  bool flip_y = false;
  int rotation_deg = 0;  // clockwise, of the turn alone
};

// From the nine numbers of a display matrix, nearest right angle; nullptr is upright.
Orientation orientation_of(const std::int32_t* display_matrix);

struct PictureSize {
  int width = 0;
  int height = 0;
  bool operator==(const PictureSize&) const = default;
};

// The size on a screen with square pixels: width times the sample aspect ratio, then turned.
// An unset ratio is 1. Nothing when the ratio lies outside 1/16 .. 16 (a broken file).
std::optional<PictureSize> shown_size(int coded_width, int coded_height, AVRational sample_aspect,
                                      const Orientation& orientation);

// `shown` scaled down to at most max_pixels (0: no limit), aspect kept, sides floored.
PictureSize scaled_size(PictureSize shown, std::int64_t max_pixels);

class FrameConverter {
 public:
  explicit FrameConverter(const DecodeRequest& request) : request_(request) {}

  // False when `picture` has another shape than the first one (the clip ends there); pictures of
  // the same shape in another size are scaled to the first's size.
  bool same_shape(const AVFrame& picture, const Orientation& orientation) const;
  // Fills `rgb` with height() * width() * 3 bytes, or says why it cannot.
  std::optional<SkipReason> convert(const AVFrame& picture, const Orientation& orientation,
                                    std::vector<std::uint8_t>& rgb);
  int width() const { return crop_.width; }
  int height() const { return crop_.height; }

 private:
  std::optional<SkipReason> choose_size(const AVFrame& picture, const Orientation& orientation);
  std::optional<SkipReason> prepare_scaler(const AVFrame& picture, PictureSize target);
  std::optional<SkipReason> refuse_colours(const AVFrame& picture) const;
  void tone_map(const AVFrame& picture);
  template <class Map>
  void map_rows(const Map& map);
  void turn_and_crop(const Orientation& orientation, std::vector<std::uint8_t>& rgb) const;

  // What a swscale context was made for.
  struct ScalerKey {
    int width = 0, height = 0, format = -1, colorspace = -1, range = -1, chroma = -1;
    bool hdr = false;
    PictureSize target;  // another one when the stored picture is turned another way
    bool operator==(const ScalerKey&) const = default;
  };

  DecodeRequest request_;
  PictureSize shown_;   // of the first picture
  PictureSize scaled_;  // upright, before the crop
  PictureSize crop_;    // what comes out
  ScalerKey key_;
  UniqueSws scaler_;
  AVPixelFormat scaled_format_ = AV_PIX_FMT_NONE;  // what it makes; see frame_converter.cpp
  UniqueFrame planes_;                             // that, unless it is RGB
  YuvToRgb to_rgb_;
  std::optional<ToneMap> tone_map_;
  UniqueFrame scaled_frame_;  // RGB24 in the stored orientation
};

}  // namespace zoetrope::data
