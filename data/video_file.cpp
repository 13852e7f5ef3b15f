// See video_file.h.

#include "data/video_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/error.h"

namespace zoetrope::data {

namespace {

// Demuxers that read nothing but the file they are given. Playlists (hls, dash, concat, sdp, ...)
// are out.
constexpr const char* kAcceptedFormats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv,asf,mxf,gif,apng,yuv4mpegpipe,"
    "ivf,nut,dv,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe";
constexpr std::int64_t kProbeBytes = 5'000'000;
constexpr int kMaxStreams = 100;
constexpr double kClockResetS = 0.25;  // a step back beyond this is a new clock, not jitter
constexpr double kFallbackFps = 25;

// A file that names other files (references, playlists, chapters) does not get them.
int refuse_other_files(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EACCES);
}

// FFmpeg's "subfile" shows a stretch of a file as a file.
std::string url_of(const MediaFile& media) {
  const std::string file = "file:" + media.path.string();
  if (!media.is_member) return file;
  return concat("subfile,,start,", media.offset, ",end,", media.offset + media.bytes, ",,:", file);
}

bool is_accepted(const AVInputFormat& format) {
  // Names are comma lists on both sides; one shared name is enough.
  return av_match_list(format.name, kAcceptedFormats, ',') > 0;
}

bool is_picture_pipe(const AVInputFormat& format) {
  const std::size_t length = std::strlen(format.name);
  return length > 5 && std::strcmp(format.name + length - 5, "_pipe") == 0;
}

bool is_cover(const AVStream& stream) {
  return (stream.disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) !=
         0;
}

const std::int32_t* stream_display_matrix(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  const AVPacketSideData* data =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  return data != nullptr && data->size >= 9 * sizeof(std::int32_t)
             ? reinterpret_cast<const std::int32_t*>(data->data)
             : nullptr;
#else
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
  return reinterpret_cast<const std::int32_t*>(data);
#endif
}

SkipReason unreadable_format(const AVInputFormat& format, int code) {
  if (code == AVERROR(ENOMEM)) return {"out_of_memory", "opening the file hit the memory limit"};
  return {"truncated",
          concat("looks like ", format.name, " but its index or header is missing or broken (",
                 av_error_text(code), ")")};
}

double picture_duration_s(const AVFrame& frame, AVRational time_base) {
#if LIBAVUTIL_VERSION_MAJOR >= 58
  const std::int64_t duration = frame.duration;
#else
  const std::int64_t duration = frame.pkt_duration;
#endif
  return duration > 0 ? static_cast<double>(duration) * av_q2d(time_base) : 0;
}

}  // namespace

OrSkip<std::unique_ptr<VideoFile>> VideoFile::open(const MediaFile& media) {
  std::unique_ptr<VideoFile> file(new VideoFile);  // the constructor is private
  file->media_ = media;
  file->packet_.reset(av_packet_alloc());
  file->frame_.reset(av_frame_alloc());
  ZOETROPE_CHECK(file->packet_ && file->frame_, "no memory for a packet and a frame");
  if (auto reason = file->open_format()) return *reason;
  if (auto reason = file->choose_stream()) return *reason;
  if (auto reason = file->open_codec()) return *reason;
  return file;
}

std::optional<SkipReason> VideoFile::open_format() {
  AvOptions io_options;
  io_options.set("protocol_whitelist", "file,subfile");
  AVIOContext* io = nullptr;
  int code = avio_open2(&io, url_of(media_).c_str(), AVIO_FLAG_READ, nullptr, io_options.address());
  if (code < 0) return SkipReason{"unreadable", av_error_text(code)};
  input_.reset();
  io_.reset(io);

  // No name is given: "x%03d.png" must not become an image sequence, nor ".mp4" decide anything.
  decltype(av_find_input_format("")) format = nullptr;
  code = av_probe_input_buffer2(io_.get(), &format, "", nullptr, 0, 0);
  if (code < 0 || format == nullptr) {
    return SkipReason{"not_a_video", "no known video or image format"};
  }
  if (!is_accepted(*format)) {
    return SkipReason{"not_a_video", concat("format ", format->name, " is not accepted")};
  }

  AVFormatContext* input = avformat_alloc_context();
  ZOETROPE_CHECK(input != nullptr, "no memory for a demuxer");
  input->pb = io_.get();
  input->io_open = refuse_other_files;
  input->probesize = kProbeBytes;
  input->max_streams = kMaxStreams;
  AvOptions options;
  options.set("format_whitelist", kAcceptedFormats);
  options.set("protocol_whitelist", "file");
  code = avformat_open_input(&input, "", format, options.address());  // frees input on failure
  if (code < 0) return unreadable_format(*format, code);
  input_.reset(input);
  is_image_ = is_picture_pipe(*format);
  code = avformat_find_stream_info(input_.get(), nullptr);
  if (code < 0) return unreadable_format(*format, code);
  return std::nullopt;
}

std::optional<SkipReason> VideoFile::choose_stream() {
  int num_covers = 0, num_known = 0;
  stream_ = nullptr;
  for (unsigned index = 0; index < input_->nb_streams; ++index) {
    AVStream* stream = input_->streams[index];
    stream->discard = AVDISCARD_ALL;
    if (stream->codecpar->codec_id != AV_CODEC_ID_NONE || stream->codecpar->codec_tag != 0)
      ++num_known;
    if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) continue;
    if (is_cover(*stream)) {
      ++num_covers;
      continue;
    }
    auto area = [](const AVStream& s) {
      return std::int64_t{s.codecpar->width} * s.codecpar->height;
    };
    if (stream_ == nullptr || area(*stream) > area(*stream_)) stream_ = stream;
  }
  if (num_known == 0) {  // half an index names streams without saying what they are
    return SkipReason{"truncated", concat(input_->iformat->name, " without a readable stream")};
  }
  if (stream_ == nullptr) {
    return SkipReason{"no_video_stream",
                      concat(input_->iformat->name, " with ", input_->nb_streams, " streams, ",
                             num_covers, " of them cover pictures, none of them video")};
  }
  stream_->discard = AVDISCARD_DEFAULT;
  const AVRational rate = av_guess_frame_rate(input_.get(), stream_, nullptr);
  const AVRational average = stream_->avg_frame_rate;
  if (average.num > 0 && average.den > 0) {
    fps_ = av_q2d(average);
  } else if (rate.num > 0 && rate.den > 0) {
    fps_ = av_q2d(rate);
  }
  if (is_image_) fps_ = 0;
  origin_s_.reset();
  return std::nullopt;
}

std::optional<SkipReason> VideoFile::open_codec() {
  const AVCodecParameters& parameters = *stream_->codecpar;
  const AVCodec* decoder = avcodec_find_decoder(parameters.codec_id);
  const char* name = avcodec_get_name(parameters.codec_id);
  if (decoder == nullptr) return SkipReason{"codec_unsupported", concat("no decoder for ", name)};
  codec_.reset(avcodec_alloc_context3(decoder));
  ZOETROPE_CHECK(codec_ != nullptr, "no memory for a decoder");
  int code = avcodec_parameters_to_context(codec_.get(), &parameters);
  codec_->pkt_timebase = stream_->time_base;
  codec_->thread_count = 1;
  codec_->flags |= AV_CODEC_FLAG_BITEXACT;
  if (is_image_)
    codec_->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;  // half a picture is none
  if (code >= 0) code = avcodec_open2(codec_.get(), decoder, nullptr);
  if (code < 0) {
    return SkipReason{"codec_unsupported", concat(name, " does not open: ", av_error_text(code))};
  }
  forget_position();
  return std::nullopt;
}

void VideoFile::forget_position() {
  drained_ = false;
  damaged_until_intra_ = false;
  bad_since_.reset();
  last_pts_s_.reset();
  jump_s_ = 0;
}

Orientation VideoFile::orientation(const AVFrame& picture) const {
  const std::int32_t* matrix = stream_display_matrix(*stream_);
  if (matrix == nullptr) {
    const AVFrameSideData* data = av_frame_get_side_data(&picture, AV_FRAME_DATA_DISPLAYMATRIX);
    if (data != nullptr) matrix = reinterpret_cast<const std::int32_t*>(data->data);
  }
  return orientation_of(matrix);
}

VideoInfo VideoFile::info() const {
  const AVCodecParameters& parameters = *stream_->codecpar;
  const Orientation turn = orientation_of(stream_display_matrix(*stream_));
  const AVRational aspect = av_guess_sample_aspect_ratio(input_.get(), stream_, nullptr);
  VideoInfo info;
  info.container = input_->iformat->name;
  info.codec = avcodec_get_name(parameters.codec_id);
  const char* format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(parameters.format));
  info.pixel_format = format == nullptr ? "unknown" : format;
  info.coded_width = parameters.width;
  info.coded_height = parameters.height;
  if (const auto shown = shown_size(parameters.width, parameters.height, aspect, turn)) {
    info.width = shown->width;
    info.height = shown->height;
  }
  info.rotation_deg = turn.rotation_deg;
  info.is_image = is_image_;
  if (is_image_) {
    info.num_frames = 1;
    return info;
  }
  info.fps = fps_;
  info.num_frames = std::max<std::int64_t>(0, stream_->nb_frames);
  if (stream_->duration > 0) {
    info.duration_s = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
  } else if (input_->duration > 0) {
    info.duration_s = static_cast<double>(input_->duration) / AV_TIME_BASE;
  }
  return info;
}

// Hands the decoder one packet, or the end of the stream. False when there is nothing more to feed.
bool VideoFile::feed() {
  if (drained_) return false;
  for (;;) {
    int code = av_read_frame(input_.get(), packet_.get());
    if (code == AVERROR(EAGAIN)) continue;
    if (code < 0) {
      if (code != AVERROR_EOF && first_error_.empty()) first_error_ = av_error_text(code);
      drained_ = true;
      avcodec_send_packet(codec_.get(), nullptr);
      return true;
    }
    const bool ours = packet_->stream_index == stream_->index;
    const bool corrupt = (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0;
    // A picture of an image file may end in a packet that the demuxer cut anywhere; only videos
    // judge it.
    const bool judged = ours && corrupt && !is_image_;
    const std::int64_t pts = packet_->pts;
    if (ours && !judged) code = avcodec_send_packet(codec_.get(), packet_.get());
    av_packet_unref(packet_.get());
    if (!ours) continue;
    if (code == AVERROR(ENOMEM)) throw std::bad_alloc();
    if (!judged && code >= 0) return true;
    note_bad_packet(pts, judged ? "cut packet" : av_error_text(code));
  }
}

// Pictures shown before the bad packet's own time are still whole; `pts` unknown blames the next
// one.
void VideoFile::note_bad_packet(std::int64_t pts, const std::string& error) {
  ++bad_packets_;
  if (first_error_.empty()) first_error_ = error;
  if (!bad_since_) bad_since_ = pts == AV_NOPTS_VALUE ? INT64_MIN : pts;
}

// After damage, pictures stay damaged up to the next intra picture.
bool VideoFile::is_damaged(const AVFrame& frame) {
  const bool flagged = frame.decode_error_flags != 0 || (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0;
  const bool reached = bad_since_ && (frame.best_effort_timestamp == AV_NOPTS_VALUE ||
                                      frame.best_effort_timestamp >= *bad_since_);
  if (frame.pict_type == AV_PICTURE_TYPE_I) damaged_until_intra_ = false;
  if (flagged || reached) {
    damaged_until_intra_ = true;
    bad_since_.reset();
  }
  if (damaged_until_intra_) ++damaged_pictures_;
  return damaged_until_intra_;
}

VideoFile::Picture VideoFile::describe(AVFrame& frame) {
  Picture picture;
  picture.frame = &frame;
  const double period_s = 1 / (fps_ > 0 ? fps_ : kFallbackFps);
  picture.duration_s = picture_duration_s(frame, stream_->time_base);
  if (picture.duration_s <= 0) picture.duration_s = period_s;
  double pts_s = last_pts_s_ ? *last_pts_s_ + period_s : 0;
  if (frame.best_effort_timestamp != AV_NOPTS_VALUE) {
    const double stream_s =
        static_cast<double>(frame.best_effort_timestamp) * av_q2d(stream_->time_base);
    if (!origin_s_) origin_s_ = stream_s;
    pts_s = stream_s - *origin_s_ + jump_s_;
    if (last_pts_s_ && pts_s < *last_pts_s_ - kClockResetS) {
      if (bad_since_) bad_since_ = INT64_MIN;  // was told by the old clock
      jump_s_ += *last_pts_s_ + period_s - pts_s;
      pts_s = *last_pts_s_ + period_s;
    }
  }
  if (last_pts_s_) pts_s = std::max(pts_s, *last_pts_s_);
  last_pts_s_ = pts_s;
  picture.pts_s = is_image_ ? 0 : pts_s;
  picture.damaged = is_damaged(frame);
  return picture;
}

std::optional<VideoFile::Picture> VideoFile::next() {
  for (;;) {
    const int code = avcodec_receive_frame(codec_.get(), frame_.get());
    if (code == 0) {
      const AVRational aspect = av_guess_sample_aspect_ratio(input_.get(), stream_, frame_.get());
      frame_->sample_aspect_ratio = aspect;
      return describe(*frame_);
    }
    if (code == AVERROR_EOF) return std::nullopt;
    if (code == AVERROR(ENOMEM)) throw std::bad_alloc();
    if (code != AVERROR(EAGAIN)) note_bad_packet(AV_NOPTS_VALUE, av_error_text(code));
    if (!feed()) return std::nullopt;
  }
}

bool VideoFile::seek(double time_s) {
  if (is_image_ || !origin_s_) return false;
  const double stream_s = *origin_s_ + time_s;
  const auto target = static_cast<std::int64_t>(std::floor(stream_s / av_q2d(stream_->time_base)));
  const int code = avformat_seek_file(input_.get(), stream_->index, INT64_MIN, target, target, 0);
  if (code < 0) return false;
  avcodec_flush_buffers(codec_.get());
  forget_position();
  return true;
}

std::optional<SkipReason> VideoFile::rewind() {
  codec_.reset();
  if (auto reason = open_format()) return reason;
  if (auto reason = choose_stream()) return reason;
  return open_codec();
}

std::string VideoFile::damage() const {
  if (bad_packets_ == 0 && damaged_pictures_ == 0 && first_error_.empty()) return "";
  return concat(bad_packets_, " bad packets, ", damaged_pictures_, " damaged pictures",
                first_error_.empty() ? "" : ", first error: ", first_error_);
}

}  // namespace zoetrope::data
