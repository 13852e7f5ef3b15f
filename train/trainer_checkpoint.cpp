// What a trainer saves, and how it goes on from it.
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "model/weights.h"
#include "train/checkpoint.h"
#include "train/checkpoint_files.h"
#include "train/trainer.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kOpponentFile = "opponent.safetensors";

// One kind of global tensors: the set that it belongs to, what its names begin with there, and who
// gathers it.
struct TensorSource {
  std::size_t set = 0;
  std::string prefix;
  const Optimizer* optimizer = nullptr;
  TensorMap (Optimizer::*gather)(const OwnerOf&) const = nullptr;
};

// All tensors of a checkpoint and their files: the same on every rank.
struct StateLayout {
  std::vector<TensorSet> sets;
  std::vector<TensorSource> sources;
  std::vector<OwnedFile> files;
};

StateLayout lay_out(const Task::WeightsFile& weights, const Optimizer& optimizer,
                    const Optimizer* opponent, double max_file_gb, int num_ranks) {
  StateLayout layout;
  layout.sets = {{"model", weights.name, weights.metadata, {}},
                 {"ema", weights.name, weights.metadata, {}},
                 {"", kOptimizerFile, {}, {}}};
  layout.sources = {{0, weights.prefix, &optimizer, &Optimizer::weights},
                    {1, weights.prefix, &optimizer, &Optimizer::averages},
                    {2, "first.", &optimizer, &Optimizer::first_moments},
                    {2, "second.", &optimizer, &Optimizer::second_moments}};
  if (opponent != nullptr) {
    layout.sets.push_back({"", kOpponentFile, {}, {}});
    layout.sources.push_back({3, "weight.", opponent, &Optimizer::weights});
    layout.sources.push_back({3, "first.", opponent, &Optimizer::first_moments});
    layout.sources.push_back({3, "second.", opponent, &Optimizer::second_moments});
  }
  for (const TensorSource& source : layout.sources) {
    for (const auto& [name, bytes] : source.optimizer->tensor_bytes()) {
      layout.sets[source.set].bytes[source.prefix + name] = bytes;
    }
  }
  layout.files = assign_files(layout.sets, static_cast<std::int64_t>(max_file_gb * 1e9), num_ranks);
  return layout;
}

// What one rank writes of a checkpoint, in memory.
struct StatePart {
  StateLayout layout;
  std::vector<TensorMap> tensors;            // by file; empty for those of other ranks
  std::map<std::string, std::string> texts;  // rank 0: the other files, by name
};

// Collective.
std::vector<TensorMap> gather_own(const StateLayout& layout) {
  std::vector<std::map<std::string, std::size_t>> file_of(layout.sets.size());
  for (std::size_t f = 0; f < layout.files.size(); ++f) {
    for (const std::string& name : layout.files[f].file.tensors) {
      file_of[layout.files[f].set][name] = f;
    }
  }
  std::vector<TensorMap> tensors(layout.files.size());
  for (const TensorSource& source : layout.sources) {
    const auto file = [&](const std::string& name) {
      return file_of[source.set].at(source.prefix + name);
    };
    const TensorMap owned = (source.optimizer->*source.gather)(
        [&](const std::string& name) { return layout.files[file(name)].owner; });
    for (const auto& [name, tensor] : owned) tensors[file(name)][source.prefix + name] = tensor;
  }
  return tensors;
}

// -> the names of the files.
std::vector<std::string> write_part(const StatePart& part, const fs::path& folder) {
  std::vector<std::string> names;
  const auto place = [&](const std::string& name) {
    names.push_back(name);
    fs::create_directories((folder / name).parent_path());
    return folder / name;
  };
  for (std::size_t f = 0; f < part.tensors.size(); ++f) {
    if (part.tensors[f].empty()) continue;
    const TensorSet& set = part.layout.sets[part.layout.files[f].set];
    model::save_tensors(place(fs::path(set.folder) / part.layout.files[f].file.name),
                        part.tensors[f], set.metadata);
  }
  for (const auto& [name, text] : part.texts) write_file_atomically(place(name), text);
  return names;
}

// The indexes of sets that are several files.
std::map<std::string, std::string> tensor_indexes(const StateLayout& layout) {
  std::map<std::string, std::string> indexes;
  for (std::size_t s = 0; s < layout.sets.size(); ++s) {
    std::vector<TensorFile> files;
    for (const OwnedFile& owned : layout.files) {
      if (owned.set == s) files.push_back(owned.file);
    }
    if (files.size() < 2) continue;
    const fs::path name = fs::path(layout.sets[s].folder) / layout.sets[s].name;
    indexes[name.string() + ".index.json"] = tensor_index(files);
  }
  return indexes;
}

void fill_moments(Optimizer& optimizer, const fs::path& file, model::Module& module) {
  optimizer.fill_first_moments(model::tensors_of(file, "first.", module));
  optimizer.fill_second_moments(model::tensors_of(file, "second.", module));
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
  const auto part = std::make_shared<StatePart>();
  part->layout = lay_out(task_->weights_file(), *optimizer_, opponent_optimizer_.get(),
                         config_.checkpoint.max_file_gb, world_.size());
  if (!writer_->begin(step, total_bytes(part->layout.files))) return;
  part->tensors = gather_own(part->layout);
  part->texts = describe_state(step);
  if (world_.rank() == 0) part->texts.merge(tensor_indexes(part->layout));
  writer_->write([part](const fs::path& folder) { return write_part(*part, folder); });
  if (world_.rank() > 0) return;
  log_info("checkpoint of step ", step, ": training waited ",
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), " s");
}

// Of a checkpoint, what rank 0 writes beside tensors. Collective.
std::map<std::string, std::string> Trainer::describe_state(std::int64_t step) {
  const auto to_rank_zero = [](const std::string&) { return 0; };
  const Json model = task_->stored_config([&] { return optimizer_->weights(to_rank_zero); });
  const Json averaged = task_->stored_config([&] { return optimizer_->averages(to_rank_zero); });
  if (world_.rank() > 0) return {};
  const Json state{{"step", step},
                   {"skipped", skipped_},
                   {"seed", config_.seed},
                   {"guard", guard_.state()},
                   {"context", task_->context()},
                   {"task", task_->state()}};
  return {{"model/config.json", model.dump(2) + "\n"},
          {"ema/config.json", averaged.dump(2) + "\n"},
          {"state.json", state.dump(2) + "\n"},
          {"config.yaml", print_config(config_)}};
}

void Trainer::finish_saving() {
  watchdog_->enter(launch::Phase::kCheckpoint, steps_done_);
  writer_->finish();
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
  fill_moments(*optimizer_, checkpoint / kOptimizerFile, task_->module());
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
  opponent_optimizer_->fill_weights(model::tensors_of(file, "weight.", *opponent_->module));
  fill_moments(*opponent_optimizer_, file, *opponent_->module);
}

void Trainer::note_early_stop() const {
  if (world_.rank() != 0) return;
  write_json(fs::path(config_.run.dir) / kStoppedFile,
             Json{{"step", steps_done_}, {"of", config_.steps}});
  log_info("stopped on request after step ", steps_done_, " of ", config_.steps,
           "; the same command goes on from there");
}

}  // namespace zoetrope::train
