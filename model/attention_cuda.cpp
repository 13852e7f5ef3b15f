// G segments of equal lengths, L query tokens each, T query tokens and S key tokens in all, N
// heads, H head width
#include "model/attention_cuda.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

namespace zoetrope::model {
namespace {

// [0, l0, l0 + l1, ...] on the device. Through pinned memory, so that the host does not wait.
at::Tensor starts_on(const std::vector<std::int64_t>& lengths, at::Device device) {
  at::Tensor starts = at::empty({static_cast<std::int64_t>(lengths.size()) + 1},
                                at::TensorOptions().dtype(at::kInt).pinned_memory(true));
  auto* out = starts.mutable_data_ptr<std::int32_t>();
  std::int32_t next = 0;
  for (const std::int64_t length : lengths) {
    *out++ = next;
    next += static_cast<std::int32_t>(length);
  }
  *out = next;
  return starts.to(device, /*non_blocking=*/true);
}

at::Tensor flash_attention(const at::Tensor& q_TNH, const at::Tensor& k_SNH,
                           const at::Tensor& v_SNH, const std::vector<std::int64_t>& query_lengths,
                           const std::vector<std::int64_t>& key_lengths) {
  const auto longest = [](const std::vector<std::int64_t>& lengths) {
    return *std::max_element(lengths.begin(), lengths.end());
  };
  return std::get<0>(at::_flash_attention_forward(
      q_TNH, k_SNH, v_SNH, starts_on(query_lengths, q_TNH.device()),
      starts_on(key_lengths, q_TNH.device()), longest(query_lengths), longest(key_lengths),
      /*dropout_p=*/0, /*is_causal=*/false, /*return_debug_mask=*/false,
      1 / std::sqrt(static_cast<double>(q_TNH.size(2)))));
}

// [G * L, N, H] -> [G, N, L, H]
at::Tensor as_batch(const at::Tensor& packed, std::int64_t begin, std::int64_t segments,
                    std::int64_t length) {
  return packed.narrow(0, begin, segments * length)
      .view({segments, length, packed.size(1), packed.size(2)})
      .transpose(1, 2);
}

}  // namespace

at::Tensor cuda_attention(const at::Tensor& q_TNH, const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                          const std::vector<std::int64_t>& query_lengths,
                          const std::vector<std::int64_t>& key_lengths) {
  if (q_TNH.scalar_type() == at::kBFloat16)
    return flash_attention(q_TNH, k_SNH, v_SNH, query_lengths, key_lengths);
  std::vector<at::Tensor> outputs;
  std::int64_t query = 0, key = 0;
  for (std::size_t s = 0; s < query_lengths.size();) {
    std::size_t end = s + 1;
    while (end < query_lengths.size() && query_lengths[end] == query_lengths[s] &&
           key_lengths[end] == key_lengths[s])
      ++end;
    const auto segments = static_cast<std::int64_t>(end - s);
    const at::Tensor out_GNLH =
        at::scaled_dot_product_attention(as_batch(q_TNH, query, segments, query_lengths[s]),
                                         as_batch(k_SNH, key, segments, key_lengths[s]),
                                         as_batch(v_SNH, key, segments, key_lengths[s]));
    outputs.push_back(out_GNLH.transpose(1, 2).reshape({-1, q_TNH.size(1), q_TNH.size(2)}));
    query += segments * query_lengths[s];
    key += segments * key_lengths[s];
    s = end;
  }
  return at::cat(outputs);
}

}  // namespace zoetrope::model
