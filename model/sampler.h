// Turns noise into latents with a trained DiT: Euler and UniPC over the flow ODE, classifier-free
// guidance.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/dit.h"
#include "model/flow.h"

namespace zoetrope::model {

// steps + 1 noise levels from about 1 down to 0, shifted. `grid`: "wan" = linspace(0.999, 0), which
// is also that of diffusers 0.36's UniPC; "diffusers" = linspace(1, 0.001), as in later releases.
// Both without their end point, which is 0 in its place. They differ by up to 0.0043 (50 steps,
// shift 5).
std::vector<double> sigma_schedule(int steps, double shift, const std::string& grid = "wan");

// One solver step at a time; x and v are fp32. Solvers keep their history inside.
class Solver {
 public:
  virtual ~Solver() = default;
  // Moves x from sigmas[i] to sigmas[i + 1], given the velocity at sigmas[i].
  virtual at::Tensor step(int i, const at::Tensor& x, const at::Tensor& v) = 0;
};
std::unique_ptr<Solver> make_solver(const std::string& name,
                                    std::vector<double> sigmas);  // "euler", "unipc"

struct SampleRequest {
  std::int64_t channels = 0, frames = 0, height = 0, width = 0;  // of the latent
  at::Tensor text_LE, null_text_LE;
  std::uint64_t seed = 0;
  std::int64_t index = 0;  // of the prompt: noise is keyed by (seed, index), not by order or rank
  // Latents to keep, [C, T, H, W], and where, bool [T, H, W]: whole patches of them are clean at
  // timestep 0 in every pass and come back bit for bit. Undefined: nothing is kept.
  at::Tensor kept_CTHW{}, keep_THW{};
};

struct SampleConfig {
  int steps = 30;
  double guidance = 3;  // v = v_null + guidance (v_text - v_null); 1 = no second pass
  double shift = 3;
  std::string solver = "unipc";
  at::ScalarType compute_type = at::kFloat;
  std::string grid = "wan";                       // of sigma_schedule
  Prediction prediction = Prediction::kVelocity;  // what the model gives
};

// All requests at once, packed in one sequence whatever their sizes. Returns latents [C, T, H, W],
// normalised. `on_step(i)` is called after each step.
std::vector<at::Tensor> sample_latents(Dit& dit, const std::vector<SampleRequest>& requests,
                                       const SampleConfig& config,
                                       const std::function<void(int)>& on_step = {});

}  // namespace zoetrope::model
