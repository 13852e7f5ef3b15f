// A discriminator of video patches (PatchGAN, arXiv:1611.07004, in three dimensions): says for each
// place in space and time how real it looks.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "base/config.h"
#include "model/conv.h"
#include "model/module.h"

namespace zoetrope::model {

struct PatchGanConfig {
  std::int64_t width = 64;
  std::int64_t layers = 4;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("width", width, "channels after the first convolution, a multiple of 4", at_least(4));
    visit("layers", layers,
          "convolutions after the first: each doubles the channels, up to 8 times the width",
          between(1, 6));
  }
};

class PatchGan : public Module {
 public:
  explicit PatchGan(const PatchGanConfig& config);
  // Fills one parameter with its first value, a function of the seed and its name's place.
  ParameterVisitor initial_weights(std::uint64_t seed);
  void init_weights(std::uint64_t seed);

  // pixels [B, 3, T, H, W], any sizes -> logits [B, t, h, w], positive for real. Every layer but
  // the last halves height and width, the first two halve time, all rounded up. Clips do not see
  // each other: normalisation is over groups of channels of one clip, so that logits do not depend
  // on the batch.
  at::Tensor forward(const at::Tensor& pixels, at::ScalarType compute_type) const;
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override;

 private:
  struct Layer {
    Conv conv;
    at::Tensor scale, shift;  // of the norm; undefined in the first and the last layer
    std::int64_t time_stride = 1, space_stride = 1;
  };
  std::vector<Layer> layers_;
};

// Hinge loss of the discriminator: mean of max(0, 1 - real) plus mean of max(0, 1 + fake).
at::Tensor discriminator_loss(const at::Tensor& real_logits, const at::Tensor& fake_logits);

// How much the adversarial term weighs beside the reconstruction (VQGAN, arXiv:2012.09841): the
// ratio of the norms of their gradients at the decoder's last convolution,
// clamp(|g_reconstruction| / (|g_adversarial| + 1e-4), 0, 1e4).
double adaptive_weight(double reconstruction_norm, double adversarial_norm);

}  // namespace zoetrope::model
