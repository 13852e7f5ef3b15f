// What is trained: the model, its data and its loss. The one trainer drives any Task.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "launch/mesh.h"
#include "model/module.h"
#include "model/weights.h"
#include "train/train_config.h"

namespace zoetrope::train {

// What one rank did in one step. Sums over ranks give the step's figures.
struct LocalStep {
  double loss = 0;                      // this rank's part of the global mean
  std::map<std::string, double> parts;  // the same for the terms of the loss
  // Mean losses of groups of samples, by name; every rank has every name.
  struct Group {
    double sum = 0, count = 0;
  };
  std::map<std::string, Group> groups;
  // Which samples this rank trained on, and the loss of each: what a replay needs.
  struct Sample {
    std::string name;
    std::int64_t index = 0;  // global
    double loss = 0;         // of this rank's tokens
  };
  std::vector<Sample> trained_on;
  std::int64_t samples = 0, tokens = 0;
  double flops = 0;    // useful: no padding, no recomputation
  double balance = 1;  // of the step's plan; the same on every rank
  double data_wait_s = 0;
  std::string plan_hash;  // of the step's plan; ranks must agree
};

// A step's gradients may come from several backward passes: a task calls this before each, and says
// which is the last.
using BeforePass = std::function<void(bool last)>;

// A second network that learns against the task's module and is thrown away in the end.
struct Opponent {
  model::Module* module = nullptr;
  OptimizerConfig optimizer;
  std::int64_t first_step = 1;  // of the run; its own schedule and moments begin there
  model::ParameterVisitor initial_weights;
};

class Task {
 public:
  virtual ~Task() = default;
  virtual model::Module& module() = 0;
  // The module's folder in a diffusers pipeline.
  virtual std::string component() const { return "transformer"; }
  virtual std::optional<Opponent> opponent() { return std::nullopt; }
  // Fills one parameter with its fresh value: a pure function of the seed, of one global model on
  // every mesh.
  virtual model::ParameterVisitor initial_weights(std::uint64_t seed) = 0;
  // Whether init_from stays frozen below what is trained; the task has loaded it then.
  virtual bool trains_adapters() const { return false; }
  // Starts loading; the next forward_backward is `first_step` (from 1).
  virtual void start(std::int64_t first_step) = 0;
  // A forward and backward pass that leaves nothing behind but gradients, so that a step that is
  // too large fails before training; does nothing unless the config asks for it.
  virtual void rehearse(const BeforePass&) {}
  // Adds the gradients of this rank's part of the global mean loss to the parameters' gradients.
  virtual LocalStep forward_backward(std::int64_t step, const BeforePass& before_pass) = 0;
  // Mean loss on held-out samples at each of a fixed grid of noise levels, with the module's
  // present weights; the same on every rank, and for any number of them. Collective. Empty: none
  // are held out.
  virtual std::vector<double> validate() { return {}; }
  // The same for the opponent's loss, on what the last forward_backward made.
  virtual void opponent_forward_backward(LocalStep&, const BeforePass&) {}
  // The file of the model's weights in a folder that others load: its name, what the names of
  // parameters begin with there, and its metadata.
  struct WeightsFile {
    std::string name = "diffusion_pytorch_model.safetensors", prefix;
    // from_pretrained of diffusers refuses a file that does not say this.
    std::map<std::string, std::string> metadata = {{"format", "pt"}};
  };
  virtual WeightsFile weights_file() const { return {}; }
  // config.json beside it, on rank 0. `gather` gives rank 0 the weights that the file will hold, as
  // global tensors. Collective, as `gather` is.
  virtual Json stored_config(const std::function<model::TensorMap()>& gather);
  // Fills the module from such a folder.
  virtual model::ParameterVisitor weights_in(const std::filesystem::path& folder) {
    return model::weights_of(folder, module());
  }
  // config.json of the model, to compare with a checkpoint's.
  virtual Json model_config() const = 0;
  // What a sampler must know beside the weights (VAE, text encoder); kept in the checkpoint.
  virtual Json context() const = 0;
  // What a resumed run needs beside weights and moments; load_state comes before start.
  virtual Json state() const { return Json::object(); }
  virtual void load_state(const Json&) {}
};

// With its module on `device`; the mesh, which outlives the task, reaches that memory.
std::unique_ptr<Task> make_task(const TrainConfig& config, launch::Mesh& mesh, at::Device device);

}  // namespace zoetrope::train
