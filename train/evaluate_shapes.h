// Suite "shapes": does a model draw what held-out MovingShapes prompts ask for? Judged from the
// pixels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <vector>

#include "base/json.h"
#include "data/shapes_judge.h"
#include "model/sampler.h"
#include "model/vae_stream.h"

namespace zoetrope::train {

struct ShapesEvaluation {
  std::string checkpoint;        // samples from it; or, when it is empty,
  std::filesystem::path videos;  // judges this folder of clips with truth.jsonl
  std::string weights = "ema";
  std::filesystem::path output;  // scores.json, report.html, contact_sheet.png, videos/
  std::string command;           // for the report
  int num_prompts = 32;
  int frames = 17, height = 64, width = 64;
  std::uint64_t seed = 0;
  model::SampleConfig sampling;
  model::VaeRunConfig vae_run;
  at::Device device = at::kCPU;
};

// {"shapes": {"colour", "shape", "direction", "all", "num_prompts", "interval_95": {...}}}
Json evaluate_shapes(const ShapesEvaluation& suite);

// The scores with their 95 % intervals, as in scores.json.
Json shapes_scores(const std::vector<data::SpriteSeen>& seen,
                   const std::vector<data::ShapesScene>& asked);

}  // namespace zoetrope::train
