// Checkpoint + prompts -> frames: what sample and evaluate share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/frames.h"
#include "model/dit.h"
#include "model/sampler.h"
#include "model/text_encoder.h"
#include "model/vae_stream.h"
#include "train/kept_frames.h"

namespace zoetrope::train {

struct GeneratorConfig {
  std::string checkpoint;       // as resolve_weights takes it
  std::string weights = "ema";  // or "model"; of our own checkpoints
  // Likewise; empty: the ones that the checkpoint was trained with, ConfigError when the files of
  // that name have another hash than then.
  std::string vae, text_encoder;
  model::VaeRunConfig vae_run;
  at::Device device = at::kCPU;  // of all three
};

struct VideoPrompt {
  std::string text, negative;
  int frames = 17, height = 64, width = 64;  // pixels
  std::int64_t index = 0;                    // names the noise, together with the seed
  std::vector<KeptClip> keep;                // frames that it must contain
};

class VideoGenerator {
 public:
  explicit VideoGenerator(const GeneratorConfig& config);

  // One clip a prompt, in order. Prompts are sampled in packs of at most `pack_size`; the result
  // does not depend on it. ConfigError with the numbers when a size is not a multiple of the
  // strides.
  std::vector<data::Frames> generate(const std::vector<VideoPrompt>& prompts, std::uint64_t seed,
                                     const model::SampleConfig& config, int pack_size,
                                     const std::function<void()>& on_step = {});

  // Whether the checkpoint has learned to go on from given frames.
  bool knows_kept_frames() const { return conditioned_share_ > 0; }
  // What a video's height and width must be multiples of.
  int size_multiple() const;
  double fps() const { return fps_; }  // of the training corpus; 16 if unknown
  const std::filesystem::path& folder() const { return folder_; }  // of the weights in use

 private:
  model::SampleRequest make_request(const VideoPrompt& prompt, const at::Tensor& text_LE,
                                    const at::Tensor& null_text_LE, std::uint64_t seed);
  void keep(const VideoPrompt& prompt, model::SampleRequest& request);
  data::Frames decode(const at::Tensor& latent);

  std::filesystem::path folder_;
  std::unique_ptr<model::Dit> dit_;
  std::unique_ptr<model::Vae> vae_;
  std::unique_ptr<model::TextPipeline> text_;
  model::VaeRunConfig vae_run_;
  double fps_ = 16;
  double conditioned_share_ = 0;
  model::Prediction prediction_ = model::Prediction::kVelocity;
};

}  // namespace zoetrope::train
