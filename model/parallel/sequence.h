// Sequence parallelism: attention over segments whose tokens the ranks of a group share out.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/parallel/token_plan.h"

namespace zoetrope::model {

// packed_attention of each segment with itself: q, k, v and the result hold the plan's joint tokens
// [t, N, H] of any number of heads. Differentiable. Collective over the groups of the plan's packs,
// forward and backward, pack by pack in the plan's order.
at::Tensor sequence_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH,
                              const at::Tensor& v_tNH, const TokenPlan& plan);

// One shared pack; q, k, v: this rank's tokens of it. Ulysses (arXiv:2309.14509): ranks trade
// tokens for heads, so that each sees all tokens of some heads; a rank may have no head. Bytes fall
// with the number of ranks.
at::Tensor ulysses_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH,
                             const at::Tensor& v_tNH, const TokenPlan::SharedPack& pack);
// Ring (arXiv:2310.01889): keys and values go round. As many bytes whatever the ranks, but equal
// work for any number of heads.
at::Tensor ring_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH, const at::Tensor& v_tNH,
                          const TokenPlan::SharedPack& pack);
// Which of them sequence_attention takes: Ulysses, unless its busiest rank would have over 1/8 more
// heads than the mean.
bool prefers_ring(std::int64_t heads, int ranks);

}  // namespace zoetrope::model
