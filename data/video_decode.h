// The work of the decoder process: which pictures of a file a request asks for, in order, as RGB.
// Pictures are chosen by time, never by index, so a variable frame rate comes out right.
#pragma once

#include <functional>
#include <optional>

#include "data/frames.h"
#include "data/video_reader.h"

namespace zoetrope::data {

OrSkip<VideoInfo> probe_video(const MediaFile& media);

// The request's own path is not looked at. Calls `use` for each picture; it returns false to stop
// early. Returns the rate of the pictures, 0 for a still image. Holds one picture at a time. A clip
// ends at its first damaged picture, at a change of shape, or where the request or the file ends;
// only a clip without any picture is a SkipReason.
OrSkip<double> decode_video(const MediaFile& media, const DecodeRequest& request,
                            const std::function<bool(const RgbPicture&)>& use);

}  // namespace zoetrope::data
