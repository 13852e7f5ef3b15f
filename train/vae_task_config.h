// What the task that trains a video autoencoder is told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "model/patch_gan.h"
#include "model/vae_config.h"
#include "model/vae_loss.h"
#include "train/optimizer_config.h"

namespace zoetrope::train {

// One kind of training crop of the VAE; a step draws one kind by weight.
struct CropConfig {
  std::int64_t frames = 5;
  std::int64_t height = 32;
  std::int64_t width = 32;
  std::int64_t batch = 4;
  double weight = 1;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("frames", frames, "1 + a multiple of the temporal stride", at_least(1));
    visit("height", height, "multiple of the spatial stride", at_least(8));
    visit("width", width, "multiple of the spatial stride", at_least(8));
    visit("batch", batch, "crops a step, over all ranks", at_least(1));
    visit("weight", weight, "how often this kind is drawn", at_least(0));
  }
};

// The discriminator that the VAE plays against.
struct GanConfig {
  double weight = 0;
  std::int64_t start_step = 1;
  model::PatchGanConfig model;
  OptimizerConfig optimizer;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("weight", weight,
          "of the adversarial loss, on top of the adaptive weight; 0 = no discriminator",
          at_least(0));
    visit("start_step", start_step, "first step with the discriminator", at_least(1));
    visit("model", model, "shape of the discriminator");
    visit("optimizer", optimizer, "AdamW of the discriminator; its schedule begins at start_step");
  }
};

struct VaeTaskConfig {
  std::vector<std::string> videos;
  std::vector<double> video_weights;
  std::int64_t max_pixels = 0;
  std::int64_t max_frames = 0;
  std::int64_t ram_mb = 4096;
  std::vector<CropConfig> crops;
  model::VaeConfig model;
  model::VaeLossConfig loss;
  std::string lpips_weights;
  GanConfig gan;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("videos", videos, "folders, lists or files of videos and images");
    visit("video_weights", video_weights,
          "how often each entry of videos is drawn; empty = equally", at_least(0));
    visit("max_pixels", max_pixels, "larger frames are scaled down to this area; 0 = native",
          at_least(0));
    visit("max_frames", max_frames, "frames read of each video; 0 = all", at_least(0));
    visit("ram_mb", ram_mb, "decoded frames kept in memory, MiB a rank", at_least(1));
    visit("crops", crops, "kinds of training crops");
    visit("model", model, "shape of the VAE");
    visit("loss", loss, "reconstruction and prior");
    visit("lpips_weights", lpips_weights,
          "safetensors with torchvision's VGG16 and the linear layers of LPIPS");
    visit("gan", gan, "adversarial loss");
  }
};

}  // namespace zoetrope::train
