// What recomputation keeps, how often it runs, and where gradients arrive.
#include "model/recompute.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

TEST(Recompute, RunsWithoutAGraphThenOnceWithOneAndCallsTheParametersHookOnce) {
  at::Tensor weight = at::randn({4}).set_requires_grad(true);
  const at::Tensor x = at::randn({4}).set_requires_grad(true);
  std::vector<bool> with_graph;
  int hook_calls = 0;
  weight.register_hook([&](const at::Tensor&) { ++hook_calls; });
  const Segment segment = [&](const std::vector<at::Tensor>& in) {
    with_graph.push_back(c10::GradMode::is_enabled());
    return in[0] * weight + weight.sin();
  };
  recompute(segment, {x}).sum().backward();
  EXPECT_THAT(with_graph, testing::ElementsAre(false, true));
  EXPECT_EQ(hook_calls, 1);
  EXPECT_TRUE(x.grad().equal(weight.detach()));
  EXPECT_TRUE(weight.grad().allclose(x.detach() + weight.detach().cos()));
}

TEST(Recompute, RefusesInputsThatBackwardDoesNotReach) {
  const at::Tensor weight = at::randn({4}).set_requires_grad(true);
  const Segment segment = [&](const std::vector<at::Tensor>& in) { return in[0] * weight; };
  EXPECT_THROW(recompute(segment, {at::randn({4})}), Error);
}

}  // namespace
}  // namespace zoetrope::model
