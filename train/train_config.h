// What a run is told: the struct behind every YAML in configs/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/clip_draw.h"
#include "data/clip_filter.h"
#include "data/planner.h"
#include "launch/mesh.h"
#include "launch/watchdog.h"
#include "model/dit_config.h"
#include "model/flow_config.h"
#include "model/lora.h"
#include "train/condition_mask.h"
#include "train/optimizer_config.h"
#include "train/vae_task_config.h"
#include "train/watch_config.h"

namespace zoetrope::train {

struct RunConfig {
  std::string dir = "runs/run";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("dir", dir, "run folder: checkpoints, logs and metrics go here");
  }
};

struct CheckpointConfig {
  std::int64_t every_steps = 500;
  std::int64_t keep_last = 2;
  std::int64_t keep_every = 0;
  bool background = true;
  std::int64_t max_failures = 3;
  double max_file_gb = 5;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("every_steps", every_steps, "a checkpoint every so many steps, and at the end",
          at_least(1));
    visit("keep_last", keep_last, "older checkpoints are removed; 0 = keep all", at_least(0));
    visit("keep_every", keep_every, "those of every so many steps stay for good; 0 = none",
          at_least(0));
    visit("background", background,
          "training goes on from a copy of the state while a checkpoint is written");
    visit("max_failures", max_failures,
          "so many failed checkpoints in a row end the run; fewer are logged as errors",
          at_least(1));
    visit("max_file_gb", max_file_gb,
          "larger sets of weights are spread over several files, GB; 0 = never", at_least(0));
  }
};

// One of several corpora.
struct CorpusConfig {
  std::string folder;
  double weight = 1;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("folder", folder, "folder written by encode_dataset");
    visit("weight", weight, "share of the samples, relative to the other corpora", at_least(0));
  }
};

struct DitTaskConfig {
  std::string corpus;
  std::vector<CorpusConfig> corpora;
  data::ClipFilter filter;
  data::DrawConfig draw;
  std::string vae;
  std::string media_root;
  std::string bad_records = "stop";
  std::string cache_folder;
  std::int64_t cache_mb = 100000;
  std::int64_t global_batch = 32;
  double caption_dropout = 0.1;
  std::int64_t prefetch_steps = 2;
  std::int64_t loader_threads = 1;
  std::int64_t ram_cache_mb = 1024;
  std::string activation_checkpointing = "none";
  std::int64_t max_tokens_per_pass = 0;
  data::PlannerConfig planner;
  model::DitConfig model;
  model::FlowConfig flow;
  ConditionConfig conditions;
  model::LoraConfig lora;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("corpus", corpus, "folder written by encode_dataset");
    visit("corpora", corpora, "several of them, mixed by weight, in the place of corpus");
    visit("filter", filter, "which of their clips are used, by the scores in the manifest");
    visit("draw", draw, "how often the clips that are used, and their captions, are drawn");
    visit("vae", vae, "VAE for clips whose latents are not stored; empty = the name in the corpus");
    visit("media_root", media_root, "where their sources are looked for; empty = from here");
    visit("bad_records", bad_records,
          "a damaged clip: stop, or replace it by another one with a warning",
          one_of({"stop", "replace"}));
    visit("cache_folder", cache_folder,
          "on a disk of this node: shards are copied there and read from there; empty = not");
    visit("cache_mb", cache_mb, "room for them, MiB", at_least(1));
    visit("global_batch", global_batch, "samples a step, over all ranks", at_least(1));
    visit("caption_dropout", caption_dropout, "share of samples trained without a caption",
          between(0, 1));
    visit("prefetch_steps", prefetch_steps, "steps loaded ahead", between(1, 64));
    visit("loader_threads", loader_threads, "threads reading the corpus", between(1, 64));
    visit("ram_cache_mb", ram_cache_mb, "decoded records kept between epochs, MiB a rank",
          at_least(0));
    visit("activation_checkpointing", activation_checkpointing,
          "full: a block keeps only its inputs and runs again for the backward pass; offload: they "
          "wait in host memory, if computed on a CUDA device; selective: it keeps what linear "
          "layers and attention give and makes the rest again; none: it keeps all that backward "
          "needs",
          one_of({"none", "selective", "full", "offload"}));
    visit(
        "max_tokens_per_pass", max_tokens_per_pass,
        "a rank with more tokens in a step runs them in several passes and adds up the gradients; "
        "0 = any number at once",
        at_least(0));
    visit("planner", planner, "where samples run, and what they cost");
    visit("model", model, "shape of the diffusion transformer");
    visit("flow", flow, "the objective");
    visit("conditions", conditions, "parts of a sample that are given clean");
    visit("lora", lora, "adapters to train on the frozen weights of init_from");
  }
};

struct TrainConfig {
  std::string task = "dit";
  RunConfig run;
  std::int64_t seed = 0;
  std::int64_t steps = 1000;
  std::string precision = "fp32";
  std::string init_from;
  std::int64_t log_every_steps = 10;
  launch::MeshConfig mesh;
  OptimizerConfig optimizer;
  GuardConfig guards;
  ValidationConfig validation;
  HardwareConfig hardware;
  CheckpointConfig checkpoint;
  launch::WatchdogConfig watchdog;
  ProfileConfig profile;
  DitTaskConfig dit;
  VaeTaskConfig vae;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("task", task, "what is trained", one_of({"dit", "vae"}));
    visit("run", run, "where");
    visit("seed", seed, "of initial weights, order, noise and dropout", at_least(0));
    visit("steps", steps, "optimiser steps in all", at_least(1));
    visit("precision", precision, "of matrix products and attention; weights and loss stay fp32",
          one_of({"fp32", "bf16"}));
    visit("init_from", init_from,
          "weights, run, checkpoint or diffusers pipeline to start from; empty = from scratch");
    visit("log_every_steps", log_every_steps, "steps between lines on the console", at_least(1));
    visit("mesh", mesh, "how the ranks share the work");
    visit("optimizer", optimizer, "AdamW, its schedule and the averaged weights");
    visit("guards", guards, "what stops a bad step or a failing machine");
    visit("validation", validation, "loss on held-out samples");
    visit("hardware", hardware, "what it runs on");
    visit("checkpoint", checkpoint, "when to save and what to keep");
    visit("watchdog", watchdog, "when a job counts as stuck, and ranks as slow");
    visit("profile", profile, "what is traced");
    visit("dit", dit, "task dit: the diffusion transformer");
    visit("vae", vae, "task vae: the video autoencoder");
  }
};

}  // namespace zoetrope::train
