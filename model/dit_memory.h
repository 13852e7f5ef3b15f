// How much memory one forward and backward pass of the transformer takes beside weights and
// gradients: arithmetic alone, so that a plan can be checked before anything is built.
#pragma once

#include <cstdint>
#include <vector>

#include "model/dit.h"

namespace zoetrope::model {

// The samples that one rank runs in one pass.
struct PackShape {
  std::vector<std::int64_t> tokens, text_tokens;  // of each sample
};

struct ActivationOptions {
  bool bf16 = false;  // GEMMs and attention
  Checkpointing checkpointing = Checkpointing::kNone;
  int token_ranks = 1;  // that share the tokens, or their channels
};

// Bytes at the highest point, on the CPU: what the blocks keep for backward (tensors of autograd
// nodes, bf16 copies of weights), and what the last block's backward adds on top. Conditioning on
// one timestep a sample. tests/unit/model compares it with the allocator's count.
std::int64_t activation_bytes(const DitConfig& config, const PackShape& pack,
                              const ActivationOptions& options);

}  // namespace zoetrope::model
