// What a training objective is made of, and its named presets.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"
#include "base/json.h"

namespace zoetrope::model {

// A preset's name fills the other fields; those that are given win. What each one means:
// model/README.md.
struct FlowConfig {
  std::string preset = "rectified_flow";
  std::string timesteps = "logit_normal";
  double logit_mean = 0;
  double logit_std = 1;
  double uniform_share = 0.1;
  double shift = 1;
  double shift_base_area = 0;
  double shift_base_frames = 0;
  std::string target = "v";
  std::string loss_on = "target";
  std::string weighting = "none";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    const std::string before = preset;
    visit("preset", preset, "where the other fields start from",
          one_of({"rectified_flow", "uniform_flow", "stable_diffusion_3", "open_sora", "diffsynth",
                  "dfm", "clean_patches"}));
    if (preset != before) *this = flow_preset(preset);  // read, so before the fields that follow
    visit("timesteps", timesteps, "distribution of training noise levels s",
          one_of({"logit_normal", "uniform", "mixed"}));
    visit("logit_mean", logit_mean, "mean of logit(s) for logit_normal");
    visit("logit_std", logit_std, "standard deviation of logit(s)", at_least(1e-6));
    visit("uniform_share", uniform_share, "share of uniform draws of mixed", between(0, 1));
    visit("shift", shift, "moves noise levels towards 1: s' = shift s / (1 + (shift - 1) s)",
          at_least(1e-3));
    visit("shift_base_area", shift_base_area,
          "shift grows with sqrt(height * width / this), in latent positions; 0 = not",
          at_least(0));
    visit("shift_base_frames", shift_base_frames,
          "shift grows with sqrt(latent frames / this); 0 = not", at_least(0));
    visit("target", target, "what the model gives: velocity noise - x0, noise, or clean sample",
          one_of({"v", "eps", "x0"}));
    visit("loss_on", loss_on, "what the squared error is of; target = of what the model gives",
          one_of({"target", "v", "eps", "x0"}));
    visit("weighting", weighting,
          "bell: exp(-2 (s - 1/2)^2), scaled as DiffSynth does; one_plus_shift: 1 + shift s",
          one_of({"none", "bell", "one_plus_shift"}));
  }

  static FlowConfig flow_preset(const std::string& name);
};

// The objective as a checkpoint keeps it, every field by name.
Json flow_config_to_json(const FlowConfig& config);

}  // namespace zoetrope::model
