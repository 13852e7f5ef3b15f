// Counts what model/dit.cpp and its autograd nodes keep. Bytes a token; c = bytes of a number in
// the compute type; D width, F MLP width.
#include "model/dit_memory.h"

#include <algorithm>
#include <numeric>

#include "model/attention.h"

namespace zoetrope::model {
namespace {

constexpr std::int64_t kFloatBytes = 4;

struct Counts {
  std::int64_t tokens, text, samples;  // on this rank
  std::int64_t width, ffn, c;
  std::int64_t kept_self = 0, kept_cross = 0;  // by attention: probabilities, or log-sum-exp
};

Counts count(const DitConfig& config, const PackShape& pack, const ActivationOptions& options) {
  const auto total = [](const auto& v) { return std::accumulate(v.begin(), v.end(), 0L); };
  const int ranks = options.token_ranks;
  Counts n{(total(pack.tokens) + ranks - 1) / ranks,
           total(pack.text_tokens),
           static_cast<std::int64_t>(pack.tokens.size()),
           config.width(),
           config.ffn_dim,
           options.bf16 ? 2 : kFloatBytes};
  const at::ScalarType type = options.bf16 ? at::kBFloat16 : at::kFloat;
  for (std::size_t s = 0; s < pack.tokens.size(); ++s) {
    const std::int64_t heads = config.num_attention_heads, tokens = pack.tokens[s];
    const bool is_selective = options.checkpointing == Checkpointing::kSelective;
    n.kept_self += kept_by_attention_bytes(tokens, tokens, heads, type, is_selective);
    n.kept_cross += kept_by_attention_bytes(tokens, pack.text_tokens[s], heads, type, is_selective);
  }
  n.kept_self /= ranks;
  n.kept_cross /= ranks;
  return n;
}

std::int64_t cast_weights(const Counts& n) {
  return n.c == kFloatBytes ? 0 : n.c * (8 * n.width * n.width + 2 * n.width * n.ffn);
}

// The same with selective checkpointing: outputs of linear layers and attention.
std::int64_t kept_selectively(const Counts& n) {
  const std::int64_t d = n.width;
  std::int64_t bytes = n.tokens * n.c * (3 * d + 2 * d + 3 * d + d + n.ffn);
  bytes += n.text * n.c * 3 * d + n.kept_self + n.kept_cross;
  return bytes + n.samples * 8 * d * kFloatBytes + cast_weights(n);
}

// What one block keeps until its backward.
std::int64_t kept_by_block(const Counts& n) {
  const std::int64_t d = n.width;
  // Inputs of the three norms; their statistics and those of the queries' and keys' norms.
  std::int64_t bytes = n.tokens * (3 * d * kFloatBytes + 3 * 8 + 3 * 4);
  // Self-attention: input, q and k before and after the norm, v, output, update. Cross-attention:
  // input, q twice, output. MLP: input, before and after GELU, update.
  bytes += n.tokens * n.c * (8 * d + 4 * d + 2 * d + 2 * n.ffn);
  bytes += n.text * n.c * 3 * d;  // keys twice, values
  bytes += n.kept_self + n.kept_cross;
  bytes += n.samples * 8 * d * kFloatBytes;  // modulation and two multipliers
  return bytes + cast_weights(n);
}

// What the backward of one block holds at its highest point: gradients of the stream, of a hidden
// layer before and after GELU, of a weight in both types; or of attention and its scores.
std::int64_t backward_of_block(const Counts& n) {
  const std::int64_t d = n.width;
  const std::int64_t weight = d * n.ffn * (n.c == kFloatBytes ? kFloatBytes : n.c + kFloatBytes);
  const std::int64_t mlp = n.tokens * n.c * 2 * n.ffn + weight;
  const std::int64_t attention = n.tokens * n.c * 6 * d + 2 * n.kept_self;
  return n.tokens * 2 * d * kFloatBytes + std::max(mlp, attention);
}

// Batch, embeddings and head.
std::int64_t kept_by_ends(const DitConfig& config, const Counts& n) {
  const std::int64_t d = n.width, in = config.in_channels * config.patch_volume();
  const std::int64_t out = config.out_channels * config.patch_volume();
  std::int64_t bytes = n.tokens * kFloatBytes * (2 * d + in + 4 * out);
  bytes += n.text * (config.text_dim * (kFloatBytes + n.c) + n.c * 3 * d);
  bytes += n.samples * kFloatBytes * (config.freq_dim + 4 * d + 6 * d);
  if (n.c != kFloatBytes) bytes += n.c * (config.text_dim * d + d * d);
  return bytes;
}

}  // namespace

std::int64_t activation_bytes(const DitConfig& config, const PackShape& pack,
                              const ActivationOptions& options) {
  const Counts n = count(config, pack, options);
  const std::int64_t stream = n.tokens * n.width * kFloatBytes;
  std::int64_t blocks = 0;
  switch (options.checkpointing) {
    case Checkpointing::kNone:
      blocks = config.num_layers * kept_by_block(n);
      break;
    case Checkpointing::kSelective:  // the block that runs backward has made the rest again
      blocks = (config.num_layers - 1) * kept_selectively(n) + kept_by_block(n);
      break;
    case Checkpointing::kFull:
      blocks = config.num_layers * stream + kept_by_block(n);
      break;
  }
  return kept_by_ends(config, n) + blocks + backward_of_block(n);
}

}  // namespace zoetrope::model
