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

}  // namespace zoetrope::model
