// Euler, and UniPC of order 2 in its closed form for flow models: bh2, x0 prediction, lower order
// at the end, the corrector on every step but the first (arXiv:2302.04867). Equal to diffusers'
// UniPCMultistepScheduler with flow sigmas. Coefficients in fp64.
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>

#include "base/error.h"
#include "model/sampler.h"

namespace zoetrope::model {
namespace {

class Euler : public Solver {
 public:
  explicit Euler(std::vector<double> sigmas) : sigmas_(std::move(sigmas)) {}
  at::Tensor step(int i, const at::Tensor& x, const at::Tensor& v) override {
    return x + v * (sigmas_.at(i + 1) - sigmas_.at(i));
  }

 private:
  std::vector<double> sigmas_;
};

class UniPc : public Solver {
 public:
  explicit UniPc(std::vector<double> sigmas) : sigmas_(std::move(sigmas)) {}

  at::Tensor step(int i, const at::Tensor& predicted, const at::Tensor& v) override {
    ZOETROPE_CHECK(i == next_, "UniPC step ", i, " out of order, step ", next_, " is due");
    // The model saw the predicted x, so its estimate of x0 is of that one.
    const at::Tensor x0 = predicted - v * sigma(i);
    const at::Tensor x = i > 0 ? correct(i, x0) : predicted;
    const at::Tensor next = predict(i, x, x0);
    x0_before_ = x0_last_;
    x0_last_ = x0;
    x_last_ = x;
    order_last_ = order(i);
    ++next_;
    return next;
  }

 private:
  double sigma(int i) const { return sigmas_.at(i); }
  double lambda(int i) const { return std::log((1 - sigma(i)) / sigma(i)); }
  // Order 1 while there is no history, and on the last step.
  int order(int i) const { return i == 0 || i + 2 == static_cast<int>(sigmas_.size()) ? 1 : 2; }

  // x at sigmas[i] once more from sigmas[i - 1], now that x0's estimate at sigmas[i] is known.
  at::Tensor correct(int i, const at::Tensor& x0) const {
    const double h = lambda(i) - lambda(i - 1), phi = std::expm1(-h),
                 alpha_phi = (1 - sigma(i)) * phi;
    const at::Tensor base = x_last_ * (sigma(i) / sigma(i - 1)) - x0_last_ * alpha_phi;
    const at::Tensor change = x0 - x0_last_;
    if (order_last_ == 1) return base - change * (0.5 * alpha_phi);
    const double r = (lambda(i - 2) - lambda(i - 1)) / h;
    const double k = phi / -h - 1;
    const double b1 = k / phi, b2 = 2 * (k / -h - 0.5) / phi;
    const double rho_before = (b1 - b2) / (1 - r), rho_now = b1 - rho_before;
    return base - ((x0_before_ - x0_last_) * (rho_before / r) + change * rho_now) * alpha_phi;
  }

  at::Tensor predict(int i, const at::Tensor& x, const at::Tensor& x0) const {
    if (sigma(i + 1) == 0) return x0;
    const double h = lambda(i + 1) - lambda(i), alpha_phi = (1 - sigma(i + 1)) * std::expm1(-h);
    const at::Tensor next = x * (sigma(i + 1) / sigma(i)) - x0 * alpha_phi;
    if (order(i) == 1) return next;
    const double r = (lambda(i - 1) - lambda(i)) / h;
    return next - (x0_last_ - x0) * (0.5 * alpha_phi / r);
  }

  std::vector<double> sigmas_;
  int next_ = 0;
  int order_last_ = 1;
  at::Tensor x_last_;               // corrected x at the previous level
  at::Tensor x0_last_, x0_before_;  // estimates of x0 at the previous two levels
};

}  // namespace

std::unique_ptr<Solver> make_solver(const std::string& name, std::vector<double> sigmas) {
  ZOETROPE_CHECK_CONFIG(name == "euler" || name == "unipc",
                        "the solver is \"euler\" or \"unipc\", not \"", name, "\"");
  if (name == "euler") return std::make_unique<Euler>(std::move(sigmas));
  return std::make_unique<UniPc>(std::move(sigmas));
}

}  // namespace zoetrope::model
