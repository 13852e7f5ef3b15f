// Frames -> the latents that a corpus stores, and the same latents made when a run needs them.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/clip_record.h"
#include "data/frames.h"
#include "data/video_reader.h"
#include "model/vae_stream.h"

namespace zoetrope::train {

// The VAE's mean, normalised. Nothing when a value is not finite.
std::optional<data::LatentRecord> encode_clip(model::Vae& vae, const data::Frames& frames,
                                              const std::string& id,
                                              const model::VaeRunConfig& run = {});

// Makes the latents of clips that a corpus lists without storing them: reads their sources as
// encode_dataset did, and rounds as a shard does, so they are those that it would have stored.
// Thread-safe; as many clips at a time as threads ask.
class OnlineEncoder {
 public:
  // `vae`: a folder; empty: by its name in corpus.json. `media_root`: where relative sources are
  // looked for. Nothing is loaded before the first clip.
  OnlineEncoder(std::filesystem::path corpus, std::string vae, std::filesystem::path media_root);
  ~OnlineEncoder();
  // DataError when the source is gone, has changed, or does not decode to what the record says.
  // ConfigError when the VAE is not the one that the corpus names.
  data::LatentRecord operator()(const data::ClipRecord& clip);

 private:
  void load();
  data::Frames decode(const data::ClipRecord& clip);

  std::filesystem::path corpus_, media_root_;
  std::string vae_name_;
  data::DecodeRequest request_;  // without path and range
  model::VaeRunConfig vae_run_;
  std::unique_ptr<model::Vae> vae_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<data::VideoReader>> readers_;  // that no thread uses now
};

}  // namespace zoetrope::train
