// Task "vae": fits the video autoencoder on random crops.
#pragma once

#include <memory>

#include "launch/communicator.h"
#include "model/lpips.h"
#include "model/patch_gan.h"
#include "model/vae_loss.h"
#include "train/task.h"
#include "train/video_pool.h"

namespace zoetrope::train {

class VaeTask : public Task {
 public:
  VaeTask(const TrainConfig& config, launch::Mesh& mesh);
  model::Module& module() override { return vae_; }
  std::string component() const override { return "vae"; }
  std::optional<Opponent> opponent() override;
  model::ParameterVisitor initial_weights(std::uint64_t seed) override {
    return vae_.initial_weights(seed);
  }
  void start(std::int64_t first_step) override;
  LocalStep forward_backward(std::int64_t step, const BeforePass& before_pass) override;
  void opponent_forward_backward(LocalStep& local, const BeforePass& before_pass) override;
  // Measures the latents' mean and deviation with these weights.
  Json stored_config(const std::function<model::TensorMap()>& gather) override;
  Json model_config() const override;
  Json context() const override { return Json::object(); }

 private:
  std::size_t draw_kind(std::int64_t step) const;
  at::Tensor draw_latents(const model::Posterior& posterior, std::int64_t step,
                          std::int64_t first_sample) const;
  // The adversarial term: a scalar whose gradient in the reconstruction is the discriminator's,
  // weighted by the ratio of gradients over all ranks. The discriminator gets no gradient.
  at::Tensor adversarial_term(const model::VaeLoss& loss, const at::Tensor& reconstruction,
                              LocalStep& local);
  void measure_latents(model::Vae& vae);

  TrainConfig config_;
  int rank_, num_ranks_;
  launch::Communicator& world_;
  model::Vae vae_;
  std::unique_ptr<model::Lpips> perceptual_;
  std::unique_ptr<model::PatchGan> discriminator_;
  at::Tensor real_, fake_;  // of the last step, for the discriminator's turn
  std::unique_ptr<VideoPool> pool_;
};

}  // namespace zoetrope::train
