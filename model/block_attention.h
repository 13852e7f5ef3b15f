// Exact attention in blocks for bf16 on CPUs: scores live only in cache, sums are fp32, and the
// backward recomputes probabilities from the rows' log-sum-exp (FlashAttention-2,
// arXiv:2307.08691). Memory grows with the length, not with its square. Same bits for any number of
// threads. G segments of one group, N heads, L query tokens, S key tokens, H head width
#pragma once

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// Whether this machine's products and these tensors suit it: bf16 on a CPU with AVX-512 bf16, an
// even head width, channels next to each other. Otherwise the caller has another way.
bool can_use_block_attention(const at::Tensor& q_GNLH);

// Writes softmax(scale q k^T) v into out_GNLH, a view with H next to each other, and returns the
// log-sum-exp of each row's scaled scores, fp32 [G, N, L].
at::Tensor block_attention(const at::Tensor& q_GNLH, const at::Tensor& k_GNSH,
                           const at::Tensor& v_GNSH, double scale, const at::Tensor& out_GNLH);

// What backward needs beside the gradient g of `out`.
struct BlockAttentionSaved {
  at::Tensor q_GNLH, k_GNSH, v_GNSH, out_GNLH, lse_GNL;
};

// Writes the gradients of q, k and v into views shaped like them.
void block_attention_backward(const at::Tensor& g_GNLH, const BlockAttentionSaved& saved,
                              double scale, const at::Tensor& d_q, const at::Tensor& d_k,
                              const at::Tensor& d_v);

}  // namespace zoetrope::model
