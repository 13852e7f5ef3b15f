// Ulysses is two exchanges, each the other's backward: my tokens of all heads <-> all tokens of my
// heads.
// T tokens of a pack, t tokens of this rank, N heads, n heads of this rank, W values a head
#include "model/parallel/sequence.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/attention.h"
#include "model/parallel/buffer.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Who holds what while x of this many heads of this width is exchanged.
struct Trade {
  const TokenPlan::SharedPack& pack;
  std::int64_t num_heads, width;
  int rank, ranks;

  Trade(const TokenPlan::SharedPack& shared, std::int64_t head_count, std::int64_t head_width)
      : pack(shared),
        num_heads(head_count),
        width(head_width),
        rank(shared.group->rank()),
        ranks(shared.group->size()) {}
  Part heads(int peer) const { return even_part(num_heads, peer, ranks); }
  std::int64_t num_tokens() const { return pack.mine().count; }
  // Elements by peer: of my tokens of their heads, and of their tokens of my heads.
  std::vector<std::size_t> my_tokens() const {
    std::vector<std::size_t> counts;
    for (int p = 0; p < ranks; ++p) counts.push_back(num_tokens() * heads(p).count * width);
    return counts;
  }
  std::vector<std::size_t> all_tokens() const {
    std::vector<std::size_t> counts;
    for (int p = 0; p < ranks; ++p) {
      counts.push_back(pack.parts[p].count * heads(rank).count * width);
    }
    return counts;
  }
  // Peer p's heads of x [t, N, W], and their place in a flat buffer sorted by peer.
  at::Tensor heads_of(const at::Tensor& x_tNW, int p) const {
    return x_tNW.narrow(1, heads(p).begin, heads(p).count);
  }
  at::Tensor place_of(const at::Tensor& flat, int p) const {
    const Part part = heads(p);
    return flat.narrow(0, num_tokens() * part.begin * width, num_tokens() * part.count * width)
        .view({num_tokens(), part.count, width});
  }
};

at::Tensor to_heads(const at::Tensor& x_tNW, const TokenPlan::SharedPack& pack) {
  const Trade trade(pack, x_tNW.size(1), x_tNW.size(2));
  const at::Tensor send = at::empty({x_tNW.numel()}, x_tNW.options());
  for (int p = 0; p < trade.ranks; ++p) trade.place_of(send, p).copy_(trade.heads_of(x_tNW, p));
  at::Tensor y_TnW =
      at::empty({pack.tokens.count, trade.heads(trade.rank).count, trade.width}, x_tNW.options());
  pack.group->all_to_all(buffer_of(send), trade.my_tokens(), buffer_of(y_TnW), trade.all_tokens());
  return y_TnW;
}

at::Tensor to_tokens(const at::Tensor& y_TnW, std::int64_t num_heads,
                     const TokenPlan::SharedPack& pack) {
  const Trade trade(pack, num_heads, y_TnW.size(2));
  const at::Tensor send_TnW = y_TnW.contiguous();
  at::Tensor x_tNW = at::empty({trade.num_tokens(), num_heads, trade.width}, y_TnW.options());
  const at::Tensor receive = at::empty({x_tNW.numel()}, y_TnW.options());
  pack.group->all_to_all(buffer_of(send_TnW), trade.all_tokens(), buffer_of(receive),
                         trade.my_tokens());
  for (int p = 0; p < trade.ranks; ++p) trade.heads_of(x_tNW, p).copy_(trade.place_of(receive, p));
  return x_tNW;
}

// The backward needs the pack after forward has returned: it keeps a copy.
struct KeptPack : torch::CustomClassHolder {
  explicit KeptPack(const TokenPlan::SharedPack& shared) : pack(shared) {}
  TokenPlan::SharedPack pack;
};

class ToHeads : public torch::autograd::Function<ToHeads> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_tNW,
                            const TokenPlan::SharedPack& pack) {
    context->saved_data["pack"] = c10::IValue::make_capsule(c10::make_intrusive<KeptPack>(pack));
    context->saved_data["heads"] = x_tNW.size(1);
    return to_heads(x_tNW, pack);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["pack"].toCapsule();
    return {to_tokens(gradients[0], context->saved_data["heads"].toInt(),
                      static_cast<const KeptPack&>(*kept).pack),
            {}};
  }
};

class ToTokens : public torch::autograd::Function<ToTokens> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_TnW,
                            std::int64_t num_heads, const TokenPlan::SharedPack& pack) {
    context->saved_data["pack"] = c10::IValue::make_capsule(c10::make_intrusive<KeptPack>(pack));
    return to_tokens(y_TnW, num_heads, pack);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["pack"].toCapsule();
    return {to_heads(gradients[0], static_cast<const KeptPack&>(*kept).pack), {}, {}};
  }
};

}  // namespace

at::Tensor ulysses_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH,
                             const at::Tensor& v_tNH, const TokenPlan::SharedPack& pack) {
  const std::int64_t width = q_tNH.size(2);
  // Queries, keys and values travel together: one message to each peer.
  const at::Tensor qkv_TnW = ToHeads::apply(at::cat({q_tNH, k_tNH, v_tNH}, 2), pack);
  const auto part = [&](std::int64_t i) { return qkv_TnW.narrow(2, i * width, width); };
  const at::Tensor out_TnH =
      qkv_TnW.size(1) == 0
          ? part(0)  // no head here: nothing to do, but the exchanges are everyone's
          : packed_attention(part(0), part(1), part(2), pack.lengths, pack.lengths);
  return ToTokens::apply(out_TnH, q_tNH.size(1), pack);
}

bool prefers_ring(std::int64_t heads, int ranks) {
  const std::int64_t most = (heads + ranks - 1) / ranks;
  return 8 * most * ranks > 9 * heads;
}

at::Tensor sequence_attention(const at::Tensor& q_tNH, const at::Tensor& k_tNH,
                              const at::Tensor& v_tNH, const TokenPlan& plan) {
  std::vector<at::Tensor> outs;
  std::int64_t start = 0;
  for (const TokenPlan::SharedPack& pack : plan.packs()) {
    const std::int64_t count = pack.mine().count;
    const auto rows = [&](const at::Tensor& x) { return x.narrow(0, start, count); };
    const at::Tensor q = rows(q_tNH), k = rows(k_tNH), v = rows(v_tNH);
    outs.push_back(pack.group == nullptr ? packed_attention(q, k, v, pack.lengths, pack.lengths)
                   : prefers_ring(q.size(1), pack.group->size())
                       ? ring_attention(q, k, v, pack)
                       : ulysses_attention(q, k, v, pack));
    start += count;
  }
  return outs.size() == 1 ? outs[0] : at::cat(outs);
}

}  // namespace zoetrope::model
