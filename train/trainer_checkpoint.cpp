// What a trainer saves, and how it goes on from it.
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "model/weights.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOpponentFile = "opponent.safetensors";

using model::TensorMap;

// Adds `tensors` to a checkpoint's file under names that begin with `prefix`.
void add_with_prefix(TensorMap& file, const std::string& prefix, const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) file[prefix + name] = tensor;
}

// The tensors of `file` whose names begin with `prefix`, without it.
TensorMap with_prefix(const TensorMap& file, const std::string& prefix) {
  TensorMap chosen;
  for (const auto& [name, tensor] : file) {
    if (name.starts_with(prefix)) chosen[name.substr(prefix.size())] = tensor;
  }
  return chosen;
}

// AdamW's moments as the tensors of a checkpoint. Collective.
TensorMap moments_of(const Optimizer& optimizer, bool keep) {
  TensorMap moments;
  add_with_prefix(moments, "first.", optimizer.first_moments(keep));
  add_with_prefix(moments, "second.", optimizer.second_moments(keep));
  return moments;
}

// What a checkpoint is made of, in memory.
struct Snapshot {
  model::ModelSnapshot model, averages;
  TensorMap moments, opponent;
  Json state;
  std::string config;

  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto* tensors : {&model.tensors, &averages.tensors, &moments, &opponent}) {
      for (const auto& [name, tensor] : *tensors) sum += static_cast<std::int64_t>(tensor.nbytes());
    }
    return sum;
  }
};

void write_snapshot(const Snapshot& snapshot, const fs::path& folder, std::int64_t max_file_bytes) {
  model::save_snapshot(snapshot.model, folder / "model", max_file_bytes);
  model::save_snapshot(snapshot.averages, folder / "ema", max_file_bytes);
  model::save_tensors(folder / "optimizer.safetensors", snapshot.moments, {}, max_file_bytes);
  if (!snapshot.opponent.empty()) {
    model::save_tensors(folder / kOpponentFile, snapshot.opponent, {}, max_file_bytes);
  }
  write_json(folder / "state.json", snapshot.state);
  write_file_atomically(folder / "config.yaml", snapshot.config);
}

}  // namespace

fs::path Trainer::choose_checkpoint(const std::string& from) {
  if (from != "auto" && from != "none") return resolve_checkpoint(from);
  auto found = find_checkpoints(config_.run.dir);
  if (from == "none") {
    ZOETROPE_CHECK_CONFIG(found.empty(), "run folder ", config_.run.dir, " already has ",
                          found.size(),
                          " checkpoints: use --resume auto to go on, or another run.dir");
    return {};
  }
  while (!found.empty() && !verify_checkpoint(found.back().folder)) found.pop_back();
  return found.empty() ? fs::path() : found.back().folder;
}

// Weights, averages and two moments in fp32.
void Trainer::require_room() const {
  if (steps_done_ == config_.steps) return;
  try {
    check_room(config_.run.dir, task_->module().num_parameters() * 16);
  } catch (const Error& error) {
    throw ConfigError(concat(error.what(), "; make room or choose another run.dir"));
  }
}

void Trainer::save(std::int64_t step) {
  watchdog_->enter(launch::Phase::kCheckpoint, step);
  if (config_.guards.drift_every_steps > 0) check_replicas(*optimizer_, mesh_, step);
  saved_step_ = step;
  const auto start = std::chrono::steady_clock::now();
  const bool writes = writer_ != nullptr;
  const auto snapshot = std::make_shared<Snapshot>();
  snapshot->moments = moments_of(*optimizer_, writes);
  if (opponent_) {
    snapshot->opponent = moments_of(*opponent_optimizer_, writes);
    add_with_prefix(snapshot->opponent, "weight.", opponent_optimizer_->weights(writes));
  }
  model::TensorMap weights = optimizer_->weights(writes);
  optimizer_->swap_averages();
  model::TensorMap averages = optimizer_->weights(writes);
  optimizer_->swap_averages();
  if (!writes) return;
  snapshot->model = task_->snapshot_model(std::move(weights));
  snapshot->averages = task_->snapshot_model(std::move(averages));
  snapshot->state = Json{{"step", step},
                         {"skipped", skipped_},
                         {"seed", config_.seed},
                         {"guard", guard_.state()},
                         {"context", task_->context()},
                         {"task", task_->state()}};
  snapshot->config = print_config(config_);
  const auto max_file_bytes = static_cast<std::int64_t>(config_.checkpoint.max_file_gb * 1e9);
  writer_->submit(step, snapshot->bytes(), [snapshot, max_file_bytes](const fs::path& folder) {
    write_snapshot(*snapshot, folder, max_file_bytes);
  });
  log_info("checkpoint of step ", step, ": training waited ",
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), " s");
}

void Trainer::finish_saving() {
  watchdog_->enter(launch::Phase::kCheckpoint, steps_done_);
  if (writer_) writer_->finish();
  world_.barrier();
}

void Trainer::load(const fs::path& checkpoint) {
  check_same_model(task_->model_config(), checkpoint / "model");
  if (world_.rank() == 0) {
    log_info("resuming from ", checkpoint.string());
    warn_of_other_versions(checkpoint);
  }
  optimizer_->fill_weights(task_->weights_in(checkpoint / "model"));
  optimizer_->fill_averages(task_->weights_in(checkpoint / "ema"));
  const TensorMap moments = model::load_tensors(checkpoint / "optimizer.safetensors");
  optimizer_->load_moments(with_prefix(moments, "first."), with_prefix(moments, "second."));
  const Json state = read_json(checkpoint / "state.json");
  steps_done_ = state.at("step").get<std::int64_t>();
  skipped_ = state.at("skipped").get<std::int64_t>();
  if (state.contains("guard")) guard_.load_state(state.at("guard"));
  if (state.contains("task")) task_->load_state(state.at("task"));
  if (has_opponent(steps_done_)) load_opponent(checkpoint);
  saved_step_ = steps_done_;
}

void Trainer::load_opponent(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kOpponentFile;
  ZOETROPE_CHECK_CONFIG(fs::exists(file), "checkpoint ", checkpoint.string(), " of step ",
                        steps_done_, " has no ", file.filename().string(),
                        ", but the config has a discriminator since step ", opponent_->first_step);
  const TensorMap tensors = model::load_tensors(file), weights = with_prefix(tensors, "weight.");
  opponent_optimizer_->fill_weights([&](const std::string& name, at::Tensor& parameter) {
    const auto found = weights.find(name);
    ZOETROPE_CHECK_CONFIG(found != weights.end() && found->second.sizes() == parameter.sizes(),
                          file.string(), ": ", name, " is missing or has another shape");
    parameter.copy_(found->second);
  });
  opponent_optimizer_->load_moments(with_prefix(tensors, "first."),
                                    with_prefix(tensors, "second."));
}

void Trainer::note_early_stop() const {
  if (world_.rank() != 0) return;
  write_json(fs::path(config_.run.dir) / kStoppedFile,
             Json{{"step", steps_done_}, {"of", config_.steps}});
  log_info("stopped on request after step ", steps_done_, " of ", config_.steps,
           "; the same command goes on from there");
}

}  // namespace zoetrope::train
