// Task "dit": fits the diffusion transformer on packed latents by flow matching.
#pragma once

#include <memory>

#include "data/corpus_mix.h"
#include "data/loader.h"
#include "model/dit.h"
#include "train/clip_encoder.h"
#include "train/held_out.h"
#include "train/seat_groups.h"
#include "train/task.h"

namespace zoetrope::train {

// What dit.corpus or dit.corpora names; ConfigError unless it is one of them.
std::vector<data::CorpusMix::Part> corpora_of(const DitTaskConfig& config);
// Of dit.activation_checkpointing. On the CPU nothing is gained by offload: there it is full.
model::Checkpointing checkpointing_of(const std::string& name, at::Device device);
// Clips that validation.samples keeps from training.
std::int64_t num_held_out(const ValidationConfig& config);

class DitTask : public Task {
 public:
  // The mesh outlives the task.
  DitTask(const TrainConfig& config, launch::Mesh& mesh, at::Device device = at::kCPU);
  model::Module& module() override;  // the transformer, or its adapters
  model::ParameterVisitor initial_weights(std::uint64_t seed) override;
  bool trains_adapters() const override { return lora_ != nullptr; }
  void start(std::int64_t first_step) override;
  void rehearse(const BeforePass& before_pass) override;
  LocalStep forward_backward(std::int64_t step, const BeforePass& before_pass) override;
  std::vector<double> validate() override;
  WeightsFile weights_file() const override;
  model::ParameterVisitor weights_in(const std::filesystem::path& folder) override;
  Json model_config() const override;
  Json context() const override;
  // The calibration records in force from the next step on.
  Json state() const override;
  void load_state(const Json& state) override;

 private:
  void check_batch() const;
  void attach_adapters();
  void check_corpus(const data::Corpus& corpus) const;
  void hold_out();
  void drop_unreadable(std::vector<data::CorpusMix::HeldOutClip>& clips);
  std::int64_t tokens_of_a_rank() const;
  PackedBatch idle_batch() const;
  LocalStep forward_backward(data::LoadedStep& loaded, const BeforePass& before_pass);
  // Adds the gradients of some of the step's samples, and what was done to `local`.
  // -> [t], this rank's own tokens: their sum over ranks is the loss.
  at::Tensor weighted_errors(const PackedBatch& batch, const model::TokenPlan& plan);
  void count_sample(const data::LoadedSample& sample, const PackedBatch& batch, std::size_t segment,
                    double loss, LocalStep& local) const;
  void run_pass(std::vector<data::LoadedSample> samples, std::int64_t step, LocalStep& local);
  void calibrate(const data::LoadedStep& loaded, double seconds);

  TrainConfig config_;
  launch::Mesh& mesh_;
  at::Device device_;
  model::Dit dit_;
  std::unique_ptr<model::LoraAdapters> lora_;             // null: all weights are trained
  std::vector<std::unique_ptr<OnlineEncoder>> encoders_;  // one a corpus
  data::CorpusMix corpora_;
  data::ClipPool pool_;
  model::Objective held_out_objective_;
  SeatGroups seat_groups_;
  std::unique_ptr<data::CorpusMix> other_corpus_;  // validation.corpus
  std::unique_ptr<HeldOut> held_out_;              // null without validation
  std::unique_ptr<data::Loader> loader_;
  std::int64_t first_step_ = 0;
  std::vector<data::Calibration> calibrations_;  // by from_step; the first is in force
  data::Calibrator calibrator_;
};

}  // namespace zoetrope::train
