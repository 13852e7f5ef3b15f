// The training loop.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/log.h"
#include "launch/stop_signal.h"
#include "model/weights.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Rank 0 decides, all ranks follow; its failure is theirs.
std::string from_rank_zero(launch::Communicator& world, const std::string& mine) {
  return world.all_gather(world.rank() == 0 ? mine : std::string())[0];
}

// The first 52 bits of a hash in hexadecimal: exact in a double.
double plan_number(const std::string& hash) {
  return hash.empty() ? 0 : static_cast<double>(std::stoull(hash.substr(0, 13), nullptr, 16));
}

// Sums over ranks of what each one did; parts keep their names.
LocalStep sum_over_ranks(LocalStep local, launch::Communicator& world) {
  std::vector<double> values = {local.loss, static_cast<double>(local.samples),
                                static_cast<double>(local.tokens), local.flops};
  for (const auto& [name, value] : local.parts) values.push_back(value);
  for (const auto& [name, group] : local.groups)
    values.insert(values.end(), {group.sum, group.count});
  world.all_reduce_sum(std::span<double>(values));
  local.loss = values[0];
  local.samples = static_cast<std::int64_t>(values[1]);
  local.tokens = static_cast<std::int64_t>(values[2]);
  local.flops = values[3];
  std::size_t next = 4;
  for (auto& [name, value] : local.parts) value = values[next++];
  for (auto& [name, group] : local.groups) {
    group = {values[next], values[next + 1]};
    next += 2;
    if (group.count > 0) local.parts[name] = group.sum / group.count;
  }
  const double plan = plan_number(local.plan_hash);
  std::vector<double> largest = {local.data_wait_s, plan, -plan};
  world.all_reduce_max(largest);
  ZOETROPE_CHECK(largest[1] == -largest[2], "ranks have different plans of a step; rank ",
                 world.rank(), " has ", local.plan_hash);
  local.data_wait_s = largest[0];
  return local;
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, launch::Communicator& world, at::Device device)
    : config_(config),
      world_(world),
      mesh_(config.mesh, world),
      guard_(config.guards),
      stragglers_(config.watchdog.compare_steps, world),
      profiler_(config.profile, fs::path(config.run.dir) / "profile", world.rank()) {
  task_ = make_task(config, mesh_, device);
  optimizer_ = std::make_unique<Optimizer>(task_->module(), config_.optimizer,
                                           sharding_of(config.mesh.sharding), mesh_);
  opponent_ = task_->opponent();
  if (opponent_) {
    opponent_optimizer_ = std::make_unique<Optimizer>(*opponent_->module, opponent_->optimizer,
                                                      sharding_of(config.mesh.sharding), mesh_);
    opponent_optimizer_->fill_weights(opponent_->initial_weights);
  }
  if (world.rank() == 0) {
    fs::create_directories(config.run.dir);
    lock_ = std::make_unique<FolderLock>(config.run.dir, "train");
  }
  world.barrier();
  watchdog_ = std::make_unique<launch::Watchdog>(
      config.watchdog, fs::path(config.run.dir) / "heartbeats", world.rank(), world.size());
}

Trainer::~Trainer() = default;

void Trainer::start(const std::string& from) {
  const std::string chosen =
      from_rank_zero(world_, world_.rank() == 0 ? choose_checkpoint(from).string() : "");
  if (!chosen.empty()) {
    load(chosen);
  } else if (config_.init_from.empty() || task_->trains_adapters()) {
    optimizer_->fill_weights(task_->initial_weights(static_cast<std::uint64_t>(config_.seed)));
  } else {
    const fs::path weights = resolve_weights(config_.init_from, task_->component());
    check_same_model(task_->model_config(), weights);
    optimizer_->fill_weights(model::weights_of(weights, task_->module()));
  }
  ZOETROPE_CHECK_CONFIG(steps_done_ <= config_.steps, "checkpoint ", chosen, " is at step ",
                        steps_done_, ", the config ends at ", config_.steps);
  writer_ =
      std::make_unique<CheckpointWriter>(config_.run.dir, config_.task, config_.checkpoint, world_);
  if (world_.rank() == 0) {
    remove_unfinished(config_.run.dir);
    require_room();
  }
  world_.barrier();  // nobody writes before that
  task_->start(steps_done_ + 1);
  optimizer_->begin_gradients();
  task_->rehearse([&](bool last) { optimizer_->begin_pass(last); });
  optimizer_->finish_gradients();
  if (world_.rank() == 0) write_run_files();
}

void Trainer::write_run_files() {
  const fs::path folder = config_.run.dir;
  fs::remove(folder / kStoppedFile);
  write_file_atomically(folder / "config.yaml", print_config(config_, true));
  Json versions = program_versions();
  versions["ranks"] = world_.size();
  versions["threads_per_rank"] = at::get_num_threads();
  write_json(folder / "versions.json", versions);
  metrics_ =
      std::make_unique<MetricsWriter>(folder, steps_done_, config_.steps, config_.log_every_steps);
  log_info("training ", task_->module().num_parameters(), " parameters to step ", config_.steps,
           " on ", world_.size(), " ranks (", mesh_.describe(), ") x ", at::get_num_threads(),
           " threads, run folder ", folder.string(),
           steps_done_ > 0 ? concat(", resumed after step ", steps_done_) : "");
}

StepMetrics Trainer::step(std::int64_t step) {
  const auto start = Clock::now();
  optimizer_->begin_gradients();
  LocalStep local = task_->forward_backward(step, [&](bool last) { optimizer_->begin_pass(last); });
  stragglers_.add(step, seconds_since(start) - local.data_wait_s, local.data_wait_s);
  optimizer_->finish_gradients();
  if (has_opponent(step)) {
    opponent_optimizer_->begin_gradients();
    task_->opponent_forward_backward(local,
                                     [&](bool last) { opponent_optimizer_->begin_pass(last); });
    opponent_optimizer_->finish_gradients();
  }
  const LocalStep global = sum_over_ranks(local, world_);

  StepMetrics metrics;
  metrics.step = step;
  metrics.lr = learning_rate(config_.optimizer, step, config_.steps);
  metrics.grad_norm = optimizer_->gradient_norm();
  metrics.loss = global.loss;
  std::string defect = guard_.judge(metrics.loss, metrics.grad_norm);
  const double opponent_norm = has_opponent(step) ? opponent_optimizer_->gradient_norm() : 0;
  if (defect.empty() && !std::isfinite(opponent_norm)) {
    defect = "gradients of the opponent are not finite";
  }
  if (!defect.empty()) {
    ++skipped_;
    report_left_out(defect, local, metrics);
  } else {
    descend(*optimizer_, config_.optimizer, metrics.grad_norm, step, config_.steps);
    if (has_opponent(step)) {
      const std::int64_t before = opponent_->first_step - 1;
      descend(*opponent_optimizer_, opponent_->optimizer, opponent_norm, step - before,
              config_.steps - before);
    }
  }
  metrics.parts = global.parts;
  metrics.samples = global.samples;
  metrics.tokens = global.tokens;
  metrics.balance = global.balance;
  metrics.data_wait_s = global.data_wait_s;
  metrics.skipped = skipped_;
  metrics.step_time_s = seconds_since(start);
  metrics.tflops = global.flops / metrics.step_time_s * 1e-12;
  metrics.mfu = config_.hardware.peak_tflops > 0
                    ? metrics.tflops / (config_.hardware.peak_tflops * world_.size())
                    : 0;
  return metrics;
}

// Names what was not finite and notes the step's samples in skipped.jsonl: with the config and the
// checkpoint before, they are all that a replay needs.
void Trainer::report_left_out(const std::string& reason, const LocalStep& local,
                              const StepMetrics& metrics) {
  Json mine{{"rank", world_.rank()}, {"parameters", optimizer_->nonfinite_gradients()}};
  mine["samples"] = Json::array();
  for (const LocalStep::Sample& sample : local.trained_on) {
    mine["samples"].push_back(
        {{"name", sample.name}, {"index", sample.index}, {"loss", sample.loss}});
  }
  const auto all = world_.all_gather(mine.dump());
  if (world_.rank() != 0) return;
  Json ranks = Json::array();
  std::string names;
  for (const std::string& text : all) {
    const Json rank = ranks.emplace_back(parse_json(text, "report of a rank"));
    if (!rank.at("parameters").empty() && names.empty()) {
      names = concat("; first in ", rank.at("parameters")[0].get<std::string>(), ", ",
                     rank.at("parameters").size(), " parameters in all");
    }
    for (const Json& sample : rank.at("samples")) {
      if (!sample.at("loss").is_null()) continue;
      names += concat("; rank ", rank.at("rank").get<int>(), ", sample ",
                      sample.at("name").get<std::string>(), ": its loss is not finite");
    }
  }
  log_error("step ", metrics.step, ": ", reason, names, "; the step is left out on all ranks, see ",
            "skipped.jsonl");
  metrics_->write_left_out({{"step", metrics.step},
                            {"reason", reason},
                            {"loss", metrics.loss},
                            {"grad_norm", metrics.grad_norm},
                            {"ranks", ranks}});
}

std::vector<double> Trainer::validate() {
  const bool averaged = config_.validation.weights == "ema";
  if (averaged) optimizer_->swap_averages();
  const std::vector<double> loss_by_t = task_->validate();
  if (averaged) optimizer_->swap_averages();
  return loss_by_t;
}

void Trainer::descend(Optimizer& optimizer, const OptimizerConfig& config, double norm,
                      std::int64_t step, std::int64_t steps) {
  const double limit = config.max_grad_norm;
  const double scale = limit > 0 ? std::min(1.0, limit / (norm + 1e-12)) : 1.0;
  optimizer.update(step, learning_rate(config, step, steps), scale);
}

void Trainer::run() {
  while (steps_done_ < config_.steps && !asked_to_stop()) {
    watchdog_->enter(launch::Phase::kStep, steps_done_ + 1);
    profiler_.before(steps_done_ + 1);
    const StepMetrics metrics = step(steps_done_ + 1);
    ++steps_done_;
    profiler_.after(steps_done_);
    if (metrics_) metrics_->write(metrics);
    finish_step();
  }
  if (saved_step_ != steps_done_) save(steps_done_);
  finish_saving();
  if (steps_done_ < config_.steps) note_early_stop();
}

// What is due after some steps: validation, comparison of replicas, a checkpoint.
void Trainer::finish_step() {
  const auto is_due = [&](std::int64_t every) {
    return every > 0 && (steps_done_ % every == 0 || steps_done_ == config_.steps);
  };
  if (is_due(config_.validation.every_steps)) {
    watchdog_->enter(launch::Phase::kSetup, steps_done_);
    const auto start = Clock::now();
    const std::vector<double> loss_by_t = validate();
    if (metrics_) metrics_->write_validation(steps_done_, loss_by_t, seconds_since(start));
  }
  const bool saves = is_due(config_.checkpoint.every_steps);
  if (!saves && is_due(config_.guards.drift_every_steps)) {
    check_replicas(*optimizer_, mesh_, steps_done_);
  }
  if (saves) save(steps_done_);
}

// The ranks stop at the same step, whichever of them was asked; and they publish a checkpoint
// before the same step, when the last of them has written its files.
bool Trainer::asked_to_stop() {
  std::vector<double> any = {static_cast<double>(launch::stop_signal()),
                             writer_->is_writing() ? 1.0 : 0.0};
  world_.all_reduce_max(any);
  if (any[1] == 0) writer_->publish();
  return any[0] != 0;
}

}  // namespace zoetrope::train
