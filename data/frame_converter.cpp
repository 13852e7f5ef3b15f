// See frame_converter.h. swscale brings luma and chroma to the target size in one pass; then rows
// of them become RGB. Turning and cropping copy pixels.

#include "data/frame_converter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace zoetrope::data {

namespace {

constexpr double kMaxSampleAspect = 16;
constexpr int kLargestSdHeight = 576;  // without a tag, up to here BT.601, above BT.709
constexpr int kScalerFlags =
    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;

constexpr unsigned kMostNits = 10000;  // the end of PQ
constexpr double kUsualNits = 1000;

bool is_hdr(const AVFrame& picture) {
  return picture.color_trc == AVCOL_TRC_SMPTE2084 || picture.color_trc == AVCOL_TRC_ARIB_STD_B67;
}

bool is_yuv(const AVFrame& picture, const AVPixFmtDescriptor& format) {
  const bool xyz = picture.format == AV_PIX_FMT_XYZ12LE || picture.format == AV_PIX_FMT_XYZ12BE;
  return (format.flags & AV_PIX_FMT_FLAG_RGB) == 0 && format.nb_components >= 3 && !xyz;
}

bool is_full_range(const AVFrame& picture) {
  switch (picture.format) {
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P:
      return true;
    default:
      return picture.color_range == AVCOL_RANGE_JPEG;
  }
}

// What swscale is asked for. Its own exact way from YUV to RGB takes three times as long as the
// planes and YuvToRgb, which hold all that its filter overshoots only in limited range and where
// pixels are averaged. HDR keeps all bits up to the tone mapping.
AVPixelFormat scaled_format_of(const AVFrame& picture, const AVPixFmtDescriptor& format,
                               PictureSize target) {
  if (is_hdr(picture)) return AV_PIX_FMT_YUV444P16;
  const bool averages = std::int64_t{2} * target.width * target.height <=
                        std::int64_t{1} * picture.width * picture.height;
  const bool planes = is_yuv(picture, format) && !is_full_range(picture) && averages;
  return planes ? AV_PIX_FMT_YUV444P10 : AV_PIX_FMT_RGB24;
}

bool is_gray(const AVPixFmtDescriptor& format) {
  return (format.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) == 0 &&
         format.nb_components <= 2;
}

// The SWS_CS_* number of the picture's matrix; -1 when swscale does not know it.
int matrix_of(const AVFrame& picture) {
  switch (picture.colorspace) {
    case AVCOL_SPC_BT709:
      return SWS_CS_ITU709;
    case AVCOL_SPC_FCC:
      return SWS_CS_FCC;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
      return SWS_CS_ITU601;
    case AVCOL_SPC_SMPTE240M:
      return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
      return SWS_CS_BT2020;
    case AVCOL_SPC_UNSPECIFIED:
    case AVCOL_SPC_RESERVED:
      return picture.height <= kLargestSdHeight ? SWS_CS_ITU601 : SWS_CS_ITU709;
    default:
      return -1;
  }
}

// Where chroma sits, in 1/256 of a luma pixel. Only 4:2:0 and 4:2:2 have a choice.
void set_chroma_position(SwsContext* scaler, const AVFrame& picture,
                         const AVPixFmtDescriptor& format) {
  if (picture.chroma_location == AVCHROMA_LOC_UNSPECIFIED || format.log2_chroma_w == 0) return;
  const bool left = picture.chroma_location == AVCHROMA_LOC_LEFT ||
                    picture.chroma_location == AVCHROMA_LOC_TOPLEFT ||
                    picture.chroma_location == AVCHROMA_LOC_BOTTOMLEFT;
  const bool top = picture.chroma_location == AVCHROMA_LOC_TOPLEFT ||
                   picture.chroma_location == AVCHROMA_LOC_TOP;
  const bool bottom = picture.chroma_location == AVCHROMA_LOC_BOTTOMLEFT ||
                      picture.chroma_location == AVCHROMA_LOC_BOTTOM;
  av_opt_set_int(scaler, "src_h_chr_pos", left ? 0 : 128, 0);
  if (format.log2_chroma_h != 0) {
    av_opt_set_int(scaler, "src_v_chr_pos", top ? 0 : bottom ? 256 : 128, 0);
  }
}

// The brightest light of an HDR picture: what the file says, else the usual mastering screen.
double peak_nits(const AVFrame& picture) {
  const AVFrameSideData* light =
      av_frame_get_side_data(&picture, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
  if (light != nullptr) {
    const auto* level = reinterpret_cast<const AVContentLightMetadata*>(light->data);
    if (level->MaxCLL > 0) return std::min(level->MaxCLL, kMostNits);
  }
  const AVFrameSideData* mastering =
      av_frame_get_side_data(&picture, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
  if (mastering != nullptr) {
    const auto* screen = reinterpret_cast<const AVMasteringDisplayMetadata*>(mastering->data);
    const AVRational most = screen->max_luminance;
    if (screen->has_luminance && most.num > 0 && most.den > 0)
      return std::min(av_q2d(most), double{kMostNits});
  }
  return kUsualNits;
}

std::optional<SkipReason> make_room(UniqueFrame& frame, AVPixelFormat format, PictureSize size) {
  if (frame && frame->format == format && PictureSize{frame->width, frame->height} == size)
    return std::nullopt;
  frame.reset(av_frame_alloc());
  ZOETROPE_CHECK(frame != nullptr, "no memory for a frame");
  frame->format = format;
  frame->width = size.width;
  frame->height = size.height;
  const int code = av_frame_get_buffer(frame.get(), 0);
  if (code < 0) return SkipReason{"out_of_memory", av_error_text(code)};
  return std::nullopt;
}

// swscale takes every gray picture as full range; a limited one is stretched here.
void stretch_limited_gray(std::vector<std::uint8_t>& rgb) {
  std::array<std::uint8_t, 256> stretched;
  for (int level = 0; level < 256; ++level) {
    stretched[level] =
        static_cast<std::uint8_t>(std::clamp(std::lround((level - 16) * 255.0 / 219), 0L, 255L));
  }
  for (std::uint8_t& level : rgb) level = stretched[level];
}

}  // namespace

Orientation orientation_of(const std::int32_t* display_matrix) {
  Orientation orientation;
  if (display_matrix == nullptr) return orientation;
  // Shown x = a x + c y, shown y = b x + d y.
  const std::int64_t a = display_matrix[0], b = display_matrix[1];
  const std::int64_t c = display_matrix[3], d = display_matrix[4];
  orientation.transpose = std::abs(b) + std::abs(c) > std::abs(a) + std::abs(d);
  orientation.flip_x = (orientation.transpose ? c : a) < 0;
  orientation.flip_y = (orientation.transpose ? b : d) < 0;
  if (orientation.transpose) {
    orientation.rotation_deg = b > 0 ? 90 : 270;
  } else {
    orientation.rotation_deg = a < 0 && d < 0 ? 180 : 0;
  }
  return orientation;
}

std::optional<PictureSize> shown_size(int coded_width, int coded_height, AVRational sample_aspect,
                                      const Orientation& orientation) {
  double aspect = 1;
  if (sample_aspect.num > 0 && sample_aspect.den > 0) aspect = av_q2d(sample_aspect);
  if (aspect > kMaxSampleAspect || aspect < 1 / kMaxSampleAspect) return std::nullopt;
  PictureSize size{std::max(1, static_cast<int>(std::lround(coded_width * aspect))), coded_height};
  if (orientation.transpose) std::swap(size.width, size.height);
  return size;
}

PictureSize scaled_size(PictureSize shown, std::int64_t max_pixels) {
  const double pixels = static_cast<double>(shown.width) * shown.height;
  if (max_pixels <= 0 || pixels <= static_cast<double>(max_pixels)) return shown;
  const double scale = std::sqrt(static_cast<double>(max_pixels) / pixels);
  // 1e-9: a side that is whole on paper must not lose a pixel to rounding.
  auto side = [&](int length) { return std::max(1, static_cast<int>(length * scale + 1e-9)); };
  return {side(shown.width), side(shown.height)};
}

bool FrameConverter::same_shape(const AVFrame& picture, const Orientation& orientation) const {
  if (shown_.width == 0) return true;
  const auto shown =
      shown_size(picture.width, picture.height, picture.sample_aspect_ratio, orientation);
  if (!shown) return false;
  const double first = static_cast<double>(shown_.width) / shown_.height;
  const double now = static_cast<double>(shown->width) / shown->height;
  return std::abs(now / first - 1) <= 0.01;  // 1 %: sizes rounded to whole macroblocks still match
}

std::optional<SkipReason> FrameConverter::choose_size(const AVFrame& picture,
                                                      const Orientation& orientation) {
  const auto shown =
      shown_size(picture.width, picture.height, picture.sample_aspect_ratio, orientation);
  if (!shown) {
    return SkipReason{"bad_aspect_ratio",
                      concat("sample aspect ratio ", picture.sample_aspect_ratio.num, ":",
                             picture.sample_aspect_ratio.den, " is not believable")};
  }
  const int multiple = std::max(1, request_.size_multiple);
  const PictureSize scaled = scaled_size(*shown, request_.max_pixels);
  const PictureSize crop{scaled.width / multiple * multiple, scaled.height / multiple * multiple};
  if (crop.width == 0 || crop.height == 0) {
    return SkipReason{"too_small", concat("picture of ", scaled.width, "x", scaled.height,
                                          " is smaller than the size multiple ", multiple)};
  }
  shown_ = *shown;
  scaled_ = scaled;
  crop_ = crop;
  return std::nullopt;
}

std::optional<SkipReason> FrameConverter::prepare_scaler(const AVFrame& picture,
                                                         PictureSize target) {
  const ScalerKey key{
      picture.width,       picture.height,          picture.format,  picture.colorspace,
      picture.color_range, picture.chroma_location, is_hdr(picture), target};
  if (scaler_ && key == key_) return std::nullopt;
  const auto format = static_cast<AVPixelFormat>(picture.format);
  const AVPixFmtDescriptor* description = av_pix_fmt_desc_get(format);
  if (description == nullptr || !sws_isSupportedInput(format)) {
    return SkipReason{"pixel_format_unsupported", concat("pixel format number ", picture.format)};
  }
  const int matrix = is_yuv(picture, *description) ? matrix_of(picture) : SWS_CS_ITU601;
  if (matrix < 0) {
    const char* name = av_color_space_name(picture.colorspace);
    return SkipReason{"colour_unsupported", concat("colour matrix ", name ? name : "unknown")};
  }
  scaler_.reset(sws_alloc_context());
  ZOETROPE_CHECK(scaler_ != nullptr, "no memory for a scaler");
  av_opt_set_int(scaler_.get(), "srcw", picture.width, 0);
  av_opt_set_int(scaler_.get(), "srch", picture.height, 0);
  av_opt_set_int(scaler_.get(), "src_format", picture.format, 0);
  av_opt_set_int(scaler_.get(), "dstw", target.width, 0);
  av_opt_set_int(scaler_.get(), "dsth", target.height, 0);
  scaled_format_ = scaled_format_of(picture, *description, target);
  av_opt_set_int(scaler_.get(), "dst_format", scaled_format_, 0);
  av_opt_set_int(scaler_.get(), "sws_flags", kScalerFlags, 0);
  set_chroma_position(scaler_.get(), picture, *description);
  // Planes for YuvToRgb are compressed: taken for full range and brought to limited range. Others
  // stay as they are, and RGB is full range.
  const bool full_range = is_full_range(picture);
  const bool compresses = scaled_format_ == AV_PIX_FMT_YUV444P10;
  const bool to_full = scaled_format_ == AV_PIX_FMT_RGB24 || (full_range && !compresses);
  const int* coefficients = sws_getCoefficients(matrix);
  sws_setColorspaceDetails(scaler_.get(), coefficients, full_range || compresses ? 1 : 0,
                           coefficients, to_full ? 1 : 0, 0, 1 << 16, 1 << 16);
  to_rgb_ = YuvToRgb(coefficients);
  if (const int code = sws_init_context(scaler_.get(), nullptr, nullptr); code < 0) {
    scaler_.reset();
    return SkipReason{"pixel_format_unsupported",
                      concat(description->name, " ", picture.width, "x", picture.height, " to ",
                             target.width, "x", target.height, ": ", av_error_text(code))};
  }
  key_ = key;
  return std::nullopt;
}

std::optional<SkipReason> FrameConverter::refuse_colours(const AVFrame& picture) const {
  if (!is_hdr(picture)) return std::nullopt;
  if (!request_.tone_map_hdr) {
    return SkipReason{"hdr_unsupported",
                      concat("transfer ", av_color_transfer_name(picture.color_trc),
                             " needs tone mapping to become 8-bit RGB")};
  }
  const auto* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(picture.format));
  const bool bt2020 = picture.color_primaries == AVCOL_PRI_BT2020 ||
                      picture.color_primaries == AVCOL_PRI_UNSPECIFIED;
  if (bt2020 && picture.colorspace == AVCOL_SPC_BT2020_NCL && format != nullptr &&
      is_yuv(picture, *format))
    return std::nullopt;
  const char* primaries = av_color_primaries_name(picture.color_primaries);
  const char* matrix = av_color_space_name(picture.colorspace);
  return SkipReason{"colour_unsupported",
                    concat("HDR with primaries ", primaries ? primaries : "unknown", " and matrix ",
                           matrix ? matrix : "unknown", ", not bt2020 and bt2020nc")};
}

// Rows of the planes to rows of RGB.
template <class Map>
void FrameConverter::map_rows(const Map& map) {
  for (int y = 0; y < planes_->height; ++y) {
    auto plane = [&](int index) {
      return reinterpret_cast<const std::uint16_t*>(planes_->data[index] +
                                                    std::ptrdiff_t{y} * planes_->linesize[index]);
    };
    map.map_row({plane(0), static_cast<std::size_t>(planes_->width)}, plane(1), plane(2),
                scaled_frame_->data[0] + std::ptrdiff_t{y} * scaled_frame_->linesize[0]);
  }
}

// The first picture's peak holds for the whole clip.
void FrameConverter::tone_map(const AVFrame& picture) {
  if (!tone_map_) {
    const auto* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(picture.format));
    const bool pq = picture.color_trc == AVCOL_TRC_SMPTE2084;
    tone_map_.emplace(HdrFormat{.transfer = pq ? HdrTransfer::kPq : HdrTransfer::kHlg,
                                .peak_nits = peak_nits(picture),
                                .full_range = is_full_range(picture),
                                .depth = format->comp[0].depth});
  }
  map_rows(*tone_map_);
}

void FrameConverter::turn_and_crop(const Orientation& orientation,
                                   std::vector<std::uint8_t>& rgb) const {
  const std::uint8_t* pixels = scaled_frame_->data[0];
  const std::ptrdiff_t row_bytes = scaled_frame_->linesize[0];
  const int left = (scaled_.width - crop_.width) / 2, top = (scaled_.height - crop_.height) / 2;
  std::uint8_t* to = rgb.data();
  for (int y = top; y < top + crop_.height; ++y) {
    const int upright_y = orientation.flip_y ? scaled_.height - 1 - y : y;
    if (!orientation.transpose && !orientation.flip_x) {
      const std::uint8_t* row = pixels + upright_y * row_bytes + 3 * left;
      to = std::copy(row, row + std::ptrdiff_t{3} * crop_.width, to);
      continue;
    }
    for (int x = left; x < left + crop_.width; ++x) {
      const int upright_x = orientation.flip_x ? scaled_.width - 1 - x : x;
      const std::uint8_t* pixel = orientation.transpose
                                      ? pixels + upright_x * row_bytes + 3 * upright_y
                                      : pixels + upright_y * row_bytes + 3 * upright_x;
      to = std::copy(pixel, pixel + 3, to);
    }
  }
}

std::optional<SkipReason> FrameConverter::convert(const AVFrame& picture,
                                                  const Orientation& orientation,
                                                  std::vector<std::uint8_t>& rgb) {
  if (auto reason = refuse_colours(picture)) return reason;
  if (crop_.width == 0) {
    if (auto reason = choose_size(picture, orientation)) return reason;
  }
  PictureSize target = scaled_;
  if (orientation.transpose) std::swap(target.width, target.height);
  if (auto reason = prepare_scaler(picture, target)) return reason;
  if (auto reason = make_room(scaled_frame_, AV_PIX_FMT_RGB24, target)) return reason;
  const bool is_rgb = scaled_format_ == AV_PIX_FMT_RGB24;
  if (!is_rgb) {
    if (auto reason = make_room(planes_, scaled_format_, target)) return reason;
  }
  AVFrame& scaled = is_rgb ? *scaled_frame_ : *planes_;
  const int rows = sws_scale(scaler_.get(), picture.data, picture.linesize, 0, picture.height,
                             scaled.data, scaled.linesize);
  if (rows != target.height) {
    return SkipReason{"pixel_format_unsupported",
                      concat("scaler gave ", rows, " of ", target.height, " rows")};
  }
  if (is_hdr(picture)) {
    tone_map(picture);
  } else if (!is_rgb) {
    map_rows(to_rgb_);
  }
  rgb.resize(std::size_t{3} * crop_.width * crop_.height);
  turn_and_crop(orientation, rgb);
  const auto* description = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(picture.format));
  if (is_gray(*description) && picture.color_range == AVCOL_RANGE_MPEG) stretch_limited_gray(rgb);
  return std::nullopt;
}

}  // namespace zoetrope::data
