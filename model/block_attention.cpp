// Block products run in oneDNN's microkernels (brgemm), which want their right operand with pairs
// of rows interleaved ("paired": element (k, n) of a [K, N] matrix lies at (k / 2, n, k % 2)).
// I query rows and J key rows of one block, both at most kBlock.
#include "model/block_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>

#include "base/error.h"
#include "model/row_kernels.h"

namespace zoetrope::model {
namespace {

using Bits = std::uint16_t;  // of a bf16
constexpr std::int64_t kBlock = 128;
constexpr std::int64_t kKeysAtOnce = 2 * kBlock;  // of the forward pass

// Rows of one head: `stride` apart, H next to each other.
struct Rows {
  Bits* data;
  std::int64_t count, stride;
  Bits* row(std::int64_t i) const { return data + i * stride; }
};

Rows head_rows(const at::Tensor& x_GNLH, std::int64_t segment, std::int64_t head) {
  auto* data = static_cast<Bits*>(x_GNLH.data_ptr());
  return {data + segment * x_GNLH.stride(0) + head * x_GNLH.stride(1), x_GNLH.size(2),
          x_GNLH.stride(2)};
}

std::int64_t even(std::int64_t n) {
  return (n + 1) / 2 * 2;
}
std::int64_t blocks_of(std::int64_t n) {
  return (n + kBlock - 1) / kBlock;
}

// C [M, N] = A [M, K] B, or += ; K even; B paired.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const Bits* a, std::int64_t ld_a,
              const Bits* b, std::int64_t ld_b, float* c, std::int64_t ld_c, bool add) {
  at::native::cpublas::brgemm(m, n, k, ld_a, ld_b, ld_c, add,
                              reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c);
}

// rows [I, H] as the paired right operand [K = H, N = I] of a product: x^T. ld in columns.
void pair_transposed(const Rows& x, std::int64_t begin, std::int64_t count, std::int64_t width,
                     std::int64_t ld, Bits* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const Bits* from = x.row(begin + i);
    for (std::int64_t pair = 0; pair < width / 2; ++pair) {
      std::memcpy(to + (pair * ld + i) * 2, from + 2 * pair, 2 * sizeof(Bits));
    }
  }
}

// rows [I, H] as the paired right operand [K = I, N = H]; an odd last row is paired with zeros.
void pair_rows(const Rows& x, std::int64_t begin, std::int64_t count, std::int64_t width,
               Bits* to) {
  const std::vector<Bits> zeros(width);
  for (std::int64_t i = 0; i < count; i += 2, to += 2 * width) {
    const Bits* lower = x.row(begin + i);
    const Bits* upper = i + 1 < count ? x.row(begin + i + 1) : zeros.data();
    rows::interleave(to, lower, upper, width);
  }
}

// rows [J, H] -> [H, J]: the left operand of a product; an odd last column is followed by zeros.
void transpose(const Rows& x, std::int64_t begin, std::int64_t count, std::int64_t width,
               Bits* to) {
  for (std::int64_t j = 0; j < even(count); ++j) {
    for (std::int64_t h = 0; h < width; ++h)
      to[h * kBlock + j] = j < count ? x.row(begin + j)[h] : 0;
  }
}

// One thread's memory for the forward pass of one block of queries.
struct ForwardWorkspace {
  explicit ForwardWorkspace(std::int64_t width)
      : scores(kBlock * kKeysAtOnce), out(kBlock * width), probabilities(kBlock * kKeysAtOnce) {}
  std::vector<float> scores, out;
  std::vector<Bits> probabilities;
};

// Keys and values of one head as right operands, in pieces of kKeysAtOnce.
struct PairedKeys {
  std::vector<Bits> keys, values;
  PairedKeys(const Rows& k, const Rows& v, std::int64_t width) {
    const std::int64_t pieces = (k.count + kKeysAtOnce - 1) / kKeysAtOnce;
    keys.resize(pieces * kKeysAtOnce * width);
    values.resize(pieces * kKeysAtOnce * width);
    for (std::int64_t begin = 0; begin < k.count; begin += kKeysAtOnce) {
      const std::int64_t count = std::min(kKeysAtOnce, k.count - begin);
      pair_transposed(k, begin, count, width, kKeysAtOnce, keys.data() + begin * width);
      pair_rows(v, begin, count, width, values.data() + begin * width);
    }
  }
};

// Softmax with a running maximum: what was summed before a larger score is scaled down.
void attend_query_block(const Rows& q, std::int64_t begin, std::int64_t num_keys,
                        std::int64_t width, float scale, const PairedKeys& paired,
                        ForwardWorkspace& work, const Rows& out, float* lse) {
  const std::int64_t count = std::min(kBlock, q.count - begin);
  float maxima[kBlock], sums[kBlock];
  std::fill_n(maxima, count, -std::numeric_limits<float>::infinity());
  std::fill_n(sums, count, 0.0F);
  for (std::int64_t first = 0; first < num_keys; first += kKeysAtOnce) {
    const std::int64_t keys = std::min(kKeysAtOnce, num_keys - first);
    multiply(count, keys, width, q.row(begin), q.stride, paired.keys.data() + first * width,
             kKeysAtOnce, work.scores.data(), kKeysAtOnce, false);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* scores = work.scores.data() + i * kKeysAtOnce;
      Bits* probabilities = work.probabilities.data() + i * kKeysAtOnce;
      const float maximum = std::max(maxima[i], scale * rows::max(scores, keys));
      const float shrink = std::exp(maxima[i] - maximum);
      sums[i] = sums[i] * shrink + rows::exp_scaled(probabilities, scores, scale, maximum, keys);
      if (keys % 2 != 0) probabilities[keys] = 0;
      if (first > 0 && shrink != 1) rows::times(work.out.data() + i * width, shrink, width);
      maxima[i] = maximum;
    }
    multiply(count, width, even(keys), work.probabilities.data(), kKeysAtOnce,
             paired.values.data() + first * width, width, work.out.data(), width, first > 0);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    rows::times(work.out.data() + i * width, 1 / sums[i], width);
    rows::narrow(work.out.data() + i * width, out.row(begin + i), width);
    lse[begin + i] = maxima[i] + std::log(sums[i]);
  }
}

// Queries and gradients of one head as right operands, block by block; delta is the row sum of
// g * out.
struct PairedQueries {
  std::vector<Bits> q_transposed, g_transposed, q_rows, g_rows;
  std::vector<float> delta;
  PairedQueries(const Rows& q, const Rows& g, const Rows& out, std::int64_t width) {
    const std::int64_t size = blocks_of(q.count) * kBlock * width;
    for (auto* v : {&q_transposed, &g_transposed, &q_rows, &g_rows}) v->resize(size);
    for (std::int64_t begin = 0; begin < q.count; begin += kBlock) {
      const std::int64_t count = std::min(kBlock, q.count - begin), place = begin * width;
      pair_transposed(q, begin, count, width, kBlock, q_transposed.data() + place);
      pair_transposed(g, begin, count, width, kBlock, g_transposed.data() + place);
      pair_rows(q, begin, count, width, q_rows.data() + place);
      pair_rows(g, begin, count, width, g_rows.data() + place);
    }
    std::vector<float> g_row(width), out_row(width);
    for (std::int64_t i = 0; i < q.count; ++i) {
      rows::widen(g.row(i), g_row.data(), width);
      rows::widen(out.row(i), out_row.data(), width);
      delta.push_back(rows::dot(g_row.data(), out_row.data(), width));
    }
  }
};

struct BackwardWorkspace {
  BackwardWorkspace(std::int64_t num_queries, std::int64_t width)
      : scores(kBlock * kBlock),
        d_probabilities(kBlock * kBlock),
        d_key(kBlock * width),
        d_value(kBlock * width),
        d_query_transposed(blocks_of(num_queries) * kBlock * width),
        probabilities(kBlock * kBlock),
        d_scores(kBlock * kBlock),
        d_scores_paired(kBlock * kBlock),
        key_transposed(kBlock * width) {}
  std::vector<float> scores, d_probabilities, d_key, d_value;
  std::vector<float> d_query_transposed;  // of all blocks, each [H, I]
  std::vector<Bits> probabilities, d_scores, d_scores_paired, key_transposed;
};

// Transposed scores [J, I] of a block -> probabilities, and the gradients of the scores, plain and
// paired.
void score_gradients(std::int64_t keys, std::int64_t queries, float scale, const float* lse,
                     const float* delta, BackwardWorkspace& work) {
  for (std::int64_t j = 0; j < keys; ++j) {
    const std::int64_t row = j * kBlock;
    rows::score_gradient(work.probabilities.data() + row, work.d_scores.data() + row,
                         work.scores.data() + row, work.d_probabilities.data() + row, lse, delta,
                         scale, queries);
    if (queries % 2 != 0) work.probabilities[row + queries] = work.d_scores[row + queries] = 0;
  }
  if (keys % 2 != 0) std::fill_n(work.d_scores.data() + keys * kBlock, kBlock, Bits{0});
  for (std::int64_t j = 0; j < keys; j += 2) {
    const Bits* lower = work.d_scores.data() + j * kBlock;
    rows::interleave(work.d_scores_paired.data() + j * kBlock, lower, lower + kBlock, queries);
  }
}

// All of one key block's work: its d_k and d_v, and its share of every query's d_q.
void key_block_backward(const Rows& k, const Rows& v, std::int64_t begin, std::int64_t num_queries,
                        std::int64_t width, float scale, const PairedQueries& paired,
                        const float* lse, BackwardWorkspace& work) {
  const std::int64_t keys = std::min(kBlock, k.count - begin);
  transpose(k, begin, keys, width, work.key_transposed.data());
  for (std::int64_t first = 0; first < num_queries; first += kBlock) {
    const std::int64_t queries = std::min(kBlock, num_queries - first), place = first * width;
    multiply(keys, queries, width, k.row(begin), k.stride, paired.q_transposed.data() + place,
             kBlock, work.scores.data(), kBlock, false);
    multiply(keys, queries, width, v.row(begin), v.stride, paired.g_transposed.data() + place,
             kBlock, work.d_probabilities.data(), kBlock, false);
    score_gradients(keys, queries, scale, lse + first, paired.delta.data() + first, work);
    multiply(keys, width, even(queries), work.probabilities.data(), kBlock,
             paired.g_rows.data() + place, width, work.d_value.data(), width, first > 0);
    multiply(keys, width, even(queries), work.d_scores.data(), kBlock, paired.q_rows.data() + place,
             width, work.d_key.data(), width, first > 0);
    multiply(width, queries, even(keys), work.key_transposed.data(), kBlock,
             work.d_scores_paired.data(), kBlock, work.d_query_transposed.data() + place, kBlock,
             begin > 0);
  }
}

void store_rows(const float* from, std::int64_t count, std::int64_t width, const Rows& to,
                std::int64_t begin) {
  for (std::int64_t i = 0; i < count; ++i) rows::narrow(from + i * width, to.row(begin + i), width);
}

void store_queries(const BackwardWorkspace& work, std::int64_t width, const Rows& d_q) {
  std::vector<float> row(width);
  for (std::int64_t i = 0; i < d_q.count; ++i) {
    const float* block = work.d_query_transposed.data() + i / kBlock * kBlock * width + i % kBlock;
    for (std::int64_t h = 0; h < width; ++h) row[h] = block[h * kBlock];
    rows::narrow(row.data(), d_q.row(i), width);
  }
}

void check_views(const at::Tensor& x) {
  ZOETROPE_CHECK(x.dim() == 4 && x.scalar_type() == at::kBFloat16 && x.stride(3) == 1,
                 "block attention got a tensor ", x.sizes(), " with strides ", x.strides());
}

}  // namespace

bool can_use_block_attention(const at::Tensor& q_GNLH) {
  return rows::has_bf16_products() && q_GNLH.device().is_cpu() &&
         q_GNLH.scalar_type() == at::kBFloat16 && q_GNLH.size(3) % 2 == 0 && q_GNLH.stride(3) == 1;
}

at::Tensor block_attention(const at::Tensor& q_GNLH, const at::Tensor& k_GNSH,
                           const at::Tensor& v_GNSH, double scale, const at::Tensor& out_GNLH) {
  for (const at::Tensor* x : {&q_GNLH, &k_GNSH, &v_GNSH, &out_GNLH}) check_views(*x);
  const std::int64_t segments = q_GNLH.size(0), heads = q_GNLH.size(1), width = q_GNLH.size(3);
  const std::int64_t queries = q_GNLH.size(2), keys = k_GNSH.size(2);
  at::Tensor lse_GNL = at::empty({segments, heads, queries}, at::kFloat);
  float* lse = lse_GNL.data_ptr<float>();
  at::parallel_for(0, segments * heads, 1, [&](std::int64_t from, std::int64_t to) {
    ForwardWorkspace work(width);
    for (std::int64_t place = from; place < to; ++place) {
      const std::int64_t segment = place / heads, head = place % heads;
      const Rows q = head_rows(q_GNLH, segment, head), out = head_rows(out_GNLH, segment, head);
      const PairedKeys paired(head_rows(k_GNSH, segment, head), head_rows(v_GNSH, segment, head),
                              width);
      for (std::int64_t begin = 0; begin < queries; begin += kBlock) {
        attend_query_block(q, begin, keys, width, static_cast<float>(scale), paired, work, out,
                           lse + place * queries);
      }
    }
    at::native::cpublas::brgemm_release();
  });
  return lse_GNL;
}

void block_attention_backward(const at::Tensor& g_GNLH, const BlockAttentionSaved& saved,
                              double scale, const at::Tensor& d_q, const at::Tensor& d_k,
                              const at::Tensor& d_v) {
  for (const at::Tensor* x : {&g_GNLH, &saved.q_GNLH, &saved.out_GNLH, &d_q, &d_k, &d_v})
    check_views(*x);
  const std::int64_t heads = g_GNLH.size(1), queries = g_GNLH.size(2), width = g_GNLH.size(3);
  const float* lse = saved.lse_GNL.const_data_ptr<float>();
  at::parallel_for(0, g_GNLH.size(0) * heads, 1, [&](std::int64_t from, std::int64_t to) {
    BackwardWorkspace work(queries, width);
    for (std::int64_t place = from; place < to; ++place) {
      const auto rows_of = [&](const at::Tensor& x) {
        return head_rows(x, place / heads, place % heads);
      };
      const Rows k = rows_of(saved.k_GNSH), v = rows_of(saved.v_GNSH);
      const PairedQueries paired(rows_of(saved.q_GNLH), rows_of(g_GNLH), rows_of(saved.out_GNLH),
                                 width);
      for (std::int64_t begin = 0; begin < k.count; begin += kBlock) {
        key_block_backward(k, v, begin, queries, width, static_cast<float>(scale), paired,
                           lse + place * queries, work);
        const std::int64_t count = std::min(kBlock, k.count - begin);
        store_rows(work.d_key.data(), count, width, rows_of(d_k), begin);
        store_rows(work.d_value.data(), count, width, rows_of(d_v), begin);
      }
      store_queries(work, width, rows_of(d_q));
    }
    at::native::cpublas::brgemm_release();
  });
}

}  // namespace zoetrope::model
