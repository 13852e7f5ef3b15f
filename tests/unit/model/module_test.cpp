// Modules list, move and apply their parameters.
#include "model/module.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

class TwoLinears : public Module {
 public:
  TwoLinears() : first_(3, 2, true, at::kCPU), second_(2, 4, false, at::kCPU) {}
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override {
    first_.visit_parameters(prefix + "first.", visit);
    second_.visit_parameters(prefix + "second.", visit);
  }
  Linear first_, second_;
};

TEST(Module, NamesParametersInOrder) {
  TwoLinears module;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : module.named_parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"first.weight", "first.bias", "second.weight"}));
  EXPECT_EQ(module.num_parameters(), 3 * 2 + 2 + 2 * 4);
}

TEST(Module, HandsOutTensorsThatShareStorage) {
  TwoLinears module;
  module.named_parameters()[1].second.fill_(7);
  EXPECT_TRUE(at::equal(module.first_.bias, at::full({2}, 7.f)));
}

TEST(Module, StaysALeafWhenItsDtypeChanges) {
  TwoLinears module;
  module.set_requires_grad(true);
  module.to(at::kCPU, at::kBFloat16);
  for (const auto& [name, tensor] : module.named_parameters()) {
    EXPECT_EQ(tensor.scalar_type(), at::kBFloat16) << name;
    EXPECT_TRUE(tensor.requires_grad() && tensor.is_leaf()) << name;
  }
}

TEST(Linear, MultipliesByTheTransposedWeightAndAddsTheBias) {
  Linear linear(3, 2, true, at::kCPU);
  linear.weight.copy_(at::ones({2, 3}));
  linear.weight.select(0, 1).fill_(2);
  linear.bias.fill_(0.5);
  const at::Tensor y = linear(at::ones({5, 3}));
  EXPECT_TRUE(at::equal(y.select(1, 0), at::full({5}, 3.5f)));
  EXPECT_TRUE(at::equal(y.select(1, 1), at::full({5}, 6.5f)));
}

TEST(Linear, WorksInTheInputsDtypeAndSendsGradientsToFp32Weights) {
  Linear linear(4, 2, true, at::kCPU);
  linear.weight.fill_(1);
  linear.bias.fill_(0);
  linear.weight.set_requires_grad(true);
  const at::Tensor y = linear(at::ones({3, 4}, at::kBFloat16));
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  y.sum().backward();
  EXPECT_EQ(linear.weight.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(linear.weight.grad(), at::full({2, 4}, 3.f)));
}

TEST(Linear, RefusesAnotherWidthWithTheNumbers) {
  Linear linear(4, 2, true, at::kCPU);
  try {
    linear(at::ones({3, 5}));
    FAIL() << "accepted 5 inputs";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a linear layer of 4 inputs got 5");
  }
}

TEST(Linear, OnTheMetaDeviceHasShapesOnly) {
  Linear linear(1 << 20, 1 << 20, true, at::kMeta);
  EXPECT_EQ(linear.weight.numel(), std::int64_t{1} << 40);
}

}  // namespace
}  // namespace zoetrope::model
