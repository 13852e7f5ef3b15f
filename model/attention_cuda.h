// packed_attention on a CUDA device, on LibTorch's own kernels and their gradients.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// As packed_attention: in bf16 all segments are one launch of FlashAttention, which is told where
// each begins; in other types equal neighbours are one batch of scaled_dot_product_attention.
at::Tensor cuda_attention(const at::Tensor& q_TNH, const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                          const std::vector<std::int64_t>& query_lengths,
                          const std::vector<std::int64_t>& key_lengths);

}  // namespace zoetrope::model
