// The training step of the diffusion transformer: load, noise, predict the velocity, compare.
#include "train/dit_task.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/passes.h"
#include "train/checkpoint.h"
#include "train/collate.h"

namespace zoetrope::train {
namespace {

// Training losses are told apart by noise level in so many bins.
constexpr int kLevelBins = 8;

// Held-out losses compare models, whatever weights they were trained with.
model::FlowConfig unweighted(model::FlowConfig flow) {
  flow.weighting = "none";
  flow.loss_on = "target";
  return flow;
}

// Sums over this rank's own tokens of each segment.
std::vector<double> segment_sums(const at::Tensor& values_t, const std::vector<model::Grid>& grids,
                                 const model::TokenPlan& plan) {
  const at::Tensor here_t = values_t.detach().cpu();
  std::vector<double> sums;
  std::int64_t begin = 0;
  for (const model::Grid& grid : grids) {
    const std::int64_t end = begin + grid.tokens();
    std::int64_t row = 0;
    sums.push_back(0);
    for (const model::Part& place : plan.own_places()) {
      const std::int64_t first = std::max(begin, place.begin), last = std::min(end, place.end());
      if (first < last) {
        const at::Tensor piece = here_t.narrow(0, row + first - place.begin, last - first);
        sums.back() += piece.sum(at::kDouble).item<double>();
      }
      row += place.count;
    }
    begin = end;
  }
  return sums;
}

data::CorpusOptions corpus_options(const DitTaskConfig& config) {
  data::CorpusOptions options;
  options.cache_folder = config.cache_folder;
  options.cache_bytes = config.cache_mb << 20;
  return options;
}

// Clips whose latents are not stored are encoded by the loader's threads.
data::CorpusMix open_corpora(const DitTaskConfig& config,
                             std::vector<std::unique_ptr<OnlineEncoder>>& encoders,
                             std::int64_t hold_out) {
  std::vector<data::CorpusMix::Part> parts = corpora_of(config);
  for (data::CorpusMix::Part& part : parts) {
    encoders.push_back(std::make_unique<OnlineEncoder>(part.folder, config.vae, config.media_root));
    part.make_latent = std::ref(*encoders.back());
  }
  return data::CorpusMix(parts, corpus_options(config), config.filter, hold_out);
}

}  // namespace

std::vector<data::CorpusMix::Part> corpora_of(const DitTaskConfig& config) {
  ZOETROPE_CHECK_CONFIG(config.corpus.empty() != config.corpora.empty(),
                        config.corpus.empty()
                            ? "dit.corpus is not set: give the folder that encode_dataset wrote"
                            : "dit.corpus and dit.corpora are both set: give one of them");
  if (!config.corpus.empty()) return {{config.corpus, 1, nullptr}};
  std::vector<data::CorpusMix::Part> parts;
  for (const CorpusConfig& corpus : config.corpora) {
    parts.push_back({corpus.folder, corpus.weight, nullptr});
  }
  return parts;
}

model::Checkpointing checkpointing_of(const std::string& name, at::Device device) {
  if (name == "selective") return model::Checkpointing::kSelective;
  if (name == "offload" && device.is_cuda()) return model::Checkpointing::kOffload;
  return name == "none" ? model::Checkpointing::kNone : model::Checkpointing::kFull;
}

std::int64_t num_held_out(const ValidationConfig& config) {
  return config.every_steps > 0 && config.corpus.empty() ? config.samples : 0;
}

DitTask::DitTask(const TrainConfig& config, launch::Mesh& mesh, at::Device device)
    : config_(config),
      mesh_(mesh),
      device_(device),
      dit_(config.dit.model, device,
           {mesh.index(launch::Axis::kTensor), mesh.size(launch::Axis::kTensor)}),
      corpora_(open_corpora(config.dit, encoders_, num_held_out(config.validation))),
      pool_(corpora_.pool(config.dit.model.patch_size, config.dit.draw)),
      held_out_objective_(unweighted(config.dit.flow)),
      seat_groups_(mesh, config.dit.planner) {
  dit_.set_checkpointing(checkpointing_of(config.dit.activation_checkpointing, device));
  check_batch();
  for (std::int64_t i = 0; i < corpora_.num_parts(); ++i) {
    const data::Corpus& corpus = corpora_.part(i);
    check_corpus(corpus);
    if (mesh_.world().rank() == 0 && corpora_.filtered(i).kept != corpus.totals().clips) {
      log_info("corpus ", corpus.folder().string(), ": ", corpora_.filtered(i).describe());
    }
  }
  if (config.validation.every_steps > 0) hold_out();
  if (config.dit.lora.rank > 0) attach_adapters();
}

void DitTask::attach_adapters() {
  ZOETROPE_CHECK_CONFIG(!config_.init_from.empty(),
                        "dit.lora trains adapters on given weights: set init_from to their folder");
  ZOETROPE_CHECK_CONFIG(mesh_.size(launch::Axis::kTensor) == 1, "mesh.tensor is ",
                        mesh_.size(launch::Axis::kTensor),
                        ": dit.lora trains on whole layers, it must be 1");
  const std::filesystem::path base = resolve_weights(config_.init_from, component());
  check_same_model(model::dit_config_to_json(config_.dit.model), base);
  model::load_weights(dit_, base);
  lora_ = std::make_unique<model::LoraAdapters>(dit_, config_.dit.lora);
}

model::Module& DitTask::module() {
  return lora_ ? static_cast<model::Module&>(*lora_) : dit_;
}

model::ParameterVisitor DitTask::initial_weights(std::uint64_t seed) {
  return lora_ ? lora_->initial_weights(seed) : dit_.initial_weights(seed);
}

void DitTask::hold_out() {
  auto clips = corpora_.held_out();
  if (const std::string& folder = config_.validation.corpus; !folder.empty()) {
    other_corpus_ = std::make_unique<data::CorpusMix>(std::vector<data::CorpusMix::Part>{{folder}},
                                                      corpus_options(config_.dit));
    check_corpus(other_corpus_->part(0));
    const std::int64_t count = std::min(other_corpus_->num_clips(), config_.validation.samples);
    for (std::int64_t i = 0; i < count; ++i) {
      clips.push_back({&other_corpus_->part(0), other_corpus_->clip(i)});
    }
  }
  if (config_.dit.bad_records == "replace") drop_unreadable(clips);
  held_out_ = std::make_unique<HeldOut>(std::move(clips), config_.dit.model.patch_size,
                                        mesh_.num_batches(), tokens_of_a_rank());
}

// No other clip replaces one here: all ranks leave out what rank 0 cannot read.
void DitTask::drop_unreadable(std::vector<data::CorpusMix::HeldOutClip>& clips) {
  Json kept = Json::array();
  for (std::size_t i = 0; i < clips.size() && mesh_.world().rank() == 0; ++i) {
    const auto& [corpus, clip] = clips[i];
    try {
      corpus->latent(clip);
      corpus->text(clip.text_ids.empty() ? "" : clip.text_ids[0]);
      kept.push_back(i);
    } catch (const DataError& error) {
      log_warn("left out of validation: ", error.what());
    }
  }
  kept = parse_json(mesh_.world().all_gather(kept.dump())[0], "held-out clips");
  std::vector<data::CorpusMix::HeldOutClip> rest;
  for (const Json& index : kept) rest.push_back(clips[index.get<std::size_t>()]);
  ZOETROPE_CHECK_DATA(!rest.empty(), "none of the ", clips.size(), " held-out clips can be read");
  clips = std::move(rest);
}

// In a training step, on average: a forward pass alone needs less memory for as many.
std::int64_t DitTask::tokens_of_a_rank() const {
  std::int64_t positions = 0, clips = 0;
  for (std::int64_t i = 0; i < corpora_.num_parts(); ++i) {
    positions += corpora_.part(i).totals().positions;
    clips += corpora_.part(i).totals().clips;
  }
  const std::int64_t tokens = positions / config_.dit.model.patch_volume() / clips *
                              config_.dit.global_batch / mesh_.num_batches();
  const std::int64_t limit = config_.dit.max_tokens_per_pass;
  return limit > 0 ? std::min(limit, tokens) : tokens;
}

void DitTask::check_batch() const {
  ZOETROPE_CHECK_CONFIG(config_.dit.conditions.total() <= 1 + 1e-9, "dit.conditions add up to ",
                        config_.dit.conditions.total(), ", more than all samples");
  ZOETROPE_CHECK_CONFIG(config_.dit.global_batch >= mesh_.num_batches(), "dit.global_batch ",
                        config_.dit.global_batch, " gives some of ", mesh_.num_batches(),
                        " ranks no sample");
  ZOETROPE_CHECK_CONFIG(
      config_.dit.planner.max_sp_degree == 1 || mesh_.size(launch::Axis::kSequence) == 1,
      "dit.planner.max_sp_degree ", config_.dit.planner.max_sp_degree, " and mesh.sequence ",
      mesh_.size(launch::Axis::kSequence),
      ": either the planner shares long samples, or the mesh every sample");
}

void DitTask::check_corpus(const data::Corpus& corpus) const {
  const model::DitConfig& dit = config_.dit.model;
  const data::IndexTotals& totals = corpus.totals();
  ZOETROPE_CHECK_CONFIG(
      totals.latent_channels == dit.in_channels && totals.latent_channels == dit.out_channels,
      "corpus ", corpus.folder().string(), " has ", totals.latent_channels,
      " latent channels, dit.model.in_channels is ", dit.in_channels,
      " and dit.model.out_channels ", dit.out_channels);
  for (std::size_t side = 0; side < 3; ++side) {
    ZOETROPE_CHECK_CONFIG(totals.common_divisors[side] % dit.patch_size[side] == 0, "corpus ",
                          corpus.folder().string(),
                          ": not every clip's latent frames, height and width are multiples of "
                          "dit.model.patch_size; their common divisors are ",
                          totals.common_divisors[0], ", ", totals.common_divisors[1], ", ",
                          totals.common_divisors[2]);
  }
  const auto text = corpus.text("");
  ZOETROPE_CHECK_CONFIG(text.width == dit.text_dim, "corpus ", corpus.folder().string(),
                        " has text states of width ", text.width, ", dit.model.text_dim is ",
                        dit.text_dim);
}

void DitTask::start(std::int64_t first_step) {
  data::LoaderConfig loader;
  loader.planner = config_.dit.planner;
  loader.planner.global_batch = config_.dit.global_batch;
  loader.planner.seed = static_cast<std::uint64_t>(config_.seed);
  loader.draw = config_.dit.draw;
  loader.caption_dropout = config_.dit.caption_dropout;
  loader.prefetch_steps = static_cast<int>(config_.dit.prefetch_steps);
  loader.num_threads = static_cast<int>(config_.dit.loader_threads);
  loader.ram_cache_bytes = config_.dit.ram_cache_mb << 20;
  loader.replace_bad_records = config_.dit.bad_records == "replace";
  first_step_ = first_step;
  if (calibrations_.empty()) calibrations_ = {data::starting_calibration(loader.planner)};
  loader_ = std::make_unique<data::Loader>(corpora_, loader, pool_, mesh_.batch(),
                                           mesh_.num_batches(), first_step, calibrations_);
}

void DitTask::rehearse(const BeforePass& before_pass) {
  if (!config_.dit.planner.rehearse) return;
  data::LoadedStep heaviest = loader_->load_heaviest();
  forward_backward(heaviest, before_pass);
}

LocalStep DitTask::forward_backward(std::int64_t step, const BeforePass& before_pass) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](auto duration) {
    return std::chrono::duration<double>(duration).count();
  };
  const auto start = Clock::now();
  data::LoadedStep loaded = loader_->next();
  const auto ready = Clock::now();
  ZOETROPE_CHECK(loaded.plan.step == step, "loader is at step ", loaded.plan.step, ", not ", step);
  LocalStep local = forward_backward(loaded, before_pass);
  local.data_wait_s = seconds(ready - start);
  calibrate(loaded, seconds(Clock::now() - ready));
  return local;
}

void DitTask::calibrate(const data::LoadedStep& loaded, double seconds) {
  const data::PlannerConfig& planner = config_.dit.planner;
  const std::int64_t step = loaded.plan.step;
  if (planner.calibrate_every == 0) return;
  data::PackContents pack;
  for (const data::PlannedSample& sample : loaded.plan.samples) {
    if (!sample.seat.holds(mesh_.batch())) continue;
    pack.add(pool_.tokens(sample.clip),
             data::shared_cost(1, sample.seat.sp_degree, planner.sp_overhead));
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

LocalStep DitTask::forward_backward(data::LoadedStep& loaded, const BeforePass& before_pass) {
  const data::Passes passes = data::cut_into_passes(loaded.plan, pool_, mesh_.num_batches(),
                                                    config_.dit.max_tokens_per_pass);
  std::map<std::int64_t, std::int32_t> pass_of;  // by global index
  for (std::size_t i = 0; i < passes.pass_of.size(); ++i) {
    pass_of[loaded.plan.samples[i].global_index] = passes.pass_of[i];
  }
  LocalStep local;
  for (int bin = 0; bin < kLevelBins; ++bin) local.groups[concat("loss_t", bin)];
  local.groups["loss_image"];
  local.groups["loss_video"];
  for (std::int32_t pass = 0; pass < passes.count; ++pass) {
    std::vector<data::LoadedSample> samples;
    for (data::LoadedSample& sample : loaded.samples) {
      if (pass_of.at(sample.plan.global_index) == pass) samples.push_back(std::move(sample));
    }
    before_pass(pass + 1 == passes.count);
    run_pass(std::move(samples), loaded.plan.step, local);
  }
  local.plan_hash = data::hash_plan(loaded.plan);
  local.balance = loaded.plan.balance;
  return local;
}

void DitTask::run_pass(std::vector<data::LoadedSample> samples, std::int64_t step,
                       LocalStep& local) {
  CollateConfig collating;
  collating.seed = static_cast<std::uint64_t>(config_.seed);
  collating.global_batch = config_.dit.global_batch;
  collating.patch = config_.dit.model.patch_size;
  collating.flow = config_.dit.flow;
  collating.conditions = config_.dit.conditions;
  join_seats(
      samples, [](const data::LoadedSample& sample) -> auto& { return sample.plan.seat; });
  // A rank without samples in this pass still takes part in what all do.
  const PackedBatch batch = samples.empty() ? idle_batch() : collate(samples, step, collating);

  std::vector<data::Seat> seats(samples.empty() ? 1 : 0);  // the idle batch: one segment
  for (const data::LoadedSample& sample : samples) seats.push_back(sample.plan.seat);
  const model::TokenPlan plan = seat_groups_.token_plan(seats, batch.input.grids);
  const at::Tensor errors_t = weighted_errors(batch, plan);
  errors_t.sum().backward();

  const std::vector<double> losses = segment_sums(errors_t, batch.input.grids, plan);
  for (std::size_t s = 0; s < samples.size(); ++s) {
    count_sample(samples[s], batch, s, losses[s], local);
  }
}

PackedBatch DitTask::idle_batch() const {
  return train::idle_batch(config_.dit.model,
                           mesh_.size(launch::Axis::kSequence) * mesh_.size(launch::Axis::kTensor));
}

at::Tensor DitTask::weighted_errors(const PackedBatch& packed, const model::TokenPlan& plan) {
  const PackedBatch batch = packed.on(device_);
  const auto compute_type = config_.precision == "bf16" ? at::kBFloat16 : at::kFloat;
  const at::Tensor output_tK = dit_.forward(batch.input, compute_type, plan);
  const at::Tensor errors_tK = (output_tK - plan.own(batch.target_TK)).square();
  return (errors_tK * plan.own(batch.weight_T1)).sum(1);
}

// Ranks that share a sample each have a part of its loss; one of them counts the sample.
void DitTask::count_sample(const data::LoadedSample& sample, const PackedBatch& batch,
                           std::size_t segment, double loss, LocalStep& local) const {
  const bool counts = mesh_.speaks_for_batch() && sample.plan.seat.first_rank == mesh_.batch();
  local.loss += loss;
  local.trained_on.push_back({sample.clip_id, sample.plan.global_index, loss});
  const auto add_to = [&](const std::string& group) {
    local.groups[group].sum += loss * static_cast<double>(config_.dit.global_batch);
    local.groups[group].count += counts ? 1 : 0;
  };
  add_to(concat("loss_t", static_cast<int>(batch.sigmas[segment] * kLevelBins)));
  add_to(sample.latent.frames == 1 ? "loss_image" : "loss_video");
  if (!counts) return;
  const std::int64_t tokens = batch.input.grids[segment].tokens();
  ++local.samples;
  local.tokens += tokens;
  // Frozen weights need no gradients of their own: two passes' work, not three.
  local.flops += (lora_ ? 2 : 3) *
                 model::forward_flops(config_.dit.model, tokens, batch.input.text_lengths[segment]);
}

// All ranks run equally many passes, since a forward pass is collective on some meshes.
std::vector<double> DitTask::validate() {
  if (!held_out_) return {};
  const at::NoGradGuard no_grad;
  std::vector<double> loss_by_t(kHeldOutLevels);
  for (std::int64_t pass = 0; pass < held_out_->num_passes(); ++pass) {
    HeldOut::Pack pack = held_out_->load(mesh_.batch(), pass, held_out_objective_);
    if (pack.levels.empty()) pack.batch = idle_batch();
    const std::vector<model::Grid>& grids = pack.batch.input.grids;
    const model::TokenPlan plan =
        seat_groups_.token_plan(std::vector<data::Seat>(grids.size()), grids);
    const auto losses = segment_sums(weighted_errors(pack.batch, plan), grids, plan);
    for (std::size_t s = 0; s < pack.levels.size(); ++s) {
      loss_by_t[static_cast<std::size_t>(pack.levels[s])] += losses[s];
    }
  }
  mesh_.world().all_reduce_sum(std::span<double>(loss_by_t));
  return loss_by_t;
}

Task::WeightsFile DitTask::weights_file() const {
  if (!lora_) return {};
  return {model::kLoraFile, model::kLoraPrefix, model::lora_metadata(lora_->config())};
}

model::ParameterVisitor DitTask::weights_in(const std::filesystem::path& folder) {
  return lora_ ? model::lora_weights_of(folder, *lora_) : Task::weights_in(folder);
}

Json DitTask::model_config() const {
  Json json = model::dit_config_to_json(config_.dit.model);
  if (lora_) {
    json["lora"] = model::lora_to_json(lora_->config());
    json["lora_base"] =
        std::filesystem::absolute(resolve_weights(config_.init_from, component())).string();
  }
  return json;
}

Json DitTask::context() const {
  const Json& header = corpora_.header();
  return Json{{"vae", header.value("vae", Json())},
              {"text_encoder", header.value("text_encoder", Json())},
              {"fps", header.value("fps", 0.0)},
              {"objective", model::flow_config_to_json(config_.dit.flow)},
              {"conditioned_share", config_.dit.conditions.total()}};
}

Json DitTask::state() const {
  Json records = Json::array();
  for (const data::Calibration& record : calibrations_) {
    records.push_back(data::calibration_to_json(record));
  }
  return Json{{"calibrations", records}, {"target", config_.dit.flow.target}};
}

void DitTask::load_state(const Json& state) {
  const std::string target = state.value("target", "v");
  ZOETROPE_CHECK_CONFIG(target == config_.dit.flow.target, "the checkpoint's model gives ", target,
                        ", dit.flow.target is ", config_.dit.flow.target);
  calibrations_.clear();
  for (const Json& json : state.at("calibrations")) {
    data::Calibration record = data::calibration_from_json(json, "state.json");
    // On another number of ranks the costs still hold; who is fast must be measured again.
    if (record.speeds.size() != static_cast<std::size_t>(mesh_.num_batches()))
      record.speeds.clear();
    calibrations_.push_back(std::move(record));
  }
}

}  // namespace zoetrope::train
