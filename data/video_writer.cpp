// See video_writer.h: write_mp4 and write_clip. PNG is in png_file.cpp, sheets in
// contact_sheet.cpp.

#include "data/video_writer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/ffmpeg.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxRateTerm = 1'001'000;  // holds 30000/1001 exactly
constexpr int kScalerFlags =
    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
// Tags that MP4 has a place of its own for; any other needs the free-form table.
constexpr std::array<const char*, 11> kMp4Tags = {
    "title",    "artist",    "album",       "comment",  "genre",  "date",
    "composer", "copyright", "description", "synopsis", "encoder"};

void check_av(int code, const fs::path& path, const char* what) {
  ZOETROPE_CHECK(code >= 0, path.string(), ": ", what, ": ", av_error_text(code));
}

const AVCodec* find_encoder(const std::string& wanted) {
  if (!wanted.empty()) {
    const AVCodec* encoder = avcodec_find_encoder_by_name(wanted.c_str());
    ZOETROPE_CHECK_CONFIG(encoder != nullptr, "this FFmpeg has no video encoder \"", wanted, "\"");
    return encoder;
  }
  if (const AVCodec* encoder = avcodec_find_encoder_by_name("libx264")) return encoder;
  log_warn("this FFmpeg has no libx264: videos are written as MPEG-4 Part 2");
  const AVCodec* encoder = avcodec_find_encoder_by_name("mpeg4");
  ZOETROPE_CHECK(encoder != nullptr, "this FFmpeg has neither libx264 nor mpeg4 to write videos");
  return encoder;
}

// One mp4 in the making, at a path of its own.
class Mp4Writer {
 public:
  Mp4Writer(const fs::path& path, const Frames& frames, const VideoOptions& options)
      : path_(path), frames_(frames), options_(options) {
    open_format();
    open_codec();
    open_scaler();
  }

  void write() {
    check_av(avio_open(&output_->pb, url().c_str(), AVIO_FLAG_WRITE), path_, "cannot open");
    const UniqueIo io(output_->pb);
    AvOptions options;
    options.set("movflags", movflags());
    check_av(avformat_write_header(output_.get(), options.address()), path_, "header");
    for (int index = 0; index < frames_.num_frames; ++index) {
      convert(index);
      drain(avcodec_send_frame(codec_.get(), picture_.get()));
    }
    drain(avcodec_send_frame(codec_.get(), nullptr));
    check_av(av_write_trailer(output_.get()), path_, "trailer");
    avio_flush(output_->pb);
    check_av(output_->pb->error, path_, "write");
  }

 private:
  void open_format() {
    AVFormatContext* output = nullptr;
    check_av(avformat_alloc_output_context2(&output, nullptr, "mp4", url().c_str()), path_, "mp4");
    output_.reset(output);
    output_->flags |= AVFMT_FLAG_BITEXACT;
    for (const auto& [key, value] : options_.metadata) {
      av_dict_set(&output_->metadata, key.c_str(), value.c_str(), 0);
    }
  }

  std::string url() const {
    return "file:" + path_.string();
  }  // a colon in the name is no protocol

  std::string movflags() const {
    const bool free_form =
        std::any_of(options_.metadata.begin(), options_.metadata.end(), [](auto& tag) {
          return std::find(kMp4Tags.begin(), kMp4Tags.end(), tag.first) == kMp4Tags.end();
        });
    return free_form ? "+faststart+use_metadata_tags" : "+faststart";
  }

  void open_codec() {
    const AVCodec* encoder = find_encoder(options_.codec);
    codec_.reset(avcodec_alloc_context3(encoder));
    ZOETROPE_CHECK(codec_ != nullptr, "no memory for an encoder");
    const AVRational rate = av_d2q(options_.fps, kMaxRateTerm);
    codec_->width = frames_.width;
    codec_->height = frames_.height;
    codec_->pix_fmt = AV_PIX_FMT_YUV420P;
    codec_->time_base = av_inv_q(rate);
    codec_->framerate = rate;
    codec_->sample_aspect_ratio = {1, 1};
    codec_->color_range = AVCOL_RANGE_MPEG;
    codec_->colorspace = AVCOL_SPC_BT709;
    codec_->color_primaries = AVCOL_PRI_BT709;
    codec_->color_trc = AVCOL_TRC_BT709;
    codec_->chroma_sample_location = AVCHROMA_LOC_LEFT;
    codec_->thread_count = options_.threads;
    codec_->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    AvOptions options;
    if (std::string(encoder->name) == "libx264") {
      options.set("crf", std::to_string(options_.crf));
      options.set("preset", "medium");
    } else {
      // MPEG's quantiser runs from 1 to 31 where x264's crf runs from 0 to 51.
      codec_->flags |= AV_CODEC_FLAG_QSCALE;
      codec_->global_quality = FF_QP2LAMBDA * std::clamp(options_.crf / 4, 1, 31);
    }
    check_av(avcodec_open2(codec_.get(), encoder, options.address()), path_, encoder->name);
    stream_ = avformat_new_stream(output_.get(), nullptr);
    ZOETROPE_CHECK(stream_ != nullptr, "no memory for a stream");
    stream_->time_base = codec_->time_base;
    stream_->avg_frame_rate = rate;
    stream_->sample_aspect_ratio = codec_->sample_aspect_ratio;
    check_av(avcodec_parameters_from_context(stream_->codecpar, codec_.get()), path_, "parameters");
    packet_.reset(av_packet_alloc());
    ZOETROPE_CHECK(packet_ != nullptr, "no memory for a packet");
  }

  void open_scaler() {
    picture_.reset(av_frame_alloc());
    ZOETROPE_CHECK(picture_ != nullptr, "no memory for a frame");
    picture_->format = codec_->pix_fmt;
    picture_->width = codec_->width;
    picture_->height = codec_->height;
    picture_->color_range = codec_->color_range;
    picture_->colorspace = codec_->colorspace;
    check_av(av_frame_get_buffer(picture_.get(), 0), path_, "frame");
    scaler_.reset(sws_alloc_context());
    ZOETROPE_CHECK(scaler_ != nullptr, "no memory for a scaler");
    SwsContext* scaler = scaler_.get();
    av_opt_set_int(scaler, "srcw", frames_.width, 0);
    av_opt_set_int(scaler, "srch", frames_.height, 0);
    av_opt_set_int(scaler, "src_format", AV_PIX_FMT_RGB24, 0);
    av_opt_set_int(scaler, "dstw", frames_.width, 0);
    av_opt_set_int(scaler, "dsth", frames_.height, 0);
    av_opt_set_int(scaler, "dst_format", AV_PIX_FMT_YUV420P, 0);
    av_opt_set_int(scaler, "sws_flags", kScalerFlags, 0);
    av_opt_set_int(scaler, "dst_h_chr_pos", 0, 0);  // chroma at the left, as tagged
    av_opt_set_int(scaler, "dst_v_chr_pos", 128, 0);
    const int* bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(scaler, bt709, 1, bt709, 0, 0, 1 << 16, 1 << 16);
    check_av(sws_init_context(scaler, nullptr, nullptr), path_, "scaler");
  }

  void convert(int index) {
    check_av(av_frame_make_writable(picture_.get()), path_, "frame");
    const std::uint8_t* rows[4] = {frames_.frame(index)};
    const int row_bytes[4] = {3 * frames_.width};
    sws_scale(scaler_.get(), rows, row_bytes, 0, frames_.height, picture_->data,
              picture_->linesize);
    picture_->pts = index;
  }

  void drain(int send_code) {
    check_av(send_code, path_, "encode");
    for (;;) {
      const int code = avcodec_receive_packet(codec_.get(), packet_.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      check_av(code, path_, "encode");
      packet_->stream_index = stream_->index;
      packet_->duration = 1;
      av_packet_rescale_ts(packet_.get(), codec_->time_base, stream_->time_base);
      check_av(av_interleaved_write_frame(output_.get(), packet_.get()), path_, "write");
    }
  }

  const fs::path path_;
  const Frames& frames_;
  const VideoOptions& options_;
  UniqueOutput output_;
  UniqueCodec codec_;
  UniqueSws scaler_;
  UniqueFrame picture_;
  UniquePacket packet_;
  AVStream* stream_ = nullptr;  // owned by output_
};

void check_frames(const fs::path& path, const Frames& frames) {
  ZOETROPE_CHECK(frames.num_frames > 0 && frames.width > 0 && frames.height > 0, path.string(),
                 ": ", frames.num_frames, " frames of ", frames.width, "x", frames.height,
                 " make no video");
  ZOETROPE_CHECK(frames.rgb.size() == frames.num_frames * frames.frame_bytes(), path.string(), ": ",
                 frames.rgb.size(), " bytes of RGB for ", frames.num_frames, " frames of ",
                 frames.width, "x", frames.height);
}

}  // namespace

void write_mp4(const fs::path& path, const Frames& frames, const VideoOptions& options) {
  check_frames(path, frames);
  ZOETROPE_CHECK(frames.width % 2 == 0 && frames.height % 2 == 0, path.string(), ": ", frames.width,
                 "x", frames.height, ": sides of an mp4 must be even (yuv420p)");
  ZOETROPE_CHECK_CONFIG(options.fps > 0 && options.fps <= 1000, path.string(), ": cannot write at ",
                        options.fps, " fps");
  ZOETROPE_CHECK_CONFIG(options.crf >= 0 && options.crf <= 51, "crf ", options.crf,
                        " lies outside 0 .. 51");
  av_log_set_level(AV_LOG_ERROR);  // encoders print their statistics otherwise
  publish_file(path, [&](const fs::path& made_at) { Mp4Writer(made_at, frames, options).write(); });
}

fs::path write_clip(const fs::path& path, const Frames& frames, const VideoOptions& options) {
  check_frames(path, frames);
  fs::path target = path;
  const bool video = frames.num_frames > 1;
  if (!target.has_extension()) target += video ? ".mp4" : ".png";
  if (target.extension() == ".png") {
    ZOETROPE_CHECK_CONFIG(!video, target.string(), ": a PNG holds one frame, not ",
                          frames.num_frames);
    write_png(target, frames.rgb.data(), frames.height, frames.width);
  } else {
    ZOETROPE_CHECK_CONFIG(target.extension() == ".mp4", target.string(),
                          ": clips are written as .mp4 or .png");
    write_mp4(target, frames, options);
  }
  return target;
}

}  // namespace zoetrope::data
