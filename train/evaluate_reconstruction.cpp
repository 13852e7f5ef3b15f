// Encodes and decodes videos and compares them with themselves.
#include "train/evaluate_reconstruction.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/shapes_judge.h"
#include "data/source_list.h"
#include "data/video_reader.h"
#include "data/video_writer.h"
#include "train/checkpoint.h"
#include "train/evaluate_shapes.h"
#include "train/evaluation_report.h"
#include "train/image_quality.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

std::map<std::string, data::ShapesScene> read_truth(const fs::path& videos) {
  std::map<std::string, data::ShapesScene> truth;
  if (!fs::exists(videos / "truth.jsonl")) return truth;
  for_each_json_line(videos / "truth.jsonl", [&](const Json& line, int) {
    truth[line.at("video").get<std::string>()] = data::scene_from_json(line);
  });
  return truth;
}

data::Frames rebuilt(model::Vae& vae, const data::Frames& frames,
                     const model::VaeRunConfig& config) {
  data::Frames result = frames;
  model::decode_frames(vae,
                       model::encode_frames(vae, frames.rgb.data(), frames.num_frames,
                                            frames.height, frames.width, config),
                       config, result.rgb.data());
  return result;
}

}  // namespace

Json evaluate_reconstruction(const ReconstructionEvaluation& suite) {
  ZOETROPE_CHECK_CONFIG(!suite.vae.empty() && !suite.videos.empty(),
                        "suite reconstruction takes --checkpoint (a VAE) and --videos");
  const auto vae = model::load_vae(resolve_weights(suite.vae, "vae"), suite.device);
  vae->set_requires_grad(false);
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
  double psnr_sum = 0, ssim_sum = 0;
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
    if (std::min(frames.height, frames.width) < kSsimWindow) {
      log_warn(item.path.string(), ": ", frames.width, "x", frames.height,
               " pixels are too few to compare");
      continue;
    }
    data::Frames again = rebuilt(*vae, frames, suite.vae_run);
    const std::string name = item.path.filename().string();
    const double psnr = psnr_db(frames.rgb, again.rgb);
    const double similarity = ssim(frames.rgb, again.rgb, frames.height, frames.width);
    psnr_sum += psnr;
    ssim_sum += similarity;
    clips.push_back({{"video", name},
                     {"psnr_db", psnr},
                     {"ssim", similarity},
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
  const double num_clips = static_cast<double>(clips.size());
  Json summary = {{"psnr_db", psnr_sum / num_clips},
                  {"ssim", ssim_sum / num_clips},
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
            {"ssim", summary["ssim"]},
            {"num_clips", clips.size()},
            {"shapes", summary.value("shapes", Json())}}}};
}

}  // namespace zoetrope::train
