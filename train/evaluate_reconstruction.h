// Suite "reconstruction": what a VAE loses of videos it may never have seen.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "model/vae_stream.h"

namespace zoetrope::train {

struct ReconstructionEvaluation {
  std::string vae;               // as resolve_weights takes it
  std::filesystem::path videos;  // folder or list; with truth.jsonl the shapes are judged too
  std::filesystem::path output;  // scores.json, report.html, contact_sheet.png
  std::string command;           // for the report
  int max_frames = 17;
  std::int64_t max_pixels = 0;
  model::VaeRunConfig vae_run;
  at::Device device = at::kCPU;
};

// {"reconstruction": {"psnr_db", "ssim": means over clips, "clips": [{"video", "psnr_db", "ssim",
// ...}], "shapes": {...}}}
Json evaluate_reconstruction(const ReconstructionEvaluation& suite);

}  // namespace zoetrope::train
