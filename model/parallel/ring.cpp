// Ring attention (arXiv:2310.01889): keys and values go round the group, and each rank merges what
// its queries see of each part. In the backward pass they go round again, followed by the sums of
// their gradients, which end where they belong. No mask: every part costs the same.
// t tokens of this rank, s tokens of the part that is here, N heads, H head width
#include "model/parallel/sequence.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/attention.h"
#include "model/parallel/buffer.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Where one segment lies in my part of the pack and in another.
struct Overlap {
  Part mine, theirs;
};

std::vector<Overlap> overlaps(const TokenPlan::SharedPack& pack, const Part& theirs) {
  const auto here = pack.lengths_in(pack.mine()), there = pack.lengths_in(theirs);
  std::vector<Overlap> result;
  std::int64_t mine = 0, other = 0;
  for (std::size_t s = 0; s < here.size(); ++s) {
    if (here[s] > 0 && there[s] > 0) result.push_back({{mine, here[s]}, {other, there[s]}});
    mine += here[s];
    other += there[s];
  }
  return result;
}

at::Tensor part_rows(const at::Tensor& x, const Part& part) {
  return x.narrow(0, part.begin, part.count);
}

at::ScalarType sum_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Hands every part of `pack` that passes by to use(part index, keys and values [2, s, N, H]).
template <class Use>
void turn_ring(const TokenPlan::SharedPack& pack, at::Tensor passing, const Use& use) {
  const int ranks = pack.group->size(), rank = pack.group->rank();
  for (int step = 0; step < ranks; ++step) {
    const int part = (rank - step + ranks) % ranks, next_part = (part - 1 + ranks) % ranks;
    at::Tensor next;
    std::unique_ptr<launch::Request> exchange;
    if (step + 1 < ranks) {
      next = at::empty({2, pack.parts[next_part].count, passing.size(2), passing.size(3)},
                       passing.options());
      exchange = pack.group->start_exchange(buffer_of(passing), (rank + 1) % ranks, buffer_of(next),
                                            (rank + ranks - 1) % ranks);
    }
    use(part, passing);
    if (exchange) exchange->wait();
    passing = next;
  }
}

struct Merged {
  at::Tensor out_tNH, lse_Nt;
};

// Two softmaxes over different keys are one over all, weighed by the shares of their sums.
void merge(Merged& sum, const Part& where, const PartialAttention& part) {
  at::Tensor out = part_rows(sum.out_tNH, where);
  at::Tensor lse = sum.lse_Nt.narrow(1, where.begin, where.count);
  const at::Tensor total = at::logaddexp(lse, part.lse_NT);
  const auto share = [&](const at::Tensor& x) { return at::exp(x - total).t().unsqueeze(-1); };
  out.mul_(share(lse)).add_(part.out_TNH.to(out.scalar_type()) * share(part.lse_NT));
  lse.copy_(total);
}

Merged ring_forward(const at::Tensor& q_tNH, const at::Tensor& k_tNH, const at::Tensor& v_tNH,
                    const TokenPlan::SharedPack& pack) {
  const auto options = q_tNH.options().dtype(sum_type(q_tNH));
  Merged sum{
      at::zeros(q_tNH.sizes(), options),
      at::full({q_tNH.size(1), q_tNH.size(0)}, -std::numeric_limits<double>::infinity(), options)};
  turn_ring(pack, at::stack({k_tNH, v_tNH}), [&](int part, const at::Tensor& kv_2sNH) {
    for (const auto& [mine, theirs] : overlaps(pack, pack.parts[part])) {
      merge(sum, mine,
            attend_part(part_rows(q_tNH, mine), part_rows(kv_2sNH[0], theirs),
                        part_rows(kv_2sNH[1], theirs)));
    }
  });
  return sum;
}

struct KeptRing : torch::CustomClassHolder {
  explicit KeptRing(const TokenPlan::SharedPack& shared) : pack(shared) {}
  TokenPlan::SharedPack pack;
};

class RingFunction : public torch::autograd::Function<RingFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_tNH,
                            const at::Tensor& k_tNH, const at::Tensor& v_tNH,
                            const TokenPlan::SharedPack& pack) {
    context->saved_data["pack"] = c10::IValue::make_capsule(c10::make_intrusive<KeptRing>(pack));
    const Merged sum = ring_forward(q_tNH, k_tNH, v_tNH, pack);
    const at::Tensor out_tNH = sum.out_tNH.to(q_tNH.scalar_type());
    context->save_for_backward({q_tNH, k_tNH, v_tNH, out_tNH, sum.lse_Nt});
    return out_tNH;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["pack"].toCapsule();
    const TokenPlan::SharedPack& pack = static_cast<const KeptRing&>(*kept).pack;
    const int ranks = pack.group->size(), rank = pack.group->rank();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q_tNH = saved[0], &out_tNH = saved[3], &lse_Nt = saved[4];
    const at::Tensor g_tNH = gradients[0].contiguous();
    const auto options = q_tNH.options().dtype(sum_type(q_tNH));
    at::Tensor d_q = at::zeros(q_tNH.sizes(), options), leaving, arriving;
    std::unique_ptr<launch::Request> exchange;
    turn_ring(pack, at::stack({saved[1], saved[2]}), [&](int part, const at::Tensor& kv_2sNH) {
      at::Tensor d_kv = at::zeros(kv_2sNH.sizes(), options);
      for (const auto& [mine, theirs] : overlaps(pack, pack.parts[part])) {
        const AttentionGradients d = attend_part_backward(
            part_rows(g_tNH, mine), part_rows(q_tNH, mine), part_rows(kv_2sNH[0], theirs),
            part_rows(kv_2sNH[1], theirs), part_rows(out_tNH, mine),
            lse_Nt.narrow(1, mine.begin, mine.count));
        part_rows(d_q, mine).add_(d.q);
        part_rows(d_kv[0], theirs).add_(d.k);
        part_rows(d_kv[1], theirs).add_(d.v);
      }
      if (exchange) {  // what the ranks before found for this part
        exchange->wait();
        d_kv.add_(arriving);
      }
      leaving = d_kv;
      const int next_part = (part - 1 + ranks) % ranks;
      arriving = at::empty({2, pack.parts[next_part].count, d_kv.size(2), d_kv.size(3)}, options);
      exchange = pack.group->start_exchange(buffer_of(leaving), (rank + 1) % ranks,
                                            buffer_of(arriving), (rank + ranks - 1) % ranks);
    });
    exchange->wait();
    const auto type = q_tNH.scalar_type();
    return {d_q.to(type), arriving[0].to(type), arriving[1].to(type), {}};
  }
};

}  // namespace

at::Tensor ring_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH, const at::Tensor& v_tNH,
                          const TokenPlan::SharedPack& pack) {
  return RingFunction::apply(q_tNH, k_tNH, v_tNH, pack);
}

}  // namespace zoetrope::model
