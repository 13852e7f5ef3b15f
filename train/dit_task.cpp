// The training step of the diffusion transformer: load, noise, predict the velocity, compare.
#include "train/dit_task.h"

#include <chrono>

#include <ATen/TensorOperators.h>

#include "base/error.h"
#include "model/weights.h"
#include "train/collate.h"

namespace zoetrope::train {
namespace {

std::vector<std::int64_t> tokens_of(const data::Corpus& corpus, const model::DitConfig& dit) {
  std::vector<std::int64_t> tokens;
  for (const data::ClipRecord& clip : corpus.clips()) {
    tokens.push_back((clip.latent_frames / dit.patch_size[0]) *
                     (clip.latent_height / dit.patch_size[1]) *
                     (clip.latent_width / dit.patch_size[2]));
  }
  return tokens;
}

const std::string& required_corpus(const DitTaskConfig& config) {
  ZOETROPE_CHECK_CONFIG(!config.corpus.empty(),
                        "dit.corpus is not set: give the folder that encode_dataset wrote");
  return config.corpus;
}

}  // namespace

DitTask::DitTask(const TrainConfig& config, launch::Mesh& mesh)
    : config_(config),
      mesh_(mesh),
      dit_(config.dit.model, at::kCPU),
      corpus_(required_corpus(config.dit)),
      tokens_(tokens_of(corpus_, config.dit.model)) {
  dit_.set_recompute_blocks(config.dit.activation_checkpointing == "full");
  check_corpus();
}

void DitTask::check_corpus() const {
  const model::DitConfig& dit = config_.dit.model;
  const auto& clips = corpus_.clips();
  ZOETROPE_CHECK_CONFIG(!clips.empty(), "corpus ", corpus_.folder().string(), " has no clips");
  ZOETROPE_CHECK_CONFIG(config_.dit.global_batch >= mesh_.num_batches(), "dit.global_batch ",
                        config_.dit.global_batch, " gives some of ", mesh_.num_batches(),
                        " ranks no sample");
  ZOETROPE_CHECK_CONFIG(config_.dit.planner.max_sp_degree == 1, "dit.planner.max_sp_degree is ",
                        config_.dit.planner.max_sp_degree,
                        ": this transformer runs each sample on one rank, expected 1");
  for (const data::ClipRecord& clip : clips) {
    ZOETROPE_CHECK_CONFIG(clip.latent_channels == dit.in_channels, "corpus ",
                          corpus_.folder().string(), " has ", clip.latent_channels,
                          " latent channels, dit.model.in_channels is ", dit.in_channels);
    ZOETROPE_CHECK_CONFIG(clip.latent_frames % dit.patch_size[0] == 0 &&
                              clip.latent_height % dit.patch_size[1] == 0 &&
                              clip.latent_width % dit.patch_size[2] == 0,
                          "clip ", clip.source, ": latent ", clip.latent_frames, "x",
                          clip.latent_height, "x", clip.latent_width,
                          " is not a multiple of dit.model.patch_size");
  }
  const auto text = corpus_.text("");
  ZOETROPE_CHECK_CONFIG(text.width == dit.text_dim, "corpus ", corpus_.folder().string(),
                        " has text states of width ", text.width, ", dit.model.text_dim is ",
                        dit.text_dim);
}

void DitTask::start(std::int64_t first_step) {
  data::LoaderConfig loader;
  loader.planner = config_.dit.planner;
  loader.planner.global_batch = config_.dit.global_batch;
  loader.planner.seed = static_cast<std::uint64_t>(config_.seed);
  loader.caption_dropout = config_.dit.caption_dropout;
  loader.prefetch_steps = static_cast<int>(config_.dit.prefetch_steps);
  loader.num_threads = static_cast<int>(config_.dit.loader_threads);
  loader.ram_cache_bytes = config_.dit.ram_cache_mb << 20;
  first_step_ = first_step;
  if (calibrations_.empty()) calibrations_ = {data::starting_calibration(loader.planner)};
  loader_ = std::make_unique<data::Loader>(corpus_, loader, tokens_, mesh_.batch(),
                                           mesh_.num_batches(), first_step, calibrations_);
}

void DitTask::rehearse() {
  if (config_.dit.planner.rehearse) forward_backward(loader_->load_heaviest());
}

LocalStep DitTask::forward_backward(std::int64_t step) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](auto duration) {
    return std::chrono::duration<double>(duration).count();
  };
  const auto start = Clock::now();
  const data::LoadedStep loaded = loader_->next();
  const auto ready = Clock::now();
  ZOETROPE_CHECK(loaded.plan.step == step, "loader is at step ", loaded.plan.step, ", not ", step);
  LocalStep local = forward_backward(loaded);
  local.data_wait_s = seconds(ready - start);
  calibrate(loaded, seconds(Clock::now() - ready));
  return local;
}

void DitTask::calibrate(const data::LoadedStep& loaded, double seconds) {
  const data::PlannerConfig& planner = config_.dit.planner;
  const std::int64_t step = loaded.plan.step;
  if (planner.calibrate_every == 0) return;
  data::PackContents pack;
  for (const data::LoadedSample& sample : loaded.samples) {
    pack.add(tokens_[static_cast<std::size_t>(sample.plan.clip)],
             data::shared_cost(1, sample.plan.seat.sp_degree, planner.sp_overhead));
  }
  // The first step after a start allocates, too: its time says nothing about the others.
  if (step > first_step_ && !loaded.samples.empty()) calibrator_.measure(pack, seconds);
  while (calibrations_.size() > 1 && calibrations_[1].from_step <= step + 1) {
    calibrations_.erase(calibrations_.begin());
  }
  if (step % planner.calibrate_every != 0) return;
  calibrations_.push_back(calibrator_.publish(calibrations_.back(), step + loader_->lead_steps(),
                                              mesh_.world(), mesh_.batch(), mesh_.num_batches()));
  loader_->calibrate(calibrations_.back());
}

LocalStep DitTask::forward_backward(const data::LoadedStep& loaded) {
  CollateConfig collating;
  collating.seed = static_cast<std::uint64_t>(config_.seed);
  collating.global_batch = config_.dit.global_batch;
  collating.patch = config_.dit.model.patch_size;
  collating.flow = config_.dit.flow;
  const PackedBatch batch = collate(loaded.samples, loaded.plan.step, collating);

  const auto compute_type = config_.precision == "bf16" ? at::kBFloat16 : at::kFloat;
  const model::SequencePlan plan(batch.target_TK.size(0), &mesh_.group(launch::Axis::kSequence));
  const at::Tensor velocity_TK = dit_.forward(batch.input, compute_type, plan);
  const at::Tensor errors_TK = (velocity_TK - plan.mine(batch.target_TK)).square();
  const at::Tensor loss = (errors_TK * plan.mine(batch.weight_T1)).sum();
  loss.backward();

  LocalStep local;
  local.loss = loss.item<double>();
  local.plan_hash = data::hash_plan(loaded.plan);
  local.balance = loaded.plan.balance;
  // The ranks of a sequence have the same samples: one of them counts.
  if (mesh_.index(launch::Axis::kSequence) > 0) return local;
  local.samples = static_cast<std::int64_t>(loaded.samples.size());
  for (std::size_t s = 0; s < loaded.samples.size(); ++s) {
    const std::int64_t tokens = batch.input.grids[s].tokens();
    local.tokens += tokens;
    local.flops += 3 * model::forward_flops(config_.dit.model, tokens, batch.input.text_lengths[s]);
  }
  return local;
}

void DitTask::save_model(const std::filesystem::path& folder) {
  model::save_dit(dit_, folder, at::kFloat);
}

void DitTask::load_model(const std::filesystem::path& folder) {
  model::load_weights(dit_, folder);
}

Json DitTask::context() const {
  const Json& header = corpus_.header();
  return Json{{"vae", header.value("vae", Json())},
              {"text_encoder", header.value("text_encoder", Json())},
              {"fps", header.value("fps", 0.0)}};
}

Json DitTask::state() const {
  Json records = Json::array();
  for (const data::Calibration& record : calibrations_) {
    records.push_back(data::calibration_to_json(record));
  }
  return Json{{"calibrations", records}};
}

void DitTask::load_state(const Json& state) {
  calibrations_.clear();
  for (const Json& json : state.at("calibrations")) {
    data::Calibration record = data::calibration_from_json(json, "state.json");
    // On another number of ranks the costs still hold; who is fast must be measured again.
    if (record.speeds.size() != static_cast<std::size_t>(mesh_.num_batches()))
      record.speeds.clear();
    calibrations_.push_back(std::move(record));
  }
}

std::string DitTask::describe() {
  std::int64_t total = 0, longest = 0;
  for (const std::int64_t tokens : tokens_) {
    total += tokens;
    longest = std::max(longest, tokens);
  }
  const auto clips = static_cast<double>(tokens_.size());
  const double per_step =
      static_cast<double>(total) / clips * static_cast<double>(config_.dit.global_batch);
  return concat("clips: ", tokens_.size(), "\ntokens a clip: ", static_cast<double>(total) / clips,
                " mean, ", longest, " at most\ntokens a step: ", per_step,
                "\nepochs: ", static_cast<double>(config_.steps * config_.dit.global_batch) / clips,
                "\n");
}

}  // namespace zoetrope::train
