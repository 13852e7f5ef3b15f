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
  void init_weights(std::uint64_t seed) override { dit_.init_weights(seed); }
  void start(std::int64_t first_step) override;
  void rehearse() override;
  LocalStep forward_backward(std::int64_t step) override;
  void save_model(const std::filesystem::path& folder) override;
  void load_model(const std::filesystem::path& folder) override;
  Json model_config() const override { return model::dit_config_to_json(config_.dit.model); }
  Json context() const override;
  // The calibration records in force from the next step on.
  Json state() const override;
  void load_state(const Json& state) override;
  std::string describe() override;

 private:
  void check_corpora() const;
  LocalStep forward_backward(const data::LoadedStep& loaded);
  void calibrate(const data::LoadedStep& loaded, double seconds);

  TrainConfig config_;
  launch::Mesh& mesh_;
  model::Dit dit_;
  std::vector<std::unique_ptr<OnlineEncoder>> encoders_;  // one a corpus
  data::CorpusMix corpora_;
  data::ClipPool pool_;
  std::unique_ptr<data::Loader> loader_;
  std::int64_t first_step_ = 0;
  std::vector<data::Calibration> calibrations_;  // by from_step; the first is in force
  data::Calibrator calibrator_;
};

}  // namespace zoetrope::train
