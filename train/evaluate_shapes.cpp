// Samples held-out prompts, judges the clips, writes scores and a report.
#include "train/evaluate_shapes.h"

#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "data/shapes.h"
#include "data/shapes_judge.h"
#include "data/video_reader.h"
#include "data/video_writer.h"
#include "train/evaluation_report.h"
#include "train/generator.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr int kPack = 16;  // prompts sampled together

// Clips beside what they should show.
struct Judged {
  std::vector<data::Frames> clips;
  std::vector<data::ShapesScene> asked;
};

Judged sample_prompts(const ShapesEvaluation& suite) {
  data::ShapesOptions size;
  size.frames = suite.frames;
  size.height = suite.height;
  size.width = suite.width;
  Judged result;
  std::vector<VideoPrompt> prompts;
  for (int i = 0; i < suite.num_prompts; ++i) {
    result.asked.push_back(data::make_scene(suite.seed, "test", i, size));
    VideoPrompt prompt;
    prompt.text = data::dense_caption(result.asked.back());
    prompt.frames = suite.frames;
    prompt.height = suite.height;
    prompt.width = suite.width;
    prompt.index = i;
    prompts.push_back(prompt);
  }
  VideoGenerator generator({suite.checkpoint, suite.weights, "", "", suite.vae_run, suite.device});
  Progress progress("sampling", (suite.num_prompts + kPack - 1) / kPack * suite.sampling.steps,
                    true, "steps");
  result.clips =
      generator.generate(prompts, suite.seed, suite.sampling, kPack, [&] { progress.advance(); });
  for (std::size_t i = 0; i < result.clips.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof(name), "%06zu", i);
    data::VideoOptions options;
    options.fps = generator.fps();
    options.metadata = {{"comment", concat("made by zoetrope; prompt: ", prompts[i].text)}};
    data::write_clip(suite.output / "videos" / name, result.clips[i], options);
  }
  return result;
}

Judged read_videos(const ShapesEvaluation& suite) {
  Judged result;
  data::VideoReader reader;
  for_each_json_line(suite.videos / "truth.jsonl", [&](const Json& line, int number) {
    const auto video = line.at("video").get<std::string>();
    auto frames = reader.read({suite.videos / video});
    ZOETROPE_CHECK_DATA(!data::skipped(frames), suite.videos.string(), "/truth.jsonl:", number,
                        ": ", video, ": ", std::get<data::SkipReason>(frames).detail);
    result.clips.push_back(std::move(std::get<data::Frames>(frames)));
    result.asked.push_back(data::scene_from_json(line));
  });
  ZOETROPE_CHECK_CONFIG(!result.clips.empty(), suite.videos.string(),
                        "/truth.jsonl names no clips");
  return result;
}

}  // namespace

Json shapes_scores(const std::vector<data::SpriteSeen>& seen,
                   const std::vector<data::ShapesScene>& asked) {
  const data::ShapesScore score = data::score_shapes(seen, asked);
  const std::map<std::string, double> shares = {{"colour", score.colour},
                                                {"shape", score.shape},
                                                {"direction", score.direction},
                                                {"all", score.all}};
  Json json, intervals;
  for (const auto& [name, share] : shares) {
    const data::Interval interval = data::wilson_interval(share, score.num_prompts);
    json[name] = share;
    intervals[name] = {interval.low, interval.high};
  }
  json["num_prompts"] = score.num_prompts;
  json["interval_95"] = intervals;
  return json;
}

Json evaluate_shapes(const ShapesEvaluation& suite) {
  ZOETROPE_CHECK_CONFIG(suite.checkpoint.empty() != suite.videos.empty(),
                        "suite shapes takes either --checkpoint or --videos");
  ZOETROPE_CHECK_CONFIG(suite.num_prompts >= 1, "--prompts ", suite.num_prompts, " is less than 1");
  fs::create_directories(suite.output / "videos");
  const Judged judged = suite.checkpoint.empty() ? read_videos(suite) : sample_prompts(suite);
  std::vector<data::SpriteSeen> seen;
  for (const data::Frames& clip : judged.clips) seen.push_back(data::judge_clip(clip));
  const Json scores = {{"shapes", shapes_scores(seen, judged.asked)}};

  std::vector<data::SheetRow> rows;
  for (std::size_t i = 0; i < judged.clips.size() && i < kMaxSheetRows; ++i) {
    rows.push_back({&judged.clips[i], data::short_caption(judged.asked[i])});
  }
  write_json(suite.output / "scores.json", scores);
  write_evaluation_report(suite.output, "MovingShapes: prompts and what was drawn",
                          scores["shapes"], rows, suite.command, suite.checkpoint);
  return scores;
}

}  // namespace zoetrope::train
