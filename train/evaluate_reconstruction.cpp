// Encodes and decodes videos and compares them with themselves.
#include "train/evaluate_reconstruction.h"

#include <cmath>

#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/shapes_judge.h"
#include "data/source_list.h"
#include "data/video_reader.h"
#include "data/video_writer.h"
#include "model/vae.h"
#include "model/vae_loss.h"
#include "train/checkpoint.h"
#include "train/evaluate_shapes.h"
#include "train/evaluation_report.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

fs::path vae_folder(const std::string& vae) {
  const fs::path path = fs::exists(vae) ? fs::path(vae) : find_weights(vae);
  return fs::exists(path / "config.json") ? path : resolve_checkpoint(path) / "ema";
}

std::map<std::string, data::ShapesScene> read_truth(const fs::path& videos) {
  std::map<std::string, data::ShapesScene> truth;
  if (!fs::exists(videos / "truth.jsonl")) return truth;
  for_each_json_line(videos / "truth.jsonl", [&](const Json& line, int) {
    truth[line.at("video").get<std::string>()] = data::scene_from_json(line);
  });
  return truth;
}

data::Frames rebuilt(model::Vae& vae, const data::Frames& frames, double* psnr_db) {
  const at::NoGradGuard no_grad;
  const at::Tensor pixels =
      model::pixels_from_rgb(frames.rgb.data(), frames.num_frames, frames.height, frames.width);
  const at::Tensor decoded = vae.decode(vae.encode(pixels).mean);
  *psnr_db = model::psnr(pixels, decoded).item<double>();
  data::Frames result = frames;
  model::rgb_from_pixels(decoded, result.rgb.data());
  return result;
}

}  // namespace

Json evaluate_reconstruction(const ReconstructionEvaluation& suite) {
  ZOETROPE_CHECK_CONFIG(!suite.vae.empty() && !suite.videos.empty(),
                        "suite reconstruction takes --checkpoint (a VAE) and --videos");
  const auto vae = model::load_vae(vae_folder(suite.vae), at::kCPU);
  const auto truth = read_truth(suite.videos);
  const auto items = data::list_sources({suite.videos});
  fs::create_directories(suite.output);
  data::DecodeRequest request;
  request.max_frames = suite.max_frames;
  request.max_pixels = suite.max_pixels;
  request.size_multiple = vae->config().space_stride();
  request.frames_multiple = vae->config().time_stride();

  data::VideoReader reader;
  Json clips = Json::array();
  std::vector<data::Frames> shown;  // original and rebuilt, in turn
  std::vector<data::SpriteSeen> seen;
  std::vector<data::ShapesScene> asked;
  double sum = 0;
  Progress progress("reconstructing", static_cast<std::int64_t>(items.size()), true, "clips");
  for (const data::SourceItem& item : items) {
    progress.advance();
    request.path = item.path;
    auto read = reader.read(request);
    if (const auto* skip = std::get_if<data::SkipReason>(&read)) {
      log_warn(item.path.string(), ": ", skip->code, ": ", skip->detail);
      continue;
    }
    const auto& frames = std::get<data::Frames>(read);
    double psnr_db = 0;
    data::Frames again = rebuilt(*vae, frames, &psnr_db);
    const std::string name = item.path.filename().string();
    sum += psnr_db;
    clips.push_back({{"video", name},
                     {"psnr_db", psnr_db},
                     {"frames", frames.num_frames},
                     {"height", frames.height},
                     {"width", frames.width}});
    if (const auto scene = truth.find(name); scene != truth.end()) {
      seen.push_back(data::judge_clip(again));
      asked.push_back(scene->second);
    }
    if (shown.size() < 2 * kMaxSheetRows / 2) {
      shown.push_back(frames);
      shown.push_back(std::move(again));
    }
  }
  ZOETROPE_CHECK_DATA(!clips.empty(), "none of the ", items.size(), " videos could be read");
  Json summary = {{"psnr_db", sum / static_cast<double>(clips.size())},
                  {"num_clips", clips.size()}};
  if (!seen.empty()) summary["shapes"] = shapes_scores(seen, asked);

  std::vector<data::SheetRow> rows;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    rows.push_back({&shown[i], concat(clips[i / 2].at("video").get<std::string>(),
                                      i % 2 == 0 ? ": original" : ": rebuilt")});
  }
  write_evaluation_report(suite.output, "Reconstruction: what the VAE keeps", summary, rows,
                          suite.command, "");
  summary["clips"] = clips;
  const Json scores = {{"reconstruction", summary}};
  write_json(suite.output / "scores.json", scores);
  return {{"reconstruction",
           {{"psnr_db", summary["psnr_db"]},
            {"num_clips", clips.size()},
            {"shapes", summary.value("shapes", Json())}}}};
}

}  // namespace zoetrope::train
