// The training step of the diffusion transformer: load, noise, predict the velocity, compare.
#include "train/dit_task.h"

#include <chrono>
#include <functional>

#include <ATen/TensorOperators.h>

#include "base/error.h"
#include "model/weights.h"
#include "train/collate.h"

namespace zoetrope::train {
namespace {

// What dit.corpus or dit.corpora names.
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

// Clips whose latents are not stored are encoded by the loader's threads.
data::CorpusMix open_corpora(const DitTaskConfig& config,
                             std::vector<std::unique_ptr<OnlineEncoder>>& encoders) {
  std::vector<data::CorpusMix::Part> parts = corpora_of(config);
  for (data::CorpusMix::Part& part : parts) {
    encoders.push_back(std::make_unique<OnlineEncoder>(part.folder, config.vae, config.media_root));
    part.make_latent = std::ref(*encoders.back());
  }
  data::CorpusOptions options;
  options.cache_folder = config.cache_folder;
  options.cache_bytes = config.cache_mb << 20;
  return data::CorpusMix(parts, options);
}

}  // namespace

DitTask::DitTask(const TrainConfig& config, launch::Mesh& mesh)
    : config_(config),
      mesh_(mesh),
      dit_(config.dit.model, at::kCPU),
      corpora_(open_corpora(config.dit, encoders_)),
      pool_(corpora_.pool(config.dit.model.patch_size)) {
  dit_.set_recompute_blocks(config.dit.activation_checkpointing == "full");
  check_corpora();
}

void DitTask::check_corpora() const {
  const model::DitConfig& dit = config_.dit.model;
  ZOETROPE_CHECK_CONFIG(config_.dit.global_batch >= mesh_.num_batches(), "dit.global_batch ",
                        config_.dit.global_batch, " gives some of ", mesh_.num_batches(),
                        " ranks no sample");
  ZOETROPE_CHECK_CONFIG(config_.dit.planner.max_sp_degree == 1, "dit.planner.max_sp_degree is ",
                        config_.dit.planner.max_sp_degree,
                        ": this transformer runs each sample on one rank, expected 1");
  for (std::int64_t i = 0; i < corpora_.num_parts(); ++i) {
    const data::Corpus& corpus = corpora_.part(i);
    const data::IndexTotals& totals = corpus.totals();
    ZOETROPE_CHECK_CONFIG(totals.latent_channels == dit.in_channels, "corpus ",
                          corpus.folder().string(), " has ", totals.latent_channels,
                          " latent channels, dit.model.in_channels is ", dit.in_channels);
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
  loader.replace_bad_records = config_.dit.bad_records == "replace";
  first_step_ = first_step;
  if (calibrations_.empty()) calibrations_ = {data::starting_calibration(loader.planner)};
  loader_ = std::make_unique<data::Loader>(corpora_, loader, pool_, mesh_.batch(),
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
    pack.add(pool_.tokens(sample.plan.clip),
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
  const Json& header = corpora_.header();
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
  const std::int64_t patch = config_.dit.model.patch_volume();
  std::int64_t longest = 0;
  double mean = 0, total_weight = 0;
  for (const auto& part : corpora_of(config_.dit)) total_weight += part.weight;
  std::string corpora;
  for (std::int64_t i = 0; i < corpora_.num_parts(); ++i) {
    const data::Corpus& corpus = corpora_.part(i);
    const data::IndexTotals& totals = corpus.totals();
    const double share = corpora_of(config_.dit)[static_cast<std::size_t>(i)].weight / total_weight;
    const auto clips = static_cast<double>(totals.clips);
    const double epochs =
        static_cast<double>(config_.steps * config_.dit.global_batch) * share / clips;
    corpora += concat("corpus ", corpus.folder().string(), ": ", totals.clips, " clips, ",
                      100 * share, " % of the samples, ", epochs, " epochs\n");
    longest = std::max(longest, totals.max_positions / patch);
    mean += share * static_cast<double>(totals.positions / patch) / clips;
  }
  return concat(corpora, "tokens a clip: ", mean, " mean, ", longest,
                " at most\ntokens a step: ", mean * static_cast<double>(config_.dit.global_batch),
                "\n");
}

}  // namespace zoetrope::train
