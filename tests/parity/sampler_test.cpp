// Schedules and solvers equal diffusers 0.36.0 on a fixed velocity field.
// Golden files: tests/golden/make_dit_golden.py.
#include "model/sampler.h"

#include <filesystem>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "model/weights.h"

namespace zoetrope::model {
namespace {

struct Case {
  int steps;
  double shift;
  const char* name;
};

class SolverParity : public ::testing::TestWithParam<Case> {
 protected:
  std::map<std::string, at::Tensor> golden_ = load_tensors(
      std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden" / "sampler" / "solvers.safetensors");
};

at::Tensor velocity(const at::Tensor& x, double sigma) {
  return (x * 1.7).sin() * (0.3 + sigma) + x * (0.5 * sigma) - 0.2;
}

TEST_P(SolverParity, SchedulesEqualDiffusers) {
  const auto sigmas = sigma_schedule(GetParam().steps, GetParam().shift);
  const at::Tensor wanted = golden_.at(std::string("sigmas.") + GetParam().name);
  ASSERT_EQ(static_cast<std::int64_t>(sigmas.size()), wanted.numel());
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    EXPECT_NEAR(sigmas[i], wanted[static_cast<std::int64_t>(i)].item<double>(), 1e-7) << i;
  }
}

TEST_P(SolverParity, LatentsEqualDiffusers) {
  for (const std::string solver_name : {"euler", "unipc"}) {
    const auto sigmas = sigma_schedule(GetParam().steps, GetParam().shift);
    const auto solver = make_solver(solver_name, sigmas);
    at::Tensor x = golden_.at("start");
    for (int i = 0; i < GetParam().steps; ++i) x = solver->step(i, x, velocity(x, sigmas[i]));
    const at::Tensor wanted = golden_.at(solver_name + "." + GetParam().name);
    EXPECT_LT((x - wanted).abs().max().item<double>(), 1e-5) << solver_name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, SolverParity,
                         ::testing::Values(Case{1, 3, "1_3"}, Case{2, 3, "2_3"}, Case{3, 1, "3_1"},
                                           Case{10, 5, "10_5"}, Case{30, 3, "30_3"}),
                         [](const auto& param_info) {
                           return std::string("Steps") + param_info.param.name;
                         });

}  // namespace
}  // namespace zoetrope::model
