// Tensors are known by their storage, so that a view of one that can be made again can be, too. The
// scope holds weak references: a storage's address is not given to another while it lives.
#include "model/selective.h"

#include <optional>
#include <unordered_map>
#include <utility>

#include <ATen/core/grad_mode.h>

#include "base/error.h"

namespace zoetrope::model {

void Remade::end_use() {
  if (--uses_ > 0) return;
  make_ = nullptr;
  made_.reset();
}

at::Tensor Remade::take() {
  ZOETROPE_CHECK(uses_ > 0, "selective checkpointing: a second backward pass of one graph");
  if (!made_.defined()) {
    const at::NoGradGuard no_grad;
    made_ = make_();
  }
  const at::Tensor made = made_;
  end_use();
  return made;
}

namespace {

struct Known {
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  c10::intrusive_ptr<Remade> remade;
};
thread_local std::optional<std::unordered_map<const c10::StorageImpl*, Known>> known_in_scope;

}  // namespace

SelectiveScope::SelectiveScope(bool active) {
  ZOETROPE_CHECK(!is_active(), "a SelectiveScope inside another");
  if (active) known_in_scope.emplace();
}

SelectiveScope::~SelectiveScope() {
  known_in_scope.reset();
}

bool SelectiveScope::is_active() {
  return known_in_scope.has_value();
}

Kept::Kept(const at::Tensor& x) {
  if (SelectiveScope::is_active()) {
    const auto found = known_in_scope->find(x.storage().unsafeGetStorageImpl());
    if (found != known_in_scope->end()) {
      remade_ = found->second.remade;
      remade_->add_use();
      sizes_ = x.sizes().vec();
      strides_ = x.strides().vec();
      offset_ = x.storage_offset();
      return;
    }
  }
  tensor_ = x.detach();
}

Kept::~Kept() {
  if (is_remade()) remade_->end_use();
}

at::Tensor Kept::get() {
  if (!is_remade()) return tensor_;
  const auto remade = std::move(remade_);
  return remade->take().as_strided(sizes_, strides_, offset_);
}

KeptPtr keep(const at::Tensor& x) {
  return c10::make_intrusive<Kept>(x);
}

void can_remake(const at::Tensor& x, std::function<at::Tensor()> make) {
  if (!SelectiveScope::is_active()) return;
  const c10::Storage& storage = x.storage();
  known_in_scope->insert_or_assign(
      storage.unsafeGetStorageImpl(),
      Known{storage.getWeakStorageImpl(), c10::make_intrusive<Remade>(std::move(make))});
}

at::Tensor keep_in(torch::autograd::AutogradContext* context, const char* name,
                   const at::Tensor& x) {
  if (!SelectiveScope::is_active()) return x;
  const KeptPtr kept = keep(x);
  if (!kept->is_remade()) return x;
  context->saved_data[name] = c10::IValue::make_capsule(kept);
  return {};
}

at::Tensor kept_in(torch::autograd::AutogradContext* context, const char* name,
                   const at::Tensor& saved) {
  const auto found = context->saved_data.find(name);
  if (saved.defined() || found == context->saved_data.end()) return saved;
  const auto kept = found->second.toCapsule();
  return static_cast<Kept&>(*kept).get();
}

}  // namespace zoetrope::model
