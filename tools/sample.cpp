// sample: checkpoint + prompts -> mp4 (or PNG for one frame).
#include <iostream>
#include <optional>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "base/progress.h"
#include "data/video_reader.h"
#include "data/video_writer.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "train/generator.h"
#include "train/vae_options.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "sample --checkpoint RUN_OR_FOLDER (--prompt TEXT | --prompts FILE.jsonl) --output FILE_OR_DIR";
constexpr const char* kExamples =
    "  sample --checkpoint runs/tiny --prompt 'a red circle moves left' --output circle.mp4\n"
    "  mpirun -np 2 sample --checkpoint runs/tiny --prompts prompts.jsonl --output samples/\n"
    "  sample --checkpoint runs/tiny --prompt 'a blue square' --frames 1 --output square.png\n"
    "A line of FILE.jsonl: {\"prompt\": TEXT, \"frames\": N, \"height\": N, \"width\": N}; sizes "
    "may be left out.\n"
    "  sample --checkpoint runs/tiny --prompt '...' --keep still.png@0 --output animated.mp4\n"
    "  sample --checkpoint runs/tiny --prompt '...' --keep a.mp4@0 --keep b.mp4@end --frames 33 "
    "--output joined.mp4\n";

po::options_description own_options() {
  po::options_description own("Options of sample");
  auto add = own.add_options();
  add("checkpoint", po::value<std::string>(),
      "run folder, checkpoint, diffusers folder or shipped NAME");
  add("prompt", po::value<std::string>(), "what to show");
  add("prompts", po::value<std::string>(), "JSON lines with a prompt each");
  add("negative", po::value<std::string>()->default_value(""), "what to steer away from");
  add("output", po::value<std::string>(), "file for one prompt, folder for several");
  add("frames", po::value<int>()->default_value(17), "1 + a multiple of the VAE's temporal stride");
  add("height", po::value<int>()->default_value(64), "pixels");
  add("width", po::value<int>()->default_value(64), "pixels");
  add("fps", po::value<double>(), "of the video; default: that of the training corpus");
  add("steps", po::value<int>()->default_value(30), "solver steps");
  add("guidance", po::value<double>()->default_value(3), "classifier-free guidance; 1 = off");
  add("solver", po::value<std::string>()->default_value("unipc"), "unipc or euler");
  add("shift", po::value<double>()->default_value(3), "of the noise levels");
  add("precision", po::value<std::string>()->default_value("fp32"), "fp32 or bf16");
  add("weights", po::value<std::string>()->default_value("ema"), "ema or model");
  add("vae", po::value<std::string>()->default_value(""),
      "folder, run folder, checkpoint or NAME; default: as trained");
  add("text-encoder", po::value<std::string>()->default_value(""),
      "folder or NAME; default: as trained");
  add("keep", po::value<std::vector<std::string>>()->composing(),
      "PATH@FRAME: a still or clip that the video contains from frame FRAME on; negative counts "
      "from the end, @end puts its last frame last; repeatable");
  add("loop", po::bool_switch(), "ends as it begins");
  add("pack", po::value<int>()->default_value(16), "prompts sampled together");
  train::add_vae_options(own);
  return own;
}

int checked_positive(const po::variables_map& values, const char* name) {
  const int value = values[name].as<int>();
  ZOETROPE_CHECK_CONFIG(value >= 1, "--", name, " ", value, " is less than 1");
  return value;
}

std::vector<train::VideoPrompt> read_prompts(const po::variables_map& values) {
  train::VideoPrompt defaults;
  defaults.negative = values["negative"].as<std::string>();
  defaults.frames = checked_positive(values, "frames");
  defaults.height = checked_positive(values, "height");
  defaults.width = checked_positive(values, "width");
  ZOETROPE_CHECK_CONFIG(values.count("prompt") + values.count("prompts") == 1,
                        "give either --prompt TEXT or --prompts FILE.jsonl");
  std::vector<train::VideoPrompt> prompts;
  if (values.count("prompt") > 0) {
    prompts.push_back(defaults);
    prompts.back().text = values["prompt"].as<std::string>();
    return prompts;
  }
  const fs::path file = values["prompts"].as<std::string>();
  for_each_json_line(file, [&](const Json& line, int number) {
    ZOETROPE_CHECK_CONFIG(line.is_object() && line.contains("prompt") && line["prompt"].is_string(),
                          file.string(), ":", number, ": no \"prompt\" text");
    train::VideoPrompt prompt = defaults;
    prompt.text = line["prompt"].get<std::string>();
    prompt.frames = line.value("frames", defaults.frames);
    prompt.height = line.value("height", defaults.height);
    prompt.width = line.value("width", defaults.width);
    prompt.index = static_cast<std::int64_t>(prompts.size());
    prompts.push_back(prompt);
  });
  ZOETROPE_CHECK_CONFIG(!prompts.empty(), file.string(), " has no prompts");
  return prompts;
}

model::SampleConfig sample_config(const po::variables_map& values) {
  model::SampleConfig config;
  config.steps = checked_positive(values, "steps");
  config.guidance = values["guidance"].as<double>();
  config.shift = values["shift"].as<double>();
  config.solver = values["solver"].as<std::string>();
  const auto& precision = values["precision"].as<std::string>();
  ZOETROPE_CHECK_CONFIG(precision == "fp32" || precision == "bf16", "--precision ", precision,
                        " is neither fp32 nor bf16");
  config.compute_type = precision == "bf16" ? at::kBFloat16 : at::kFloat;
  return config;
}

data::Frames read_kept(const fs::path& path, const train::VideoGenerator& generator,
                       const train::VideoPrompt& prompt) {
  data::VideoReader reader;
  data::DecodeRequest request;
  request.path = path;
  request.max_pixels = std::int64_t{1} * prompt.height * prompt.width;
  request.size_multiple = generator.size_multiple();
  const auto read = reader.read(request);
  ZOETROPE_CHECK_CONFIG(!data::skipped(read), "--keep ", path.string(), ": ",
                        std::get<data::SkipReason>(read).detail);
  return std::get<data::Frames>(read);
}

// PATH@FRAME -> the frames, and where the first of them lies in the prompt's video.
train::KeptClip parse_keep(const std::string& text, const train::VideoGenerator& generator,
                           const train::VideoPrompt& prompt) {
  const std::size_t at = text.rfind('@');
  const std::string place = at == std::string::npos ? "" : text.substr(at + 1);
  const std::string digits = place.substr(place.starts_with('-') ? 1 : 0);
  const bool is_number = !digits.empty() && digits.size() < 8 &&
                         digits.find_first_not_of("0123456789") == std::string::npos;
  ZOETROPE_CHECK_CONFIG(is_number || place == "end", "--keep ", text,
                        ": expected PATH@FRAME, FRAME a whole number or end");
  train::KeptClip clip{read_kept(text.substr(0, at), generator, prompt), 0};
  clip.first = is_number ? std::stoi(place) : prompt.frames - clip.frames.num_frames;
  return clip;
}

void keep_frames(const po::variables_map& values, const train::VideoGenerator& generator,
                 std::vector<train::VideoPrompt>& prompts) {
  if (values.count("keep") == 0 && !values["loop"].as<bool>()) return;
  if (!generator.knows_kept_frames()) {
    log_warn(
        "this checkpoint was trained without condition masks (dit.conditions): it has never "
        "seen given frames, and what it makes around them may not fit");
  }
  if (values.count("keep") == 0) return;
  for (train::VideoPrompt& prompt : prompts) {
    for (const std::string& text : values["keep"].as<std::vector<std::string>>()) {
      prompt.keep.push_back(parse_keep(text, generator, prompt));
    }
  }
}

// The frame of `clip` that lies at `place` of a video of `num_frames`, if any, as a still.
std::optional<data::Frames> frame_at(const train::KeptClip& clip, int place, int num_frames) {
  const int i = place - (clip.first < 0 ? num_frames + clip.first : clip.first);
  if (i < 0 || i >= clip.frames.num_frames) return std::nullopt;
  data::Frames still = clip.frames;
  const auto begin = clip.frames.rgb.begin() + static_cast<std::ptrdiff_t>(still.frame_bytes()) * i;
  still.num_frames = 1;
  still.rgb.assign(begin, begin + static_cast<std::ptrdiff_t>(still.frame_bytes()));
  return still;
}

// The first frame is also the last: the one that is kept at either end, or a sampled still.
void close_loops(train::VideoGenerator& generator, std::uint64_t seed,
                 const model::SampleConfig& config, int pack,
                 std::vector<train::VideoPrompt>& prompts) {
  for (train::VideoPrompt& prompt : prompts) {
    const int last = prompt.frames - 1;
    ZOETROPE_CHECK_CONFIG(last > 0, "--loop needs more than one frame");
    std::optional<data::Frames> first_frame, last_frame;
    for (const train::KeptClip& clip : prompt.keep) {
      if (auto frame = frame_at(clip, 0, prompt.frames)) first_frame = std::move(frame);
      if (auto frame = frame_at(clip, last, prompt.frames)) last_frame = std::move(frame);
    }
    if (!first_frame && !last_frame) {
      train::VideoPrompt still = prompt;
      still.frames = 1;
      still.keep.clear();
      first_frame = generator.generate({still}, seed, config, pack).front();
      prompt.keep.push_back({*first_frame, 0});
    }
    if (!last_frame) prompt.keep.push_back({*first_frame, last});
    if (!first_frame) prompt.keep.push_back({*last_frame, 0});
  }
}

fs::path output_path(const fs::path& output, bool several, std::int64_t index) {
  if (!several) return output;
  char name[32];
  std::snprintf(name, sizeof(name), "%06lld", static_cast<long long>(index));
  return output / name;
}

int run(int argc, char** argv, launch::Communicator& world) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "", common, values))
    return kExitOk;
  for (const char* name : {"checkpoint", "output"}) {
    ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing: ", kUsage);
  }
  const auto prompts = read_prompts(values);
  const auto config = sample_config(values);
  const at::Device device = model::select_device(common.device, launch::local_rank().index);
  at::set_num_threads(launch::threads_per_rank());
  train::VideoGenerator generator(
      {values["checkpoint"].as<std::string>(), values["weights"].as<std::string>(),
       values["vae"].as<std::string>(), values["text-encoder"].as<std::string>(),
       train::read_vae_options(values), device});
  std::vector<train::VideoPrompt> mine;
  for (std::size_t i = world.rank(); i < prompts.size(); i += world.size())
    mine.push_back(prompts[i]);
  keep_frames(values, generator, mine);

  const int pack = checked_positive(values, "pack");
  const auto packs = (static_cast<std::int64_t>(mine.size()) + pack - 1) / pack;
  if (values["loop"].as<bool>())
    close_loops(generator, static_cast<std::uint64_t>(common.seed), config, pack, mine);
  Progress progress("sampling", packs * config.steps, world.rank() == 0, "steps");
  const auto clips = generator.generate(mine, static_cast<std::uint64_t>(common.seed), config, pack,
                                        [&] { progress.advance(); });
  const fs::path output = values["output"].as<std::string>();
  const bool several = values.count("prompts") > 0;
  if (several) fs::create_directories(output);
  std::string written;
  for (std::size_t i = 0; i < clips.size(); ++i) {
    data::VideoOptions options;
    options.fps = values.count("fps") > 0 ? values["fps"].as<double>() : generator.fps();
    options.metadata = {{"comment", concat("made by zoetrope; prompt: ", mine[i].text)}};
    const auto path =
        data::write_clip(output_path(output, several, mine[i].index), clips[i], options);
    log_info(path.string(), ": ", mine[i].text);
    written += path.string() + "\n";
  }
  const auto all = world.all_gather(written);
  if (world.rank() == 0) {
    std::cout << Json{{"samples", prompts.size()},
                      {"output", output.string()},
                      {"seed", common.seed},
                      {"weights", generator.folder().string()}}
              << std::endl;
  }
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_parallel_main(argc, argv, zoetrope::run);
}
