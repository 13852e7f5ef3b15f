// Attention on packed sequences: every segment's queries see that segment's keys and no others,
// without padding and without a mask.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// T query tokens, S key tokens, N heads, H head width; all segments one after another.
// softmax(q k^T / sqrt(H)) v per segment and head -> [T, N, H] in q's dtype. Neighbouring segments
// of equal lengths run as one batch. Lengths must add up to T and S (Error with the numbers
// otherwise).
at::Tensor packed_attention(const at::Tensor& q_TNH, const at::Tensor& k_SNH,
                            const at::Tensor& v_SNH, const std::vector<std::int64_t>& query_lengths,
                            const std::vector<std::int64_t>& key_lengths);

// Bytes that backward needs of one segment beside q, k, v and the output: the probabilities of a
// short one, else a number a row; in `type`, on the CPU.
std::int64_t kept_by_attention_bytes(std::int64_t query_length, std::int64_t key_length,
                                     std::int64_t heads, at::ScalarType type, bool is_selective);

// Attention of one segment's queries over a part of its keys: the result over these keys alone, and
// the log of the sum that its softmax divided by, by which parts are merged. Not differentiable.
// q [T, N, H]; k, v [S, N, H], on a CPU; lse is fp32, or fp64 for those.
struct PartialAttention {
  at::Tensor out_TNH, lse_NT;
};
PartialAttention attend_part(const at::Tensor& q_TNH, const at::Tensor& k_SNH,
                             const at::Tensor& v_SNH);

// Gradients through that part, for the gradient g of `out`; `out` and `lse` are those over all
// keys.
struct AttentionGradients {
  at::Tensor q, k, v;
};
AttentionGradients attend_part_backward(const at::Tensor& g_TNH, const at::Tensor& q_TNH,
                                        const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                                        const at::Tensor& out_TNH, const at::Tensor& lse_NT);

}  // namespace zoetrope::model
