// Selective activation checkpointing: what is cheap to compute is not kept for the backward pass
// but made again there, at its first use, from what is kept. Linear layers and attention never run
// twice; norms, modulation, residual sums, rotation and GELU do.
//
// An operation that can make its output again says so (can_remake); an autograd node that wants a
// tensor in its backward asks for it with keep_in. Both act only inside a SelectiveScope.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/custom_function.h>

namespace zoetrope::model {

// What is made again. Counts its uses in forward; with the last one in backward all goes that
// making it needed.
class Remade : public torch::CustomClassHolder {
 public:
  explicit Remade(std::function<at::Tensor()> make) : make_(std::move(make)) {}
  void add_use() { ++uses_; }
  void end_use();
  at::Tensor take();  // ends one use

 private:
  std::function<at::Tensor()> make_;
  at::Tensor made_;
  int uses_ = 0;
};

// While it lives and is active, operations of this thread keep less for backward. Scopes do not
// nest; what one has seen, the next does not know: there it is kept.
class SelectiveScope {
 public:
  explicit SelectiveScope(bool active);
  ~SelectiveScope();
  SelectiveScope(const SelectiveScope&) = delete;
  SelectiveScope& operator=(const SelectiveScope&) = delete;
  static bool is_active();
};

// A tensor for backward: itself, detached, or how it is made again. get() it once.
class Kept : public torch::CustomClassHolder {
 public:
  explicit Kept(const at::Tensor& x);
  ~Kept() override;
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  bool is_remade() const { return remade_.defined(); }
  at::Tensor get();

 private:
  at::Tensor tensor_;
  c10::intrusive_ptr<Remade> remade_;
  std::vector<std::int64_t> sizes_, strides_;  // of the view that was asked for
  std::int64_t offset_ = 0;
};
using KeptPtr = c10::intrusive_ptr<Kept>;
KeptPtr keep(const at::Tensor& x);

// `make` gives the numbers of `x` again, whole and contiguous. It runs in backward without a graph,
// at most once, and is destroyed after the last use; tensors that it captures are detached or Kept.
void can_remake(const at::Tensor& x, std::function<at::Tensor()> make);

// For autograd nodes. In forward: what to save for x, undefined when it will be made again; in
// backward: x, from what was saved. `name` is the node's own.
at::Tensor keep_in(torch::autograd::AutogradContext* context, const char* name,
                   const at::Tensor& x);
at::Tensor kept_in(torch::autograd::AutogradContext* context, const char* name,
                   const at::Tensor& saved);

}  // namespace zoetrope::model
