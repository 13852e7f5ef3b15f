// Task "dit": fits the diffusion transformer on packed latents by flow matching.
#pragma once

#include <memory>

#include "data/corpus_mix.h"
#include "data/loader.h"
#include "model/dit.h"
#include "train/clip_encoder.h"
#include "train/task.h"

namespace zoetrope::train {

class DitTask : public Task {
 public:
  DitTask(const TrainConfig& config, launch::Mesh& mesh);  // outlives the task
  model::Module& module() override { return dit_; }
  model::ParameterVisitor initial_weights(std::uint64_t seed) override {
    return dit_.initial_weights(seed);
  }
  void start(std::int64_t first_step) override;
  void rehearse(const BeforePass& before_pass) override;
  LocalStep forward_backward(std::int64_t step, const BeforePass& before_pass) override;
  void save_model(const std::filesystem::path& folder,
                  const std::map<std::string, at::Tensor>& weights) override;
  Json model_config() const override { return model::dit_config_to_json(config_.dit.model); }
  Json context() const override;
  // The calibration records in force from the next step on.
  Json state() const override;
  void load_state(const Json& state) override;
  std::string describe() override;

 private:
  void check_corpora() const;
  void make_seat_groups();
  model::TokenPlan token_plan(const std::vector<data::LoadedSample>& samples,
                              const std::vector<model::Grid>& grids);
  LocalStep forward_backward(data::LoadedStep& loaded, const BeforePass& before_pass);
  // Adds the gradients of some of the step's samples, and what was done to `local`.
  void run_pass(std::vector<data::LoadedSample> samples, std::int64_t step, LocalStep& local);
  void calibrate(const data::LoadedStep& loaded, double seconds);

  TrainConfig config_;
  launch::Mesh& mesh_;
  model::Dit dit_;
  std::vector<std::unique_ptr<OnlineEncoder>> encoders_;  // one a corpus
  data::CorpusMix corpora_;
  data::ClipPool pool_;
  std::unique_ptr<data::Loader> loader_;
  std::map<int, std::unique_ptr<launch::Communicator>> seat_groups_;  // by degree
  std::int64_t first_step_ = 0;
  std::vector<data::Calibration> calibrations_;  // by from_step; the first is in force
  data::Calibrator calibrator_;
};

}  // namespace zoetrope::train
