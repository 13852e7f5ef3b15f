// Task "vae": fits the video autoencoder on random crops.
#pragma once

#include <memory>

#include "model/vae.h"
#include "train/task.h"
#include "train/video_pool.h"

namespace zoetrope::train {

class VaeTask : public Task {
 public:
  VaeTask(const TrainConfig& config, launch::Mesh& mesh);
  model::Module& module() override { return vae_; }
  model::ParameterVisitor initial_weights(std::uint64_t seed) override {
    return vae_.initial_weights(seed);
  }
  void start(std::int64_t first_step) override;
  LocalStep forward_backward(std::int64_t step, const BeforePass& before_pass) override;
  // Measures the latents' mean and deviation with these weights.
  model::ModelSnapshot snapshot_model(model::TensorMap weights) override;
  Json model_config() const override;
  Json context() const override { return Json::object(); }

 private:
  std::size_t draw_kind(std::int64_t step) const;
  at::Tensor draw_latents(const model::Posterior& posterior, std::int64_t step,
                          std::int64_t first_sample) const;
  void measure_latents(model::Vae& vae);

  TrainConfig config_;
  int rank_, num_ranks_;
  model::Vae vae_;
  std::unique_ptr<VideoPool> pool_;
};

}  // namespace zoetrope::train
