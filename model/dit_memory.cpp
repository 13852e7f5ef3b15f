// Counts what model/dit.cpp and its autograd nodes keep. Bytes a token; c = bytes of a number in
// the compute type; D width, F MLP width.
#include "model/dit_memory.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/attention.h"
#include "model/linear.h"

namespace zoetrope::model {
namespace {

constexpr std::int64_t kFloatBytes = 4;
constexpr std::int64_t kStatisticsBytes = 36;  // a token: of three norms, and q and k twice

struct Counts {
  std::int64_t tokens, text, samples;  // on this rank
  std::int64_t width, ffn, c;
  bool casts_weights, widens;                  // products of bf16 are in bf16, in fp32
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
           options.bf16 ? 2 : kFloatBytes,
           options.bf16 && product_type(at::kBFloat16) == at::kBFloat16,
           options.bf16 && product_type(at::kBFloat16) == at::kFloat};
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

// bf16 copies of a block's weights: of the attentions, of the MLP.
std::int64_t cast_attention(const Counts& n) {
  return n.casts_weights ? n.c * 8 * n.width * n.width : 0;
}
std::int64_t cast_mlp(const Counts& n) {
  return n.casts_weights ? n.c * 2 * n.width * n.ffn : 0;
}

// Keys twice and values of the text, modulation and two multipliers, and what attention keeps.
std::int64_t kept_either_way(const Counts& n) {
  return n.text * n.c * 3 * n.width + n.samples * 8 * n.width * kFloatBytes + n.kept_self +
         n.kept_cross;
}

// What one block keeps until its backward: inputs of the three norms, their statistics and those of
// the queries' and keys' norms; of self-attention the input, q and k before and after the norm, v,
// output and update, of cross-attention the input, q twice and the output, of the MLP the input,
// the hidden layer before and after GELU, and the update; and the cast weights.
std::int64_t kept_by_block(const Counts& n) {
  const std::int64_t d = n.width;
  return n.tokens * (12 * d + kStatisticsBytes + n.c * (14 * d + 2 * n.ffn)) + kept_either_way(n) +
         cast_attention(n) + cast_mlp(n);
}

// The same with selective checkpointing: outputs of linear layers and attention, and the stream.
std::int64_t kept_selectively(const Counts& n) {
  return n.tokens * (4 * n.width + kStatisticsBytes + n.c * (9 * n.width + n.ffn)) +
         kept_either_way(n);
}

// What the last block's backward adds at its highest point: in the MLP, the gradients of the hidden
// layer and of a weight, in each type that they have.
std::int64_t backward_of_mlp(const Counts& n, bool is_selective) {
  const std::int64_t weight = n.width * n.ffn;
  const std::int64_t gradients = n.tokens * (n.c + (n.widens ? kFloatBytes : 0)) * n.ffn +
                                 weight * (n.casts_weights ? n.c + kFloatBytes : kFloatBytes);
  if (!is_selective) return gradients;
  // The hidden layer and the stream made again, and a weight cast again.
  return gradients + n.tokens * (n.c * n.ffn + 4 * n.width) + (n.casts_weights ? weight * n.c : 0);
}

// Or in attention, gradients of scores and of their softmax, when what the layers behind it kept
// is free already.
std::int64_t backward_of_attention(const Counts& n) {
  const std::int64_t d = n.width;
  const std::int64_t freed_mlp = n.tokens * (4 * d + n.c * (2 * d + 2 * n.ffn)) + cast_mlp(n);
  const std::int64_t freed_cross =
      n.tokens * (4 * d + n.c * 4 * d) + n.kept_cross + cast_attention(n) / 2;
  const std::int64_t cross = 2 * n.kept_cross + n.tokens * (4 * d + n.c * 3 * d) - freed_mlp;
  const std::int64_t self =
      2 * n.kept_self + n.tokens * (4 * d + n.c * 4 * d) - freed_mlp - freed_cross;
  return std::max(cross, self);
}

// Batch, embeddings and head.
std::int64_t kept_by_ends(const DitConfig& config, const Counts& n) {
  const std::int64_t d = n.width, in = config.in_channels * config.patch_volume();
  const std::int64_t out = config.out_channels * config.patch_volume();
  std::int64_t bytes = n.tokens * kFloatBytes * (2 * d + in + 3 * out);
  bytes += n.text * (config.text_dim * (kFloatBytes + n.c) + n.c * 3 * d);
  bytes += n.samples * kFloatBytes * (config.freq_dim + 10 * d);
  if (n.casts_weights) bytes += n.c * (config.text_dim * d + d * d);
  return bytes;
}

}  // namespace

std::int64_t activation_bytes(const DitConfig& config, const PackShape& pack,
                              const ActivationOptions& options) {
  const Counts n = count(config, pack, options);
  const std::int64_t layers = config.num_layers;
  const std::int64_t backward = std::max(backward_of_mlp(n, false), backward_of_attention(n));
  switch (options.checkpointing) {
    case Checkpointing::kNone:
      return kept_by_ends(config, n) + layers * kept_by_block(n) + backward;
    case Checkpointing::kSelective:
      return kept_by_ends(config, n) + layers * kept_selectively(n) + backward_of_mlp(n, true);
    case Checkpointing::kFull:  // the stream between blocks, and one block as without
      return kept_by_ends(config, n) + layers * n.tokens * 4 * n.width + kept_by_block(n) +
             backward;
    case Checkpointing::kOffload:  // of the stream, what one block reads and writes
      return kept_by_ends(config, n) + 2 * n.tokens * 4 * n.width + kept_by_block(n) + backward;
  }
  throw Error(concat("no checkpointing ", static_cast<int>(options.checkpointing)));
}

}  // namespace zoetrope::model
