// One autograd node for all segments: each group of equal neighbours is a batch, seen through
// views; its gradients are written straight into the packed buffers. G segments of a group, L query
// tokens, S key tokens, N heads, H head width
#include "model/attention.h"

#include <cmath>
#include <numeric>
#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Up to here the score matrix is kept rather than recomputed. Measured, forward and backward on one
// thread: in bf16 keeping is 3 times faster at 80 to 1024 tokens (the flash kernel's products are
// small); in fp32 both take the same time, so only short segments spend the memory.
constexpr std::int64_t kMaxKeptScores = 192 * 192;
constexpr std::int64_t kMaxKeptScoresBf16 = 1024 * 1024;

struct Group {
  std::int64_t segments, query_begin, query_length, key_begin, key_length;
};

std::vector<Group> group_segments(at::IntArrayRef query_lengths, at::IntArrayRef key_lengths) {
  std::vector<Group> groups;
  std::int64_t query_begin = 0, key_begin = 0;
  for (std::size_t s = 0; s < query_lengths.size(); ++s) {
    const bool continues = !groups.empty() && groups.back().query_length == query_lengths[s] &&
                           groups.back().key_length == key_lengths[s];
    if (continues) {
      ++groups.back().segments;
    } else {
      groups.push_back({1, query_begin, query_lengths[s], key_begin, key_lengths[s]});
    }
    query_begin += query_lengths[s];
    key_begin += key_lengths[s];
  }
  return groups;
}

// [T, N, H] -> the group's [G, N, L, H], a view.
at::Tensor batch_view(const at::Tensor& packed, std::int64_t begin, std::int64_t segments,
                      std::int64_t length) {
  return packed.narrow(0, begin, segments * length)
      .view({segments, length, packed.size(1), packed.size(2)})
      .transpose(1, 2);
}
at::Tensor query_view(const at::Tensor& packed, const Group& g) {
  return batch_view(packed, g.query_begin, g.segments, g.query_length);
}
at::Tensor key_view(const at::Tensor& packed, const Group& g) {
  return batch_view(packed, g.key_begin, g.segments, g.key_length);
}

double softmax_scale(const at::Tensor& q_TNH) {
  return 1 / std::sqrt(static_cast<double>(q_TNH.size(2)));
}

// The flash kernel is for CPUs in floating types; short sequences and other devices keep their
// scores.
bool keeps_scores(const at::Tensor& q_TNH, const Group& group) {
  const bool is_bf16 = q_TNH.scalar_type() == at::kBFloat16;
  const std::int64_t limit = is_bf16 ? kMaxKeptScoresBf16 : kMaxKeptScores;
  return !q_TNH.device().is_cpu() || group.query_length * group.key_length <= limit;
}

// -> output [G, N, L, H] and what the backward needs: probabilities, or the rows' log-sum-exp.
std::tuple<at::Tensor, at::Tensor> attend(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, bool keep_scores, double scale) {
  if (!keep_scores) {
    return at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, false, {}, scale);
  }
  at::Tensor probabilities = at::softmax(at::matmul(q * scale, k.transpose(-2, -1)), -1);
  return {at::matmul(probabilities, v), probabilities};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(
    const at::Tensor& g, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& kept, bool keep_scores, double scale) {
  if (!keep_scores) {
    return at::_scaled_dot_product_flash_attention_for_cpu_backward(g, q, k, v, out, kept, 0.0,
                                                                    false, {}, scale);
  }
  const at::Tensor d_v = at::matmul(kept.transpose(-2, -1), g);
  const at::Tensor d_p = at::matmul(g, v.transpose(-2, -1));
  const at::Tensor d_scores = at::_softmax_backward_data(d_p, kept, -1, kept.scalar_type());
  return {at::matmul(d_scores, k).mul_(scale),
          at::matmul(d_scores.transpose(-2, -1), q).mul_(scale), d_v};
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_TNH,
                            const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                            at::IntArrayRef query_lengths, at::IntArrayRef key_lengths) {
    const auto groups = group_segments(query_lengths, key_lengths);
    at::Tensor out_TNH =
        groups.size() == 1 ? at::Tensor() : at::empty_like(q_TNH, at::MemoryFormat::Contiguous);
    variable_list saved = {q_TNH, k_SNH, v_SNH, {}};
    for (const Group& group : groups) {
      auto [out, kept] =
          attend(query_view(q_TNH, group), key_view(k_SNH, group), key_view(v_SNH, group),
                 keeps_scores(q_TNH, group), softmax_scale(q_TNH));
      if (out_TNH.defined()) {
        query_view(out_TNH, group).copy_(out);
      } else {
        out_TNH = out.transpose(1, 2).contiguous().view(q_TNH.sizes());
      }
      saved.push_back(kept);
    }
    saved[3] = out_TNH;
    context->save_for_backward(saved);
    context->saved_data["query_lengths"] = query_lengths;
    context->saved_data["key_lengths"] = key_lengths;
    return out_TNH;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q_TNH = saved[0], &k_SNH = saved[1], &v_SNH = saved[2], &out_TNH = saved[3];
    const at::Tensor g_TNH = gradients[0].contiguous();
    const auto groups = group_segments(context->saved_data["query_lengths"].toIntVector(),
                                       context->saved_data["key_lengths"].toIntVector());
    at::Tensor d_q = at::empty_like(q_TNH, at::MemoryFormat::Contiguous);
    at::Tensor d_k = at::empty_like(k_SNH, at::MemoryFormat::Contiguous);
    at::Tensor d_v = at::empty_like(v_SNH, at::MemoryFormat::Contiguous);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const Group& group = groups[i];
      const auto [group_q, group_k, group_v] = attend_backward(
          query_view(g_TNH, group), query_view(q_TNH, group), key_view(k_SNH, group),
          key_view(v_SNH, group), query_view(out_TNH, group), saved[4 + i],
          keeps_scores(q_TNH, group), softmax_scale(q_TNH));
      query_view(d_q, group).copy_(group_q);
      key_view(d_k, group).copy_(group_k);
      key_view(d_v, group).copy_(group_v);
    }
    return {d_q, d_k, d_v, {}, {}};
  }
};

}  // namespace

at::Tensor packed_attention(const at::Tensor& q_TNH, const at::Tensor& k_SNH,
                            const at::Tensor& v_SNH, const std::vector<std::int64_t>& query_lengths,
                            const std::vector<std::int64_t>& key_lengths) {
  const auto total = [](const std::vector<std::int64_t>& lengths) {
    return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  };
  ZOETROPE_CHECK(query_lengths.size() == key_lengths.size(), query_lengths.size(),
                 " segments of queries but ", key_lengths.size(), " of keys");
  ZOETROPE_CHECK(total(query_lengths) == q_TNH.size(0), "segments of ", total(query_lengths),
                 " query tokens, but the sequence has ", q_TNH.size(0));
  ZOETROPE_CHECK(total(key_lengths) == k_SNH.size(0), "segments of ", total(key_lengths),
                 " key tokens, but the sequence has ", k_SNH.size(0));
  return AttentionFunction::apply(q_TNH, k_SNH, v_SNH, at::IntArrayRef(query_lengths),
                                  at::IntArrayRef(key_lengths));
}

}  // namespace zoetrope::model
