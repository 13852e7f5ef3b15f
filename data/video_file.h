// A video or image file, opened safely and decoded picture by picture. Runs in the decoder process.
// Only content decides the format (never the name), only accepted formats are opened, and a file
// can not make FFmpeg open another one. Decoding is single-threaded, so the same file gives the
// same pictures.
#pragma once

#include <memory>
#include <optional>

#include "data/ffmpeg.h"
#include "data/frame_converter.h"
#include "data/frames.h"
#include "data/video_reader.h"

namespace zoetrope::data {

class VideoFile {
 public:
  static OrSkip<std::unique_ptr<VideoFile>> open(const MediaFile& media);

  VideoInfo info() const;
  bool is_image() const { return is_image_; }
  double fps() const { return fps_; }
  // Of the stream, else of this picture (EXIF, H.264 SEI).
  Orientation orientation(const AVFrame& picture) const;

  struct Picture {
    const AVFrame* frame = nullptr;  // valid until the next call
    double pts_s = 0;                // from the first picture of the file
    double duration_s = 0;
    bool damaged = false;  // some of it is missing or guessed
  };
  // The next picture in order of display; nothing at the end of what can be decoded.
  std::optional<Picture> next();
  // Goes to a key frame at or before `time_s`, as far as the container knows. False when it cannot,
  // also before the first picture was decoded: that one is where time starts.
  bool seek(double time_s);
  // Starts again at the first packet; for files whose seek lands too late.
  std::optional<SkipReason> rewind();
  // Damaged packets and pictures so far, in words; "" when all was whole.
  std::string damage() const;

 private:
  VideoFile() = default;
  std::optional<SkipReason> open_format();
  std::optional<SkipReason> choose_stream();
  std::optional<SkipReason> open_codec();
  bool feed();
  void note_bad_packet(std::int64_t pts, const std::string& error);
  bool is_damaged(const AVFrame& frame);
  Picture describe(AVFrame& frame);
  void forget_position();

  MediaFile media_;
  UniqueIo io_;  // outlives input_, which reads through it
  UniqueInput input_;
  UniqueCodec codec_;
  UniquePacket packet_;
  UniqueFrame frame_;
  AVStream* stream_ = nullptr;  // owned by input_
  bool is_image_ = false;
  bool drained_ = false;
  double fps_ = 0;
  std::optional<double> origin_s_;  // stream time of pts_s = 0
  std::optional<double> last_pts_s_;
  double jump_s_ = 0;  // added after a clock that went backwards
  int bad_packets_ = 0;
  int damaged_pictures_ = 0;
  bool damaged_until_intra_ = false;
  std::optional<std::int64_t> bad_since_;  // stream time of a packet that could not be decoded
  std::string first_error_;
};

}  // namespace zoetrope::data
