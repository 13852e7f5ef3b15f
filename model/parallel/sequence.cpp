// Two exchanges, each the other's backward: my tokens of all heads <-> all tokens of my heads.
// T tokens of all ranks, t tokens of this rank, N heads, n heads of this rank, W values a head
#include "model/parallel/sequence.h"

#include <algorithm>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "model/attention.h"

namespace zoetrope::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<std::int64_t> share_out(std::int64_t count, std::int64_t ranks) {
  std::vector<std::int64_t> bounds;
  for (std::int64_t r = 0; r <= ranks; ++r) bounds.push_back(count * r / ranks);
  return bounds;
}

launch::Buffer sequence_buffer(const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  ZOETROPE_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kDouble,
                 "ranks exchange fp32, bf16 and fp64, not ", c10::toString(type));
  return {tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
          type == at::kFloat      ? launch::Element::kFloat
          : type == at::kBFloat16 ? launch::Element::kBFloat16
                                  : launch::Element::kDouble};
}

// Who holds what while x of this many heads of this width is exchanged.
struct Trade {
  const SequencePlan& plan;
  std::int64_t num_heads, width;
  std::vector<std::int64_t> heads;  // bounds by rank

  Trade(const SequencePlan& sequence, std::int64_t head_count, std::int64_t head_width)
      : plan(sequence),
        num_heads(head_count),
        width(head_width),
        heads(share_out(head_count, sequence.group()->size())) {}
  std::int64_t my_heads() const {
    const int rank = plan.group()->rank();
    return heads[rank + 1] - heads[rank];
  }
  // Elements by peer: of my tokens of their heads, and of their tokens of my heads.
  std::vector<std::size_t> my_tokens() const {
    std::vector<std::size_t> counts;
    for (std::size_t p = 0; p + 1 < heads.size(); ++p) {
      counts.push_back(plan.count() * (heads[p + 1] - heads[p]) * width);
    }
    return counts;
  }
  std::vector<std::size_t> all_tokens() const {
    std::vector<std::size_t> counts;
    for (std::size_t p = 0; p + 1 < heads.size(); ++p) {
      counts.push_back((plan.bounds()[p + 1] - plan.bounds()[p]) * my_heads() * width);
    }
    return counts;
  }
  // Peer p's heads of x [t, N, W], and their place in a flat buffer sorted by peer.
  at::Tensor heads_of(const at::Tensor& x_tNW, std::size_t p) const {
    return x_tNW.narrow(1, heads[p], heads[p + 1] - heads[p]);
  }
  at::Tensor place_of(const at::Tensor& flat, std::size_t p) const {
    const std::int64_t count = heads[p + 1] - heads[p];
    return flat.narrow(0, plan.count() * heads[p] * width, plan.count() * count * width)
        .view({plan.count(), count, width});
  }
};

at::Tensor to_heads(const at::Tensor& x_tNW, const SequencePlan& plan) {
  const Trade trade(plan, x_tNW.size(1), x_tNW.size(2));
  const at::Tensor send = at::empty({x_tNW.numel()}, x_tNW.options());
  for (std::size_t p = 0; p + 1 < trade.heads.size(); ++p) {
    trade.place_of(send, p).copy_(trade.heads_of(x_tNW, p));
  }
  at::Tensor y_TnW = at::empty({plan.total(), trade.my_heads(), trade.width}, x_tNW.options());
  plan.group()->all_to_all(sequence_buffer(send), trade.my_tokens(), sequence_buffer(y_TnW),
                           trade.all_tokens());
  return y_TnW;
}

at::Tensor to_tokens(const at::Tensor& y_TnW, std::int64_t num_heads, const SequencePlan& plan) {
  const Trade trade(plan, num_heads, y_TnW.size(2));
  const at::Tensor send_TnW = y_TnW.contiguous();
  at::Tensor x_tNW = at::empty({plan.count(), num_heads, trade.width}, y_TnW.options());
  const at::Tensor receive = at::empty({x_tNW.numel()}, y_TnW.options());
  plan.group()->all_to_all(sequence_buffer(send_TnW), trade.all_tokens(), sequence_buffer(receive),
                           trade.my_tokens());
  for (std::size_t p = 0; p + 1 < trade.heads.size(); ++p) {
    trade.heads_of(x_tNW, p).copy_(trade.place_of(receive, p));
  }
  return x_tNW;
}

// The backward needs the plan after forward has returned: it keeps a copy.
struct KeptPlan : torch::CustomClassHolder {
  explicit KeptPlan(const SequencePlan& sequence) : plan(sequence) {}
  SequencePlan plan;
};

class ToHeads : public torch::autograd::Function<ToHeads> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_tNW,
                            const SequencePlan& plan) {
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<KeptPlan>(plan));
    context->saved_data["heads"] = x_tNW.size(1);
    return to_heads(x_tNW, plan);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["plan"].toCapsule();
    return {to_tokens(gradients[0], context->saved_data["heads"].toInt(),
                      static_cast<const KeptPlan&>(*kept).plan),
            {}};
  }
};

class ToTokens : public torch::autograd::Function<ToTokens> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y_TnW,
                            std::int64_t num_heads, const SequencePlan& plan) {
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<KeptPlan>(plan));
    return to_tokens(y_TnW, num_heads, plan);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept = context->saved_data["plan"].toCapsule();
    return {to_heads(gradients[0], static_cast<const KeptPlan&>(*kept).plan), {}, {}};
  }
};

}  // namespace

SequencePlan::SequencePlan(std::int64_t tokens, launch::Communicator* group)
    : group_(group != nullptr && group->size() > 1 ? group : nullptr),
      rank_(group_ != nullptr ? group_->rank() : 0),
      bounds_(share_out(tokens, group_ != nullptr ? group_->size() : 1)) {
  ZOETROPE_CHECK(tokens + 1 >= static_cast<std::int64_t>(bounds_.size()), "a sequence of ", tokens,
                 " tokens cannot be shared by ", bounds_.size() - 1, " ranks");
}

at::Tensor SequencePlan::mine(const at::Tensor& all_T) const {
  ZOETROPE_CHECK(all_T.size(0) == total(), "a plan of ", total(), " tokens, a tensor of ",
                 all_T.size(0));
  return all_T.narrow(0, begin(), count());
}

SequencePlan::Pieces SequencePlan::pieces(const std::vector<std::int64_t>& segment_lengths) const {
  Pieces pieces;
  std::int64_t start = 0;
  for (std::size_t s = 0; s < segment_lengths.size(); ++s) {
    const std::int64_t stop = start + segment_lengths[s];
    const std::int64_t length = std::min(stop, begin() + count()) - std::max(start, begin());
    if (length > 0) {
      if (pieces.lengths.empty()) pieces.first_segment = static_cast<std::int64_t>(s);
      pieces.lengths.push_back(length);
    }
    start = stop;
  }
  return pieces;
}

at::Tensor sequence_attention(const at::Tensor& q_TNH, const at::Tensor& k_TNH,
                              const at::Tensor& v_TNH,
                              const std::vector<std::int64_t>& segment_lengths,
                              const SequencePlan& plan) {
  if (plan.group() == nullptr) {
    return packed_attention(q_TNH, k_TNH, v_TNH, segment_lengths, segment_lengths);
  }
  const std::int64_t width = q_TNH.size(2);
  // Queries, keys and values travel together: one message to each peer.
  const at::Tensor qkv_TnW = ToHeads::apply(at::cat({q_TNH, k_TNH, v_TNH}, 2), plan);
  const auto part = [&](std::int64_t i) { return qkv_TnW.narrow(2, i * width, width); };
  const at::Tensor out_TnH =
      qkv_TnW.size(1) == 0
          ? part(0)  // no head here: nothing to do, but the exchanges are everyone's
          : packed_attention(part(0), part(1), part(2), segment_lengths, segment_lengths);
  return ToTokens::apply(out_TnH, q_TNH.size(1), plan);
}

}  // namespace zoetrope::model
