// Decoding into memory and cropping out of it.
#include "train/video_pool.h"

#include <cstring>
#include <numeric>

#include <ATen/ops/empty.h>

#include "base/error.h"
#include "base/log.h"
#include "data/source_list.h"
#include "data/video_reader.h"
#include "model/vae.h"

namespace zoetrope::train {

VideoPool::VideoPool(const VaeTaskConfig& config) {
  ZOETROPE_CHECK_CONFIG(!config.videos.empty(), "vae.videos is empty: give folders of videos");
  ZOETROPE_CHECK_CONFIG(!config.crops.empty(),
                        "vae.crops is empty: give at least one kind of crop");
  ZOETROPE_CHECK_CONFIG(
      config.video_weights.empty() || config.video_weights.size() == config.videos.size(),
      "vae.video_weights has ", config.video_weights.size(), " entries, vae.videos has ",
      config.videos.size());
  data::VideoReader reader;
  const std::size_t limit = static_cast<std::size_t>(config.ram_mb) << 20;
  std::size_t bytes = 0, rejected = 0, over = 0;
  for (std::size_t entry = 0; entry < config.videos.size(); ++entry) {
    for (const data::SourceItem& item : data::list_sources({config.videos[entry]})) {
      if (bytes >= limit) {
        ++over;
        continue;
      }
      data::DecodeRequest request;
      request.path = item.path;
      request.max_pixels = config.max_pixels;
      request.max_frames = static_cast<int>(config.max_frames);
      auto frames = reader.read(request);
      if (const auto* skip = std::get_if<data::SkipReason>(&frames)) {
        log_warn(item.path.string(), ": ", skip->code, ": ", skip->detail);
        ++rejected;
        continue;
      }
      videos_.push_back(std::move(std::get<data::Frames>(frames)));
      entry_of_video_.push_back(entry);
      bytes += videos_.back().rgb.size();
    }
  }
  log_info(videos_.size(), " videos in memory (", bytes >> 20, " MiB), ", rejected, " rejected, ",
           over, " left out over vae.ram_mb ", config.ram_mb);
  find_eligible(config);
}

void VideoPool::find_eligible(const VaeTaskConfig& config) {
  for (const CropConfig& crop : config.crops) {
    Kind kind;
    kind.crop = crop;
    kind.videos.resize(config.videos.size());
    for (std::size_t i = 0; i < videos_.size(); ++i) {
      const data::Frames& video = videos_[i];
      if (video.num_frames >= crop.frames && video.height >= crop.height &&
          video.width >= crop.width) {
        kind.videos[entry_of_video_[i]].push_back(i);
      }
    }
    double total = 0;
    for (std::size_t entry = 0; entry < config.videos.size(); ++entry) {
      const double weight = config.video_weights.empty() ? 1 : config.video_weights[entry];
      total += kind.videos[entry].empty() ? 0 : weight;
      kind.cumulative_weights.push_back(total);
    }
    ZOETROPE_CHECK_CONFIG(total > 0, "no video is as large as the crop ", crop.frames, "x",
                          crop.height, "x", crop.width);
    kinds_.push_back(std::move(kind));
  }
}

at::Tensor VideoPool::crop(std::size_t kind_index, Random& random) const {
  const Kind& kind = kinds_[kind_index];
  const double draw = random.uniform() * kind.cumulative_weights.back();
  std::size_t entry = 0;
  while (kind.cumulative_weights[entry] <= draw) ++entry;
  const auto& eligible = kind.videos[entry];
  const auto pick = random.integer(0, static_cast<std::int64_t>(eligible.size()) - 1);
  const data::Frames& video = videos_[eligible[pick]];
  const CropConfig& size = kind.crop;
  const auto t0 = random.integer(0, video.num_frames - size.frames);
  const auto y0 = random.integer(0, video.height - size.height);
  const auto x0 = random.integer(0, video.width - size.width);
  std::vector<std::uint8_t> rgb(size.frames * size.height * size.width * 3);
  const std::size_t row_bytes = size.width * 3;
  for (std::int64_t t = 0; t < size.frames; ++t) {
    for (std::int64_t y = 0; y < size.height; ++y) {
      const std::uint8_t* from =
          video.frame(static_cast<int>(t0 + t)) + ((y0 + y) * video.width + x0) * 3;
      std::memcpy(rgb.data() + (t * size.height + y) * row_bytes, from, row_bytes);
    }
  }
  return model::pixels_from_rgb(rgb.data(), size.frames, size.height, size.width)[0];
}

}  // namespace zoetrope::train
