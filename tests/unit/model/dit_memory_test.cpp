// The memory that a plan promises is what the allocator hands out.
#include "model/dit_memory.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include "model/dit.h"

namespace zoetrope::model {
namespace {

// Follows every allocation of the thread's tensors.
class AllocatorCount : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, size_t, size_t, c10::Device) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t peak() const { return peak_; }

 private:
  std::int64_t now_ = 0, peak_ = 0;
};

DitInput make_input(const DitConfig& config, const PackShape& pack) {
  DitInput input;
  std::int64_t tokens = 0, text = 0;
  for (std::size_t s = 0; s < pack.tokens.size(); ++s) {
    input.grids.push_back({pack.tokens[s] / 4, 2, 2});
    input.text_lengths.push_back(pack.text_tokens[s]);
    input.row_of_segment.push_back(static_cast<std::int64_t>(s));
    tokens += pack.tokens[s];
    text += pack.text_tokens[s];
  }
  input.patches_TK = at::randn({tokens, config.in_channels * config.patch_volume()});
  input.text_LE = at::randn({text, config.text_dim});
  input.timesteps_U = at::full({static_cast<std::int64_t>(pack.tokens.size())}, 500.f);
  return input;
}

std::int64_t measured_peak(const DitConfig& config, const PackShape& pack,
                           const ActivationOptions& options) {
  Dit dit(config, at::kCPU);
  dit.init_weights(1);
  dit.set_requires_grad(true);
  dit.set_checkpointing(options.checkpointing);
  for (auto& [name, parameter] : dit.named_parameters())
    parameter.mutable_grad() = at::zeros_like(parameter);
  auto count = std::make_shared<AllocatorCount>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, count);
  const at::Tensor target = at::randn({1});
  const DitInput input = make_input(config, pack);
  const at::Tensor out = dit.forward(input, options.bf16 ? at::kBFloat16 : at::kFloat);
  (out - target).square().sum().backward();
  return count->peak();
}

DitConfig narrow_config() {
  DitConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 32;
  config.num_layers = 3;
  config.ffn_dim = 256;
  config.in_channels = config.out_channels = 4;
  config.text_dim = 48;
  return config;
}

struct Case {
  const char* name;
  PackShape pack;
  std::int64_t layers, heads;
};

TEST(DitMemory, PredictsTheAllocatorsPeakWithinSixPercent) {
  const std::vector<Case> cases = {
      {"one long clip", {{3000}, {20}}, 3, 2},
      {"many short ones", {{80, 80, 80, 80, 80, 80, 64, 64}, {9, 9, 9, 9, 9, 9, 30, 30}}, 3, 2},
      {"deep", {{700, 300}, {10, 20}}, 8, 2},
      {"wide, few tokens", {{96}, {12}}, 2, 16},
  };
  for (const Case& c : cases) {
    for (const bool bf16 : {false, true}) {
      for (const auto checkpointing :
           {Checkpointing::kNone, Checkpointing::kSelective, Checkpointing::kFull}) {
        DitConfig config = narrow_config();
        config.num_layers = c.layers;
        config.num_attention_heads = c.heads;
        config.ffn_dim = 4 * config.width();
        const ActivationOptions options{bf16, checkpointing, 1};
        const auto measured = static_cast<double>(measured_peak(config, c.pack, options));
        const auto predicted = static_cast<double>(activation_bytes(config, c.pack, options));
        EXPECT_NEAR(predicted / measured, 1, 0.06)
            << c.name << (bf16 ? ", bf16" : ", fp32") << ", checkpointing "
            << static_cast<int>(checkpointing) << ": predicted " << predicted << ", measured "
            << measured;
      }
    }
  }
}

TEST(DitMemory, FallsWithTheRanksThatShareTheTokens) {
  const PackShape pack{{4000}, {20}};
  const auto alone = activation_bytes(narrow_config(), pack, {true, Checkpointing::kNone, 1});
  const auto shared = activation_bytes(narrow_config(), pack, {true, Checkpointing::kNone, 4});
  EXPECT_NEAR(static_cast<double>(shared) / static_cast<double>(alone), 0.25, 0.02);
}

}  // namespace
}  // namespace zoetrope::model
