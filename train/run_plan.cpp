// The plan of a run, its print-out, and the advice when it does not fit.
#include "train/run_plan.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/accumulate.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "data/corpus_mix.h"
#include "data/passes.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "model/dit_memory.h"
#include "model/lora.h"
#include "model/vae.h"
#include "train/checkpoint_files.h"
#include "train/dit_task.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr std::int64_t kFloatBytes = 4;

// ---- what there is ----

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Memory of the machine, or of the control group that this process is confined to.
std::int64_t machine_bytes() {
  std::int64_t bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  std::ifstream group("/sys/fs/cgroup/memory.max");  // "max" when unlimited: nothing is read
  if (std::int64_t limit = 0; group >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

std::int64_t memory_of_a_rank(const HardwareConfig& hardware, int ranks, at::Device device) {
  if (hardware.memory_gb > 0) return static_cast<std::int64_t>(hardware.memory_gb * kGiB);
  if (device.is_cuda()) return model::cuda_plugin()->device_bytes(device.index());
  const int here = launch::local_rank().count;
  // Planning for more ranks than run here says nothing about their machines.
  return ranks == here || ranks == 1 ? machine_bytes() / here : 0;
}

// ---- data ----

// What the planner deals out, and the pass of the rank that needs most.
struct DataPlan {
  model::PackShape largest;
  std::int64_t mean_tokens = 0, mean_text = 0;  // of a sample
  std::int64_t record_bytes = 0;                // of the clips of a step on one rank, decoded
  std::int64_t corpus_bytes = 0;                // of all, decoded
  std::string facts;
};

// The heaviest step, cut into passes as the task does: the samples of each pass of each rank.
template <class TextOf>
std::vector<model::PackShape> heaviest_packs(const TrainConfig& config, int batches,
                                             const data::ClipPool& pool, const TextOf& text_of) {
  data::PlannerConfig planner = config.dit.planner;
  planner.global_batch = config.dit.global_batch;
  const auto step =
      data::heaviest_step(planner, pool, batches, data::starting_calibration(planner));
  const auto passes = data::cut_into_passes(step, pool, batches, config.dit.max_tokens_per_pass);
  std::map<std::pair<int, int>, model::PackShape> packs;  // by rank and pass
  for (std::size_t i = 0; i < step.samples.size(); ++i) {
    const data::PlannedSample& sample = step.samples[i];
    const int degree = sample.seat.sp_degree;
    for (int r = sample.seat.first_rank; r < sample.seat.first_rank + degree; ++r) {
      model::PackShape& pack = packs[{r, passes.pass_of[i]}];
      pack.tokens.push_back((pool.tokens(sample.clip) + degree - 1) / degree);
      pack.text_tokens.push_back(text_of(sample.clip));
    }
  }
  std::vector<model::PackShape> all;
  for (auto& [place, pack] : packs) all.push_back(std::move(pack));
  return all;
}

model::PackShape largest_of(const std::vector<model::PackShape>& packs, const TrainConfig& config) {
  const model::ActivationOptions options{config.precision == "bf16", model::Checkpointing::kNone,
                                         1};
  return *std::max_element(packs.begin(), packs.end(), [&](const auto& a, const auto& b) {
    return model::activation_bytes(config.dit.model, a, options) <
           model::activation_bytes(config.dit.model, b, options);
  });
}

std::int64_t bytes_of_positions(const TrainConfig& config, std::int64_t positions) {
  return kFloatBytes * config.dit.model.in_channels * positions;
}

double epochs_of(const TrainConfig& config, double share, std::int64_t clips) {
  return static_cast<double>(config.steps * config.dit.global_batch) * share /
         static_cast<double>(clips);
}

// -> tokens of a sample, on average.
double plan_kinds(const TrainConfig& config, const data::CorpusMix& corpora, std::string& facts) {
  const data::DrawConfig& draw = config.dit.draw;
  double mean = 0;
  for (const auto& kind : corpora.kinds(config.dit.model.patch_size, draw)) {
    const auto clips = static_cast<std::int64_t>(kind.clips.size());
    const bool has_limit =
        kind.kind.rule < draw.sizes.size() && draw.sizes[kind.kind.rule].max_tokens > 0;
    facts +=
        concat("draw: ", kind.kind.is_image ? "images of " : "videos of ",
               corpora.part(kind.kind.corpus).folder().string(),
               has_limit ? concat(" up to ", draw.sizes[kind.kind.rule].max_tokens, " tokens") : "",
               ": ", clips, " clips, ", 100 * kind.share, " % of the samples, ",
               epochs_of(config, kind.share, clips), " epochs\n");
    mean += kind.share * static_cast<double>(kind.tokens) / static_cast<double>(clips);
  }
  return mean;
}

DataPlan plan_corpora(const TrainConfig& config, int batches) {
  const auto parts = corpora_of(config.dit);
  const data::CorpusMix corpora(parts, {}, config.dit.filter, num_held_out(config.validation));
  const std::int64_t patch = config.dit.model.patch_volume();
  DataPlan plan;
  double total_weight = 0, mean = 0;
  std::int64_t longest = 0;
  for (const auto& part : parts) total_weight += part.weight;
  for (std::int64_t i = 0; i < corpora.num_parts(); ++i) {
    const data::IndexTotals& totals = corpora.part(i).totals();
    const data::FilterCounts& filtered = corpora.filtered(i);
    const double share = parts[static_cast<std::size_t>(i)].weight / total_weight;
    plan.facts +=
        concat("corpus ", corpora.part(i).folder().string(), ": ", totals.clips, " clips");
    if (!config.dit.draw.has_kinds()) {
      plan.facts += concat(", ", 100 * share, " % of the samples, ",
                           epochs_of(config, share, filtered.kept), " epochs");
    }
    plan.facts += "\n";
    longest = std::max(longest, totals.max_positions / patch);
    mean +=
        share * static_cast<double>(totals.positions / patch) / static_cast<double>(totals.clips);
    if (filtered.kept != totals.clips) plan.facts += concat("filter: ", filtered.describe(), "\n");
    plan.corpus_bytes += bytes_of_positions(config, totals.positions);
  }
  if (config.dit.draw.has_kinds()) mean = plan_kinds(config, corpora, plan.facts);
  plan.facts += concat("tokens a clip: ", mean, " mean, ", longest, " at most\n");
  double text = 0, texts = 0;
  const auto packs =
      heaviest_packs(config, batches, corpora.pool(config.dit.model.patch_size, config.dit.draw),
                     [&](std::int64_t clip) {
                       std::int64_t length = corpora.text(clip, "").length;
                       for (const std::string& id : corpora.clip(clip).text_ids) {
                         length = std::max<std::int64_t>(length, corpora.text(clip, id).length);
                       }
                       text += static_cast<double>(length);
                       ++texts;
                       return length;
                     });
  plan.largest = largest_of(packs, config);
  plan.mean_tokens = static_cast<std::int64_t>(mean);
  plan.mean_text = static_cast<std::int64_t>(text / texts);
  plan.record_bytes = bytes_of_positions(
      config, static_cast<std::int64_t>(plan.largest.tokens.size()) * plan.mean_tokens * patch);
  return plan;
}

// Wan's 480p clip: 81 x 480 x 832 is a latent of 21 x 60 x 104.
DataPlan plan_without_corpus(const TrainConfig& config, int batches) {
  constexpr std::int64_t kPositions = 21 * 60 * 104, kTextTokens = 512;
  DataPlan plan;
  plan.mean_tokens = kPositions / config.dit.model.patch_volume();
  plan.mean_text = kTextTokens;
  const std::vector<std::int64_t> tokens(static_cast<std::size_t>(config.dit.global_batch),
                                         plan.mean_tokens);
  const auto packs =
      heaviest_packs(config, batches, tokens, [](std::int64_t) { return kTextTokens; });
  plan.largest = largest_of(packs, config);
  plan.record_bytes = bytes_of_positions(
      config, static_cast<std::int64_t>(plan.largest.tokens.size()) * kPositions);
  plan.facts = concat("corpus: none is set; as if all clips were 81 x 480 x 832, ",
                      plan.mean_tokens, " tokens, with ", kTextTokens, " of text\n");
  return plan;
}

// ---- the plan ----

void plan_dit(const TrainConfig& config, at::Device device, RunPlan& plan) {
  const auto& dit = config.dit;
  const bool has_corpus = !dit.corpus.empty() || !dit.corpora.empty();
  plan.parameters = model::count_parameters(dit.model);
  const int batches = plan.ranks / static_cast<int>(config.mesh.sequence * config.mesh.tensor);
  ZOETROPE_CHECK_CONFIG(dit.global_batch >= batches, "dit.global_batch ", dit.global_batch,
                        " gives some of ", batches, " ranks no sample");
  const DataPlan data =
      has_corpus ? plan_corpora(config, batches) : plan_without_corpus(config, batches);
  plan.facts = data.facts;
  plan.memory.activations = model::activation_bytes(
      dit.model, data.largest,
      {config.precision == "bf16", checkpointing_of(dit.activation_checkpointing, device),
       static_cast<int>(config.mesh.sequence * config.mesh.tensor)});
  plan.memory.data =
      std::min(dit.ram_cache_mb << 20, data.corpus_bytes) + dit.prefetch_steps * data.record_bytes;
  const auto samples = static_cast<double>(dit.global_batch);
  plan.tokens = samples * static_cast<double>(data.mean_tokens);
  plan.flops = samples * (dit.lora.rank > 0 ? 2 : 3) *
               model::forward_flops(dit.model, data.mean_tokens, data.mean_text);
}

void plan_vae(const TrainConfig& config, RunPlan& plan) {
  const auto& vae = config.vae;
  plan.parameters = model::Vae(vae.model, at::kMeta).num_parameters();
  plan.memory.data = vae.ram_mb << 20;
  plan.facts = concat("compression: ", vae.model.time_stride(), "x", vae.model.space_stride(), "x",
                      vae.model.space_stride(), ", ", vae.model.z_dim, " channels\n");
  double weights = 0;
  for (const CropConfig& crop : vae.crops) weights += crop.weight;
  for (const CropConfig& crop : vae.crops) {
    plan.facts += concat("crops: ", crop.batch, " of ", crop.frames, "x", crop.height, "x",
                         crop.width, ", weight ", crop.weight, "\n");
    plan.tokens += crop.weight / weights *
                   static_cast<double>(crop.batch * crop.frames * crop.height * crop.width);
  }
  plan.facts += "activations of task vae are not in the plan\n";
}

// Elements of the parameters that this rank's tensor place leaves it, and of the largest block.
struct ModelSize {
  std::int64_t frozen = 0, trained = 0;
  std::int64_t in_blocks = 0, largest_block = 0;  // of the trained ones
  std::map<std::string, std::int64_t> bytes;      // of the trained ones, as global tensors
};

ModelSize size_of(model::Module& module) {
  ModelSize size;
  std::map<std::int64_t, std::int64_t> blocks;
  module.visit_parameters("", [&](const std::string& name, at::Tensor& parameter) {
    size.trained += parameter.numel();
    size.bytes[name] =
        kFloatBytes * c10::multiply_integers(module.part_of(name).global_shape(parameter.sizes()));
    if (module.unit_of(name) < 0) return;
    size.in_blocks += parameter.numel();
    blocks[module.unit_of(name)] += parameter.numel();
  });
  for (const auto& [unit, count] : blocks) size.largest_block = std::max(size.largest_block, count);
  return size;
}

ModelSize size_of_model(const TrainConfig& config) {
  if (config.task != "dit") {
    model::Vae vae(config.vae.model, at::kMeta);
    return size_of(vae);
  }
  model::Dit dit(config.dit.model, at::kMeta, {0, static_cast<int>(config.mesh.tensor)});
  if (config.dit.lora.rank == 0) return size_of(dit);
  model::LoraAdapters adapters(dit, config.dit.lora);
  ModelSize size = size_of(adapters);
  size.frozen = size_of(dit).trained;
  return size;
}

// What train/weight_buckets.h keeps in each way of sharding; in flight are two blocks' weights, or
// the gradients of two buckets.
void plan_weights(const TrainConfig& config, const ModelSize& size, MemoryPlan& memory) {
  const std::int64_t shard = config.mesh.shard;
  const auto bucket = static_cast<std::int64_t>(config.optimizer.bucket_mb * (1 << 20));
  std::int64_t weights = size.trained;
  if (config.mesh.sharding == "weights" && shard > 1) {
    weights = size.trained / shard + size.trained - size.in_blocks +
              std::min(2 * size.largest_block, size.in_blocks);
  }
  memory.weights = kFloatBytes * (size.frozen + weights);
  memory.gradients = kFloatBytes * size.trained;
  if (config.mesh.sharding != "optimizer" && shard > 1) {
    memory.gradients = std::min(memory.gradients, memory.gradients / shard + 2 * bucket);
  }
  memory.state = 3 * kFloatBytes * (size.trained / shard);
}

// What the rank that writes most of a checkpoint copies.
std::int64_t plan_checkpoint(const TrainConfig& config, const ModelSize& size, int ranks) {
  TensorSet weights{"model", "weights.safetensors", {}, size.bytes};
  TensorSet moments{"", "optimizer.safetensors", {}, {}};
  for (const auto& [name, bytes] : size.bytes) {
    moments.bytes["first." + name] = moments.bytes["second." + name] = bytes;
  }
  return largest_share(assign_files({weights, weights, moments},
                                    static_cast<std::int64_t>(config.checkpoint.max_file_gb * 1e9),
                                    ranks));
}

// Mean TFLOP/s a rank over the last steps in the run folder; 0 when it has none.
double measured_tflops(const fs::path& run_folder) {
  if (!fs::exists(run_folder / "metrics.jsonl") || !fs::exists(run_folder / "versions.json"))
    return 0;
  constexpr std::size_t kSteps = 20;
  std::vector<double> rates;
  for_each_json_line(run_folder / "metrics.jsonl", [&](const Json& line, int) {
    if (line.contains("tflops")) rates.push_back(line.at("tflops").get<double>());
  });
  const std::size_t first = rates.size() > kSteps ? rates.size() - kSteps : 0;
  double sum = 0;
  for (std::size_t i = first; i < rates.size(); ++i) sum += rates[i];
  const double ranks = read_json(run_folder / "versions.json").at("ranks").get<double>();
  return rates.empty() ? 0 : sum / static_cast<double>(rates.size() - first) / ranks;
}

void plan_time(const TrainConfig& config, RunPlan& plan) {
  if (plan.flops == 0) {
    plan.step_time_source = "FLOPs of this task are not counted";
  } else if (const double rate = measured_tflops(config.run.dir); rate > 0) {
    plan.step_time_s = plan.flops / (rate * 1e12 * plan.ranks);
    plan.step_time_source = concat("at the ", rate, " TFLOP/s a rank of ", config.run.dir);
  } else if (config.hardware.peak_tflops > 0) {
    plan.step_time_s = plan.flops / (config.hardware.peak_tflops * 1e12 * plan.ranks);
    plan.step_time_source = "at least: at hardware.peak_tflops";
  } else {
    plan.step_time_source = "set hardware.peak_tflops, or train a few steps in the run folder";
  }
}

std::string gib(std::int64_t bytes) {
  char text[32];
  const bool is_small = static_cast<double>(bytes) < kGiB;
  std::snprintf(text, sizeof(text), is_small ? "%.0f MiB" : "%.2f GiB",
                static_cast<double>(bytes) / (is_small ? 1024 * 1024 : kGiB));
  return text;
}

// The mildest way of sharding over the fewest ranks with which everything fits; "" when none does.
std::string sharding_that_fits(const RunPlan& plan, const TrainConfig& config) {
  const std::int64_t rest =
      plan.memory.total() - plan.memory.weights - plan.memory.gradients - plan.memory.state;
  const ModelSize size = size_of_model(config);
  TrainConfig tried = config;
  for (const char* sharding : {"optimizer", "gradients", "weights"}) {
    if (config.task == "vae" && std::string(sharding) == "weights") break;
    tried.mesh.sharding = sharding;
    const std::int64_t others = config.mesh.sequence * config.mesh.tensor;
    for (std::int64_t shard = 2; shard * others <= plan.ranks; shard *= 2) {
      if (plan.ranks % (shard * others) != 0) continue;
      tried.mesh.shard = shard;
      MemoryPlan memory;
      plan_weights(tried, size, memory);
      if (rest + memory.total() <= plan.memory_limit)
        return concat("mesh.shard=", shard, " mesh.sharding=", sharding, " fits");
    }
  }
  return "";
}

}  // namespace

std::int64_t peak_bytes(at::Device device) {
  if (device.is_cuda()) {
    return c10::getDeviceAllocator(device.type())
        ->getDeviceStats(device.index())
        .reserved_bytes[0]
        .peak;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

RunPlan plan_run(const TrainConfig& config, int ranks, at::Device device) {
  const std::int64_t asked = config.mesh.shard * config.mesh.sequence * config.mesh.tensor;
  ZOETROPE_CHECK_CONFIG(ranks % asked == 0, "mesh: shard ", config.mesh.shard, " x sequence ",
                        config.mesh.sequence, " x tensor ", config.mesh.tensor, " does not divide ",
                        ranks, " ranks");
  RunPlan plan;
  plan.task = config.task;
  plan.ranks = ranks;
  plan.memory.program = resident_bytes();
  if (config.task == "dit") {
    plan_dit(config, device, plan);
  } else {
    plan_vae(config, plan);
  }
  const ModelSize size = size_of_model(config);
  if (size.frozen > 0) plan.facts += concat("trained: ", size.trained, " in adapters\n");
  plan_weights(config, size, plan.memory);
  plan.memory.checkpoint = plan_checkpoint(config, size, ranks);
  if (device.is_cuda()) plan.memory.program = plan.memory.data = plan.memory.checkpoint = 0;
  plan.memory_limit = memory_of_a_rank(config.hardware, ranks, device);
  plan_time(config, plan);
  return plan;
}

std::string describe(const RunPlan& plan) {
  const MemoryPlan& m = plan.memory;
  std::string text = concat("task: ", plan.task, "\nparameters: ", plan.parameters,
                            "\nranks: ", plan.ranks, "\n", plan.facts);
  text += concat("memory of rank 0: ", gib(m.total()), " = weights ", gib(m.weights),
                 " + gradients ", gib(m.gradients), " + moments and averages ", gib(m.state),
                 " + activations ", gib(m.activations), " + checkpoint copy ", gib(m.checkpoint),
                 " + data ", gib(m.data), " + program ", gib(m.program), "\n");
  text += plan.memory_limit > 0
              ? concat("memory there is: ", gib(plan.memory_limit), "\n")
              : std::string("memory there is: not known; set hardware.memory_gb\n");
  text += concat("tokens a step: ", plan.tokens, "\nTFLOPs a step: ", plan.flops * 1e-12, "\n");
  return text +
         (plan.step_time_s ? concat("step time: ", *plan.step_time_s, " s, ")
                           : std::string("step time: not known; ")) +
         plan.step_time_source + "\n";
}

void check_fits(const RunPlan& plan, const TrainConfig& config) {
  const MemoryPlan& m = plan.memory;
  if (plan.memory_limit == 0 || m.total() <= plan.memory_limit) return;
  std::string advice;
  if (const std::string fits = sharding_that_fits(plan, config); !fits.empty())
    advice += "; " + fits;
  const std::string& checkpointing = config.dit.activation_checkpointing;
  if (config.task == "dit" && checkpointing != "full" && checkpointing != "offload")
    advice += "; dit.activation_checkpointing=full keeps fewer activations";
  if (m.activations > m.total() / 4)
    advice +=
        "; mesh.sequence, a smaller dit.global_batch or more ranks make a rank's pack smaller";
  if (m.data > m.total() / 10)
    advice +=
        concat("; ", config.task == "dit" ? "dit.ram_cache_mb" : "vae.ram_mb", " is ", gib(m.data));
  if (advice.empty()) {
    advice =
        "; nothing else helps: a smaller model, more ranks, or ranks with more memory "
        "(hardware.memory_gb)";
  }
  throw ConfigError(
      concat("a rank needs ", gib(m.total()), " and has ", gib(plan.memory_limit), " (most: ",
             m.activations > m.weights + m.gradients + m.state
                 ? "activations " + gib(m.activations)
                 : "weights, gradients and state " + gib(m.weights + m.gradients + m.state),
             ")", advice));
}

}  // namespace zoetrope::train
