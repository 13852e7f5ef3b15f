// Times one training step of the DiT: forward, backward, gradient clip, fused AdamW.
// Prints a table of the parts and one JSON line with the keys of a Python peer's, for the same
// shapes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <boost/program_options.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/device.h"
#include "model/dit.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;

struct Shapes {
  std::int64_t hidden = 768, layers = 4, ffn = 3072, text = 64, text_dim = 384, batch = 1,
               steps = 5;
  std::string grid = "4,32,32", dtype = "bf16", checkpointing = "none";
};

// Bytes of tensors on the host that are allocated and not freed.
class MemoryMeter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device) override {
    held += bytes;
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t held = 0;
};

model::Checkpointing checkpointing(const std::string& name) {
  if (name == "selective") return model::Checkpointing::kSelective;
  if (name == "full") return model::Checkpointing::kFull;
  if (name == "offload") return model::Checkpointing::kOffload;
  ZOETROPE_CHECK_CONFIG(name == "none", "--checkpointing is none, selective, full or offload, not ",
                        name);
  return model::Checkpointing::kNone;
}

// Seconds of each part of a step.
struct Times {
  double forward = 0, backward = 0, clip = 0, optimizer = 0;
  double total() const { return forward + backward + clip + optimizer; }
};

double lap(Clock::time_point& last) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last).count();
  last = now;
  return seconds;
}

std::vector<std::int64_t> parse_grid(const std::string& text) {
  long t = 0, h = 0, w = 0;
  const bool ok = std::sscanf(text.c_str(), "%ld,%ld,%ld", &t, &h, &w) == 3;
  ZOETROPE_CHECK_CONFIG(ok, "--grid is T,H,W of the latent, not ", text);
  return {t, h, w};
}

model::DitConfig dit_config(const Shapes& shapes) {
  ZOETROPE_CHECK_CONFIG(shapes.hidden % 128 == 0, "--hidden ", shapes.hidden,
                        " is not a multiple of the head's 128");
  model::DitConfig config;
  config.num_attention_heads = shapes.hidden / 128;
  config.text_dim = shapes.text_dim;
  config.ffn_dim = shapes.ffn;
  config.num_layers = shapes.layers;
  return config;
}

class Trainer {
 public:
  Trainer(const Shapes& shapes, at::Device device)
      : shapes_(shapes),
        dit_(dit_config(shapes), at::kCPU),
        step_(at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device))) {
    dit_.init_weights(0);
    dit_.set_checkpointing(checkpointing(shapes.checkpointing));
    dit_.to(device, at::kFloat);
    dit_.set_requires_grad(true);
    for (const auto& [name, parameter] : dit_.named_parameters()) {
      parameters_.push_back(parameter);
      first_moments_.push_back(at::zeros_like(parameter));
      second_moments_.push_back(at::zeros_like(parameter));
    }
    steps_.assign(parameters_.size(), step_);
    const auto grid = parse_grid(shapes.grid);
    std::vector<at::Tensor> samples;
    for (std::int64_t b = 0; b < shapes.batch; ++b) {
      const at::Tensor latent = at::randn({dit_.config().in_channels, grid[0], grid[1], grid[2]});
      samples.push_back(
          model::patchify(latent, dit_.config().patch_size, &input_.grids.emplace_back()));
      input_.row_of_segment.push_back(b);
      input_.text_lengths.push_back(shapes.text);
    }
    x0_TK_ = at::cat(samples).to(device);
    input_.text_LE = at::randn({shapes.batch * shapes.text, shapes.text_dim}).to(device);
  }

  Times step() {
    Times times;
    auto clock = Clock::now();
    const auto meter = std::make_shared<MemoryMeter>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
    at::Tensor loss = forward();
    activation_bytes_ = meter->held;
    times.forward = lap(clock);
    loss.backward();
    times.backward = lap(clock);
    loss_ = loss.item<double>();
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : parameters_) gradients.push_back(parameter.grad());
    const double norm = at::stack(at::_foreach_norm(gradients)).norm().item<double>();
    times.clip = lap(clock);
    step_ += 1;
    // Clipped to norm 1 in the update's own pass, as train does.
    const at::Tensor divisor = at::full({}, std::max(1.0, norm + 1e-6), step_.options());
    at::_fused_adamw_(parameters_, gradients, first_moments_, second_moments_, {}, steps_, 1e-4,
                      0.9, 0.999, 0.01, 1e-8, false, false, divisor);
    for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
    times.optimizer = lap(clock);
    return times;
  }

  std::int64_t tokens() const { return x0_TK_.size(0); }
  double loss() const { return loss_; }
  std::int64_t activation_bytes() const { return activation_bytes_; }
  double flops() const {
    return 3 * static_cast<double>(shapes_.batch) *
           model::forward_flops(dit_.config(), tokens() / shapes_.batch, shapes_.text);
  }
  std::int64_t num_parameters() { return dit_.num_parameters(); }

 private:
  at::Tensor forward() {
    const at::Tensor noise_TK = at::randn(x0_TK_.sizes(), x0_TK_.options());
    const at::Tensor sigma_B = at::rand({shapes_.batch}, x0_TK_.options());
    const at::Tensor sigma_T1 = sigma_B.repeat_interleave(tokens() / shapes_.batch).unsqueeze(1);
    input_.patches_TK = x0_TK_ * (1 - sigma_T1) + noise_TK * sigma_T1;
    input_.timesteps_U = sigma_B * 1000;
    const at::Tensor v_TK =
        dit_.forward(input_, shapes_.dtype == "bf16" ? at::kBFloat16 : at::kFloat);
    return (v_TK - (noise_TK - x0_TK_)).square().mean();
  }

  Shapes shapes_;
  model::Dit dit_;
  std::vector<at::Tensor> parameters_, first_moments_, second_moments_, steps_;
  at::Tensor step_;
  model::DitInput input_;
  at::Tensor x0_TK_;
  double loss_ = 0;
  std::int64_t activation_bytes_ = 0;  // on the host, at the end of forward
};

std::int64_t peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

void print_table(const Times& t, double flops) {
  std::printf("%-10s %10s\n", "part", "seconds");
  std::printf("%-10s %10.4f\n%-10s %10.4f\n%-10s %10.4f\n%-10s %10.4f\n", "forward", t.forward,
              "backward", t.backward, "clip", t.clip, "optimizer", t.optimizer);
  std::printf("%-10s %10.4f  (%.3f TFLOP/s)\n", "step", t.total(), flops / t.total() * 1e-12);
}

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  Shapes s;
  po::options_description own("Shapes");
  own.add_options()("hidden", po::value(&s.hidden)->default_value(s.hidden),
                    "width, a multiple of 128")(
      "layers", po::value(&s.layers)->default_value(s.layers), "blocks")(
      "ffn", po::value(&s.ffn)->default_value(s.ffn), "width of the MLP")(
      "grid", po::value(&s.grid)->default_value(s.grid), "latent T,H,W; the patch is 1,2,2")(
      "text", po::value(&s.text)->default_value(s.text), "text tokens a sample")(
      "text-dim", po::value(&s.text_dim)->default_value(s.text_dim), "width of the text states")(
      "dtype", po::value(&s.dtype)->default_value(s.dtype), "of GEMMs and attention: fp32 or bf16")(
      "checkpointing", po::value(&s.checkpointing)->default_value(s.checkpointing),
      "of activations: none, selective, full or offload")(
      "batch", po::value(&s.batch)->default_value(s.batch), "samples")(
      "steps", po::value(&s.steps)->default_value(s.steps), "timed steps, after two untimed ones");
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, "train_step: times a training step of the DiT",
                     "  train_step --hidden 768 --layers 4 --ffn 3072 --grid 4,32,32 --dtype bf16",
                     own, "", common, values)) {
    return kExitOk;
  }
  const at::Device device = model::select_device(common.device, 0);
  ZOETROPE_CHECK_CONFIG(s.dtype == "fp32" || s.dtype == "bf16", "--dtype is fp32 or bf16, not ",
                        s.dtype);
  ZOETROPE_CHECK_CONFIG(s.steps >= 1 && s.batch >= 1, "--steps and --batch must be at least 1");

  Trainer trainer(s, device);
  const double first_s = trainer.step().total();
  trainer.step();
  std::vector<Times> times;
  for (std::int64_t i = 0; i < s.steps; ++i) times.push_back(trainer.step());
  std::sort(times.begin(), times.end(),
            [](const Times& a, const Times& b) { return a.total() < b.total(); });
  const Times& median = times[times.size() / 2];
  print_table(median, trainer.flops());
  Json line;
  line["peer"] = "zoetrope";
  line["compile"] = false;
  line["dtype"] = s.dtype;
  line["tokens"] = trainer.tokens();
  line["hidden"] = s.hidden;
  line["layers"] = s.layers;
  line["params"] = trainer.num_parameters();
  line["first_s"] = first_s;
  line["median_s"] = median.total();
  line["min_s"] = times.front().total();
  line["tflops"] = trainer.flops() / median.total() * 1e-12;
  line["activation_mib"] = trainer.activation_bytes() >> 20;
  line["peak_rss_mib"] = peak_memory_mib();
  line["loss"] = trainer.loss();
  std::printf("%s\n", line.dump().c_str());
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
