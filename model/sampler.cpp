// The sampling loop. All requests are one packed sequence; with guidance each request is there
// twice, once with its text and once with the null text, so a step is one pass of the model. T
// tokens of all requests, K values of a patch, L text tokens, E text width
#include "model/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::model {
namespace {

constexpr double kTimestepScale = 1000;

at::Tensor draw_noise(const SampleRequest& request) {
  at::Tensor noise =
      at::empty({request.channels, request.frames, request.height, request.width}, at::kFloat);
  Random random(request.seed, Purpose::kSampling, 0, static_cast<std::uint64_t>(request.index));
  random.fill_normal({noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())});
  return noise;
}

bool is_text(const at::Tensor& states) {
  return states.defined() && states.dim() == 2 && states.size(0) > 0;
}

void check_request(const SampleRequest& request, const DitConfig& config, bool guided) {
  ZOETROPE_CHECK_CONFIG(
      request.channels == config.out_channels && request.channels == config.in_channels,
      "a latent of ", request.channels, " channels, but the model takes ", config.in_channels,
      " and gives ", config.out_channels);
  ZOETROPE_CHECK_CONFIG(is_text(request.text_LE), "a sample without text states");
  const std::vector<std::int64_t> size = {request.channels, request.frames, request.height,
                                          request.width};
  ZOETROPE_CHECK(
      !request.keep_THW.defined() || (request.kept_CTHW.sizes() == at::IntArrayRef(size) &&
                                      request.keep_THW.sizes() == at::IntArrayRef(size).slice(1)),
      "the latents to keep do not have the size of the sample");
  ZOETROPE_CHECK_CONFIG(!guided || is_text(request.null_text_LE),
                        "guidance needs the states of the negative text");
}

// Requests as the model's input. The state that a solver moves is in the head's order (pt, ph, pw,
// c).
class PackedRequests {
 public:
  PackedRequests(const std::vector<SampleRequest>& requests, const DitConfig& config, bool guided,
                 at::Device device)
      : config_(config), copies_(guided ? 2 : 1) {
    std::vector<at::Tensor> noise;
    for (const SampleRequest& request : requests) {
      noise.push_back(patchify(draw_noise(request), config.patch_size, &grids_.emplace_back()));
    }
    noise_TK_ = to_head_order(at::cat(noise)).to(device);
    read_kept(requests, device);
    std::vector<at::Tensor> texts;
    for (int copy = 0; copy < copies_; ++copy) {
      input_.grids.insert(input_.grids.end(), grids_.begin(), grids_.end());
      for (const SampleRequest& request : requests) {
        texts.push_back(
            (copy == 0 ? request.text_LE : request.null_text_LE).to(device, at::kFloat));
        input_.text_lengths.push_back(texts.back().size(0));
      }
    }
    input_.text_LE = at::cat(texts);
    input_.row_of_segment.assign(input_.grids.size(), keep_T1_.defined() ? -1 : 0);
    if (!keep_T1_.defined()) return;
    const at::Tensor rows_T = keep_T1_.flatten().to(at::kLong);  // row 1: timestep 0
    input_.row_of_token_T = copies_ == 2 ? at::cat({rows_T, rows_T}) : rows_T;
  }

  const at::Tensor& noise() const { return noise_TK_; }
  // What is to be kept, back in its place.
  at::Tensor with_kept(const at::Tensor& x_TK) const {
    return keep_T1_.defined() ? at::where(keep_T1_, kept_TK_, x_TK) : x_TK;
  }

  // Velocity of all requests at one level, guided.
  at::Tensor velocity(Dit& dit, const at::Tensor& x_TK, double sigma, const SampleConfig& sample) {
    const at::Tensor patches_TK = to_patch_order(x_TK);
    input_.patches_TK = copies_ == 2 ? at::cat({patches_TK, patches_TK}) : patches_TK;
    input_.timesteps_U = at::full({1}, kTimestepScale * sigma, x_TK.options());
    if (keep_T1_.defined())
      input_.timesteps_U = at::cat({input_.timesteps_U, at::zeros({1}, x_TK.options())});
    at::Tensor output_TK = dit.forward(input_, sample.compute_type);
    if (copies_ == 2) {
      const auto halves = output_TK.chunk(2);
      output_TK = halves[1] + (halves[0] - halves[1]) * sample.guidance;
    }
    return convert_prediction(output_TK, sample.prediction, Prediction::kVelocity, x_TK, sigma);
  }

  std::vector<at::Tensor> latents(const at::Tensor& x_TK) const {
    std::vector<at::Tensor> latents;
    std::int64_t begin = 0;
    for (const Grid& grid : grids_) {
      latents.push_back(unpatchify(x_TK.narrow(0, begin, grid.tokens()), grid, config_.patch_size,
                                   config_.out_channels)
                            .cpu());
      begin += grid.tokens();
    }
    return latents;
  }

 private:
  void read_kept(const std::vector<SampleRequest>& requests, at::Device device) {
    std::vector<at::Tensor> kept, keep;
    bool any = false;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const SampleRequest& request = requests[i];
      if (request.keep_THW.defined()) {
        any = any || request.keep_THW.any().item<bool>();
        kept.push_back(patchify(request.kept_CTHW, config_.patch_size, nullptr));
        keep.push_back(
            patchify(request.keep_THW.unsqueeze(0), config_.patch_size, nullptr).all(1, true));
      } else {
        const std::int64_t tokens = grids_[i].tokens();
        kept.push_back(at::zeros({tokens, config_.in_channels * config_.patch_volume()}));
        keep.push_back(at::zeros({tokens, 1}, at::kBool));
      }
    }
    if (!any) return;
    kept_TK_ = to_head_order(at::cat(kept)).to(device);
    keep_T1_ = at::cat(keep).to(device);
  }
  at::Tensor to_head_order(const at::Tensor& x) const {  // (c, patch) -> (patch, c)
    return x.view({x.size(0), config_.in_channels, config_.patch_volume()})
        .transpose(1, 2)
        .flatten(1);
  }
  at::Tensor to_patch_order(const at::Tensor& x) const {  // (patch, c) -> (c, patch)
    return x.view({x.size(0), config_.patch_volume(), config_.in_channels})
        .transpose(1, 2)
        .flatten(1);
  }

  const DitConfig& config_;
  int copies_;
  std::vector<Grid> grids_;
  DitInput input_;
  at::Tensor noise_TK_;
  at::Tensor kept_TK_, keep_T1_;  // undefined when nothing is kept
};

}  // namespace

std::vector<at::Tensor> sample_latents(Dit& dit, const std::vector<SampleRequest>& requests,
                                       const SampleConfig& config,
                                       const std::function<void(int)>& on_step) {
  if (requests.empty()) return {};
  const at::NoGradGuard no_grad;
  const bool guided = config.guidance != 1;
  for (const SampleRequest& request : requests) check_request(request, dit.config(), guided);
  const std::vector<double> sigmas = sigma_schedule(config.steps, config.shift, config.grid);
  const auto solver = make_solver(config.solver, sigmas);
  PackedRequests packed(requests, dit.config(), guided, dit.device());
  at::Tensor x_TK = packed.with_kept(packed.noise());
  for (int i = 0; i < config.steps; ++i) {
    const at::Tensor v_TK = packed.velocity(dit, x_TK, sigmas[i], config);
    x_TK = packed.with_kept(solver->step(i, x_TK, v_TK));
    if (on_step) on_step(i);
  }
  return packed.latents(x_TK);
}

}  // namespace zoetrope::model
