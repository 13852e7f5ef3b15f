// One autograd node for all segments: each group of equal neighbours is a batch, seen through
// views; outputs and gradients go straight into the packed buffers. G segments of a group, L query
// tokens, S key tokens, N heads, H head width
#include "model/attention.h"

#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/attention_cuda.h"
#include "model/block_attention.h"
#include "model/linear.h"
#include "model/selective.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Up to here the score matrix is kept rather than recomputed. Measured, forward and backward: in
// bf16 keeping is 10 % faster than blocks at 1024 tokens; in fp32 it takes as long as the flash
// kernel, so only short segments spend the memory.
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

at::Tensor one_segment(const at::Tensor& x_TNH) {
  return batch_view(x_TNH, 0, 1, x_TNH.size(0));
}

double softmax_scale(const at::Tensor& q_TNH) {
  return 1 / std::sqrt(static_cast<double>(q_TNH.size(2)));
}

enum class Way {
  kKeepScores,  // short segments
  kBlocks,      // bf16 where the processor multiplies it fast
  kFlash,       // LibTorch's kernel
};

// type: of the products.
bool keeps_scores(std::int64_t query_length, std::int64_t key_length, at::ScalarType type,
                  bool is_selective) {
  const bool may_be_long = type == at::kBFloat16 && !is_selective;
  return query_length * key_length <= (may_be_long ? kMaxKeptScoresBf16 : kMaxKeptScores);
}

// Without the scores.
Way way_of_long(const at::Tensor& q_GNLH) {
  const bool suits = product_type(q_GNLH) == at::kBFloat16 && can_use_block_attention(q_GNLH);
  return suits ? Way::kBlocks : Way::kFlash;
}

Way way_of(const at::Tensor& q_TNH, const Group& group, bool is_selective) {
  if (keeps_scores(group.query_length, group.key_length, product_type(q_TNH), is_selective))
    return Way::kKeepScores;
  return way_of_long(query_view(q_TNH, group));
}

// Fills `out`, a view [G, N, L, H]. -> what the backward needs: probabilities, or the rows'
// log-sum-exp.
at::Tensor attend(const at::Tensor& own_q, const at::Tensor& own_k, const at::Tensor& own_v,
                  Way way, double scale, const at::Tensor& out) {
  if (way == Way::kBlocks) return block_attention(own_q, own_k, own_v, scale, out);
  const at::ScalarType type = product_type(own_q);
  const at::Tensor q = own_q.to(type), k = own_k.to(type), v = own_v.to(type);
  if (way == Way::kFlash) {
    const auto [result, lse] =
        at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, false, {}, scale);
    out.copy_(result);
    return lse;
  }
  at::Tensor probabilities = at::softmax(at::matmul(q * scale, k.transpose(-2, -1)), -1);
  out.copy_(at::matmul(probabilities, v));
  return probabilities;
}

// g is the gradient of `out`; fills the views in d.
void attend_backward(const at::Tensor& own_g, const BlockAttentionSaved& saved, Way way,
                     double scale, const AttentionGradients& d) {
  if (way == Way::kBlocks) return block_attention_backward(own_g, saved, scale, d.q, d.k, d.v);
  const at::ScalarType type = product_type(own_g);
  const at::Tensor g = own_g.to(type), q = saved.q_GNLH.to(type), k = saved.k_GNSH.to(type),
                   v = saved.v_GNSH.to(type);
  const at::Tensor& kept = saved.lse_GNL;
  if (way == Way::kFlash) {
    const auto [d_q, d_k, d_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        g, q, k, v, saved.out_GNLH.to(type), kept, 0.0, false, {}, scale);
    d.q.copy_(d_q);
    d.k.copy_(d_k);
    d.v.copy_(d_v);
    return;
  }
  d.v.copy_(at::matmul(kept.transpose(-2, -1), g));
  const at::Tensor d_p = at::matmul(g, v.transpose(-2, -1));
  const at::Tensor d_scores = at::_softmax_backward_data(d_p, kept, -1, kept.scalar_type());
  d.q.copy_(at::matmul(d_scores, k).mul_(scale));
  d.k.copy_(at::matmul(d_scores.transpose(-2, -1), q).mul_(scale));
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_TNH,
                            const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                            at::IntArrayRef query_lengths, at::IntArrayRef key_lengths) {
    const auto groups = group_segments(query_lengths, key_lengths);
    at::Tensor out_TNH = at::empty_like(q_TNH, at::MemoryFormat::Contiguous);
    const bool is_selective = SelectiveScope::is_active();
    variable_list saved = {keep_in(context, "q", q_TNH), keep_in(context, "k", k_SNH), v_SNH,
                           out_TNH};
    for (const Group& group : groups) {
      saved.push_back(attend(query_view(q_TNH, group), key_view(k_SNH, group),
                             key_view(v_SNH, group), way_of(q_TNH, group, is_selective),
                             softmax_scale(q_TNH), query_view(out_TNH, group)));
    }
    context->saved_data["is_selective"] = is_selective;
    context->save_for_backward(saved);
    context->saved_data["query_lengths"] = query_lengths;
    context->saved_data["key_lengths"] = key_lengths;
    return out_TNH;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &v_SNH = saved[2], &out_TNH = saved[3];
    const at::Tensor q_TNH = kept_in(context, "q", saved[0]),
                     k_SNH = kept_in(context, "k", saved[1]);
    const bool is_selective = context->saved_data["is_selective"].toBool();
    const at::Tensor g_TNH = gradients[0].contiguous();
    const auto groups = group_segments(context->saved_data["query_lengths"].toIntVector(),
                                       context->saved_data["key_lengths"].toIntVector());
    at::Tensor d_q = at::empty_like(q_TNH, at::MemoryFormat::Contiguous);
    at::Tensor d_k = at::empty_like(k_SNH, at::MemoryFormat::Contiguous);
    at::Tensor d_v = at::empty_like(v_SNH, at::MemoryFormat::Contiguous);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const Group& group = groups[i];
      attend_backward(query_view(g_TNH, group),
                      {query_view(q_TNH, group), key_view(k_SNH, group), key_view(v_SNH, group),
                       query_view(out_TNH, group), saved[4 + i]},
                      way_of(q_TNH, group, is_selective), softmax_scale(q_TNH),
                      {query_view(d_q, group), key_view(d_k, group), key_view(d_v, group)});
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
  if (q_TNH.is_cuda()) return cuda_attention(q_TNH, k_SNH, v_SNH, query_lengths, key_lengths);
  return AttentionFunction::apply(q_TNH, k_SNH, v_SNH, at::IntArrayRef(query_lengths),
                                  at::IntArrayRef(key_lengths));
}

PartialAttention attend_part(const at::Tensor& q_TNH, const at::Tensor& k_SNH,
                             const at::Tensor& v_SNH) {
  const double scale = softmax_scale(q_TNH);
  const at::Tensor q = one_segment(q_TNH), k = one_segment(k_SNH), v = one_segment(v_SNH);
  at::Tensor out_TNH = at::empty_like(q_TNH, at::MemoryFormat::Contiguous);
  const at::Tensor lse = attend(q, k, v, way_of_long(q), scale, one_segment(out_TNH));
  return {out_TNH, lse[0]};
}

AttentionGradients attend_part_backward(const at::Tensor& g_TNH, const at::Tensor& q_TNH,
                                        const at::Tensor& k_SNH, const at::Tensor& v_SNH,
                                        const at::Tensor& out_TNH, const at::Tensor& lse_NT) {
  const double scale = softmax_scale(q_TNH);
  const BlockAttentionSaved saved = {one_segment(q_TNH), one_segment(k_SNH), one_segment(v_SNH),
                                     one_segment(out_TNH), lse_NT.contiguous().unsqueeze(0)};
  const at::Tensor g = one_segment(g_TNH);
  AttentionGradients d = {at::empty_like(q_TNH, at::MemoryFormat::Contiguous),
                          at::empty_like(k_SNH, at::MemoryFormat::Contiguous),
                          at::empty_like(v_SNH, at::MemoryFormat::Contiguous)};
  const AttentionGradients views = {one_segment(d.q), one_segment(d.k), one_segment(d.v)};
  attend_backward(g, saved, way_of_long(saved.q_GNLH), scale, views);
  return d;
}

std::int64_t kept_by_attention_bytes(std::int64_t query_length, std::int64_t key_length,
                                     std::int64_t heads, at::ScalarType type, bool is_selective) {
  type = product_type(type);
  const std::int64_t rows = heads * query_length;
  // A log-sum-exp a row in fp32, or the row's probabilities.
  if (!keeps_scores(query_length, key_length, type, is_selective)) return rows * 4;
  return rows * key_length * static_cast<std::int64_t>(c10::elementSize(type));
}

}  // namespace zoetrope::model
