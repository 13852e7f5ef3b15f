// What a run is told: the struct behind every YAML in configs/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/clip_filter.h"
#include "data/planner.h"
#include "launch/mesh.h"
#include "model/dit_config.h"
#include "model/flow_config.h"
#include "model/vae_config.h"
#include "model/vae_loss.h"
#include "train/condition_mask.h"
#include "train/watch_config.h"

namespace zoetrope::train {

struct RunConfig {
  std::string dir = "runs/run";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("dir", dir, "run folder: checkpoints, logs and metrics go here");
  }
};

struct OptimizerConfig {
  double lr = 1e-4;
  std::string schedule = "constant";
  std::int64_t warmup_steps = 100;
  double final_lr_share = 0;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1;
  double ema_decay = 0.999;
  double bucket_mb = 25;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("lr", lr, "peak learning rate of AdamW", at_least(0));
    visit("schedule", schedule, "after the warm-up", one_of({"constant", "cosine"}));
    visit("warmup_steps", warmup_steps, "steps of linear warm-up from 0", at_least(0));
    visit("final_lr_share", final_lr_share, "cosine ends at this share of lr", between(0, 1));
    visit("beta1", beta1, "decay of the first moment", between(0, 0.9999999));
    visit("beta2", beta2, "decay of the second moment", between(0, 0.9999999));
    visit("eps", eps, "added to the root of the second moment", at_least(1e-30));
    visit("weight_decay", weight_decay, "decoupled decay of matrices and kernels", at_least(0));
    visit("max_grad_norm", max_grad_norm, "global gradient norm is clipped to this; 0 = not",
          at_least(0));
    visit("ema_decay", ema_decay, "of the averaged weights; 0 = the weights themselves",
          between(0, 0.9999999));
    visit("bucket_mb", bucket_mb,
          "gradients are summed over ranks in pieces of about so many MiB, while backward runs",
          at_least(0));
  }
};

struct CheckpointConfig {
  std::int64_t every_steps = 500;
  std::int64_t keep_last = 2;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("every_steps", every_steps, "a checkpoint every so many steps, and at the end",
          at_least(1));
    visit("keep_last", keep_last, "older checkpoints are removed; 0 = keep all", at_least(0));
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
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("corpus", corpus, "folder written by encode_dataset");
    visit("corpora", corpora, "several of them, mixed by weight, in the place of corpus");
    visit("filter", filter, "which of their clips are used, by the scores in the manifest");
    visit("vae", vae,
          "VAE folder for clips whose latents are not stored; empty = the name in the corpus");
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
    visit(
        "activation_checkpointing", activation_checkpointing,
        "full: a block keeps only its inputs and runs again for the backward pass; selective: it "
        "keeps what linear layers and attention give and makes the rest again; none: it keeps all "
        "that backward needs",
        one_of({"none", "selective", "full"}));
    visit(
        "max_tokens_per_pass", max_tokens_per_pass,
        "a rank with more tokens in a step runs them in several passes and adds up the gradients; "
        "0 = any number at once",
        at_least(0));
    visit("planner", planner, "where samples run, and what they cost");
    visit("model", model, "shape of the diffusion transformer");
    visit("flow", flow, "the objective");
    visit("conditions", conditions, "parts of a sample that are given clean");
  }
};

// One kind of training crop of the VAE; a step draws one kind by weight.
struct CropConfig {
  std::int64_t frames = 5;
  std::int64_t height = 32;
  std::int64_t width = 32;
  std::int64_t batch = 4;
  double weight = 1;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("frames", frames, "1 + a multiple of the temporal stride", at_least(1));
    visit("height", height, "multiple of the spatial stride", at_least(8));
    visit("width", width, "multiple of the spatial stride", at_least(8));
    visit("batch", batch, "crops a step, over all ranks", at_least(1));
    visit("weight", weight, "how often this kind is drawn", at_least(0));
  }
};

struct VaeTaskConfig {
  std::vector<std::string> videos;
  std::vector<double> video_weights;
  std::int64_t max_pixels = 0;
  std::int64_t max_frames = 0;
  std::int64_t ram_mb = 4096;
  std::vector<CropConfig> crops;
  model::VaeConfig model;
  model::VaeLossConfig loss;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("videos", videos, "folders, lists or files of videos and images");
    visit("video_weights", video_weights,
          "how often each entry of videos is drawn; empty = equally", at_least(0));
    visit("max_pixels", max_pixels, "larger frames are scaled down to this area; 0 = native",
          at_least(0));
    visit("max_frames", max_frames, "frames read of each video; 0 = all", at_least(0));
    visit("ram_mb", ram_mb, "decoded frames kept in memory, MiB a rank", at_least(1));
    visit("crops", crops, "kinds of training crops");
    visit("model", model, "shape of the VAE");
    visit("loss", loss, "reconstruction and prior");
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
    visit("init_from", init_from, "weights folder to start from; empty = from scratch");
    visit("log_every_steps", log_every_steps, "steps between lines on the console", at_least(1));
    visit("mesh", mesh, "how the ranks share the work");
    visit("optimizer", optimizer, "AdamW, its schedule and the averaged weights");
    visit("guards", guards, "what stops a bad step or a failing machine");
    visit("validation", validation, "loss on held-out samples");
    visit("hardware", hardware, "what it runs on");
    visit("checkpoint", checkpoint, "when to save and what to keep");
    visit("dit", dit, "task dit: the diffusion transformer");
    visit("vae", vae, "task vae: the video autoencoder");
  }
};

}  // namespace zoetrope::train
