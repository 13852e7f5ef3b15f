// See video_decode.h.

#include "data/video_decode.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "base/error.h"
#include "data/frame_converter.h"
#include "data/video_file.h"

namespace zoetrope::data {

namespace {

// Containers round times (to 1 ms in Matroska), so a picture that comes up to half a period late
// still counts as on time. A hair less than half: an exact tie must not depend on rounding.
constexpr double kTolerancePeriods = 0.499;
constexpr double kEarlierSeekS = 10;

// Picks pictures by time and hands them on.
class ClipSampler {
 public:
  ClipSampler(const DecodeRequest& request, VideoFile& file,
              const std::function<bool(const RgbPicture&)>& use)
      : request_(request), file_(file), use_(use), converter_(request) {
    period_s_ = file.fps() > 0 ? 1 / file.fps() : 0;
    const double shorter_s =
        request.fps > 0 ? std::min(1 / request.fps, period_s_ > 0 ? period_s_ : 1e9) : period_s_;
    tolerance_s_ = kTolerancePeriods * shorter_s;
  }

  OrSkip<double> run();

 private:
  bool starts_too_late(const VideoFile::Picture& first) const {
    return request_.start_s > 0 && first.pts_s > request_.start_s + tolerance_s_;
  }
  std::optional<VideoFile::Picture> first_whole();
  std::optional<SkipReason> find_start(std::optional<VideoFile::Picture>& picture);
  bool take(const VideoFile::Picture& picture);
  bool fill_until(double time_s);
  bool emit();
  bool convert(const VideoFile::Picture& picture);
  void keep(const VideoFile::Picture& picture);
  double grid_s() const { return request_.start_s + num_emitted_ / request_.fps; }
  bool done() const {
    return stopped_ || (request_.max_frames > 0 && num_emitted_ >= request_.max_frames) ||
           (file_.is_image() && num_emitted_ > 0);
  }
  double measured_fps() const;
  std::int64_t num_expected() const;

  const DecodeRequest& request_;
  VideoFile& file_;
  const std::function<bool(const RgbPicture&)>& use_;
  FrameConverter converter_;
  double period_s_ = 0;
  double tolerance_s_ = 0;
  UniqueFrame held_;  // with fps: the last picture seen, shown until the next one comes
  bool held_is_converted_ = false;
  double held_pts_s_ = 0;
  double end_of_held_s_ = 0;
  double last_seen_s_ = 0;
  std::vector<std::uint8_t> rgb_;
  std::int64_t num_emitted_ = 0;
  const std::int64_t num_expected_ = num_expected();
  double first_pts_s_ = 0, last_pts_s_ = 0;
  bool stopped_ = false;
  std::optional<SkipReason> reason_;
};

// Streams cut out of broadcasts begin with pictures whose references are missing; those are passed
// over.
std::optional<VideoFile::Picture> ClipSampler::first_whole() {
  auto picture = file_.next();
  while (picture && picture->damaged) picture = file_.next();
  return picture;
}

// A seek may land after the time asked for; then an earlier one, and at last the start of the file.
std::optional<SkipReason> ClipSampler::find_start(std::optional<VideoFile::Picture>& picture) {
  if (request_.start_s > 0 && !file_.is_image()) {
    file_.next();  // sets the zero of the file's clock
    for (const double earlier_s : {0.0, kEarlierSeekS}) {
      if (!file_.seek(std::max(0.0, request_.start_s - earlier_s))) break;
      picture = first_whole();
      if (picture && !starts_too_late(*picture)) return std::nullopt;
    }
    if (auto reason = file_.rewind()) return reason;
  }
  picture = first_whole();
  return std::nullopt;
}

bool ClipSampler::convert(const VideoFile::Picture& picture) {
  reason_ = converter_.convert(*picture.frame, file_.orientation(*picture.frame), rgb_);
  return !reason_;
}

bool ClipSampler::emit() {
  if (!held_is_converted_) {
    if (!convert({held_.get(), held_pts_s_, 0, false})) return false;
    held_is_converted_ = true;
  }
  if (num_emitted_ == 0) first_pts_s_ = held_pts_s_;
  last_pts_s_ = held_pts_s_;
  stopped_ = !use_(
      {held_pts_s_, converter_.width(), converter_.height(), rgb_, num_emitted_++, num_expected_});
  return !done();
}

// Shows the held picture at every grid time before `time_s`.
bool ClipSampler::fill_until(double time_s) {
  while (grid_s() + tolerance_s_ < time_s && grid_s() + tolerance_s_ < request_.end_s) {
    if (!emit()) return false;
  }
  return grid_s() + tolerance_s_ < request_.end_s;
}

void ClipSampler::keep(const VideoFile::Picture& picture) {
  if (!held_) held_.reset(av_frame_alloc());
  ZOETROPE_CHECK(held_ != nullptr, "no memory for a frame");
  av_frame_unref(held_.get());
  const int code = av_frame_ref(held_.get(), picture.frame);
  ZOETROPE_CHECK(code >= 0, "cannot hold a frame: ", av_error_text(code));
  held_is_converted_ = false;
  held_pts_s_ = picture.pts_s;
  end_of_held_s_ = picture.pts_s + picture.duration_s;
}

// False when nothing more is wanted.
bool ClipSampler::take(const VideoFile::Picture& picture) {
  if (!converter_.same_shape(*picture.frame, file_.orientation(*picture.frame))) return false;
  const bool first = held_ == nullptr;
  if (request_.fps > 0 && !file_.is_image()) {
    if (!first && !fill_until(picture.pts_s)) return false;
    keep(picture);
    return true;
  }
  if (!file_.is_image()) {
    if (picture.pts_s + tolerance_s_ < request_.start_s) return true;
    if (picture.pts_s + tolerance_s_ >= request_.end_s) return false;
  }
  keep(picture);
  return emit();
}

double ClipSampler::measured_fps() const {
  if (file_.is_image()) return 0;
  if (request_.fps > 0) return request_.fps;
  const double span_s = last_pts_s_ - first_pts_s_;
  if (num_emitted_ < 2 || span_s <= 0) return file_.fps();
  const double measured = static_cast<double>(num_emitted_ - 1) / span_s;
  // The container's exact ratio, unless the times of these pictures tell otherwise.
  return file_.fps() > 0 && std::abs(measured / file_.fps() - 1) < 0.02 ? file_.fps() : measured;
}

std::int64_t ClipSampler::num_expected() const {
  if (file_.is_image()) return 1;
  const VideoInfo info = file_.info();
  const double fps = request_.fps > 0 ? request_.fps : info.fps;
  const double span_s = std::min(request_.end_s, info.duration_s) - request_.start_s;
  const double most = request_.max_frames > 0 ? request_.max_frames : 1e9;
  return static_cast<std::int64_t>(std::clamp(std::ceil(span_s * fps), 0.0, most));
}

OrSkip<double> ClipSampler::run() {
  std::optional<VideoFile::Picture> picture;
  if (auto reason = find_start(picture)) return *reason;
  bool more = picture.has_value();
  while (more) {
    last_seen_s_ = picture->pts_s;
    more = take(*picture);
    if (!more) break;
    picture = file_.next();
    more = picture.has_value() && !picture->damaged;
  }
  // The last picture stays up for its own duration; some writers give it next to none.
  if (request_.fps > 0 && held_ && !file_.is_image() && !done() && !reason_) {
    fill_until(std::max(end_of_held_s_, held_pts_s_ + 2 * tolerance_s_));
  }
  if (reason_) return *reason_;
  if (num_emitted_ > 0) return measured_fps();
  if (held_ || last_seen_s_ > 0) {
    return SkipReason{"too_short", concat("the last picture is at ", last_seen_s_, " s, asked for ",
                                          request_.start_s, " to ", request_.end_s, " s")};
  }
  const std::string damage = file_.damage();
  return SkipReason{
      "truncated", concat("no whole picture could be decoded", damage.empty() ? "" : ": ", damage)};
}

}  // namespace

OrSkip<VideoInfo> probe_video(const MediaFile& media) {
  auto opened = VideoFile::open(media);
  if (skipped(opened)) return std::get<SkipReason>(opened);
  VideoFile& file = *std::get<std::unique_ptr<VideoFile>>(opened);
  VideoInfo info = file.info();
  if (!info.is_image) return info;
  const auto picture = file.next();  // EXIF turns are known only after decoding
  if (!picture) return SkipReason{"truncated", concat("no whole picture: ", file.damage())};
  const Orientation turn = file.orientation(*picture->frame);
  const auto shown = shown_size(picture->frame->width, picture->frame->height,
                                picture->frame->sample_aspect_ratio, turn);
  if (shown) {
    info.width = shown->width;
    info.height = shown->height;
  }
  info.rotation_deg = turn.rotation_deg;
  return info;
}

OrSkip<double> decode_video(const MediaFile& media, const DecodeRequest& request,
                            const std::function<bool(const RgbPicture&)>& use) {
  auto opened = VideoFile::open(media);
  if (skipped(opened)) return std::get<SkipReason>(opened);
  return ClipSampler(request, *std::get<std::unique_ptr<VideoFile>>(opened), use).run();
}

}  // namespace zoetrope::data
