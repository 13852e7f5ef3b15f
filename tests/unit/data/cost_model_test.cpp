// Costs: non-negative least squares as scipy solves it, and the fit to measured packs.
#include "data/cost_model.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"

namespace zoetrope::data {
namespace {

TEST(CostModel, NonNegativeLeastSquaresEqualsScipy) {
  const std::string path = std::string(ZOETROPE_TEST_FOLDER) + "/golden/nnls.json";
  int num_cases = 0;
  for (const Json& item : read_json(path)) {
    const auto matrix = item.at("matrix").get<std::vector<std::array<double, 3>>>();
    const auto right = item.at("right").get<std::vector<double>>();
    const auto expected = item.at("solution").get<std::array<double, 3>>();
    std::array<double, 6> gram{};
    std::array<double, 3> product{};
    for (std::size_t row = 0; row < matrix.size(); ++row) {
      std::size_t next = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        product[i] += matrix[row][i] * right[row];
        for (std::size_t j = i; j < 3; ++j) gram[next++] += matrix[row][i] * matrix[row][j];
      }
    }
    const auto solution = solve_nnls(gram, product);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(solution[i], expected[i], 1e-8 * std::abs(expected[i])) << num_cases;
    }
    ++num_cases;
  }
  EXPECT_EQ(num_cases, 60);
}

TEST(CostModel, FitFindsTheCostsThatMadeTheTimes) {
  const CostModel truth{2e-3, 1.1e-6, 8.6e-11};
  MeasuredPacks packs;
  Random random(1, Purpose::kTest);
  for (int k = 0; k < 50; ++k) {
    PackContents contents;
    double seconds = 0;
    for (int i = 0; i < 6; ++i) {
      const std::int64_t tokens = random.integer(64, 60000);
      contents.add(tokens, 1);
      seconds += truth(tokens);
    }
    packs.add(contents, seconds);
  }
  const CostModel fit = fit_cost_model(packs);
  EXPECT_NEAR(fit.per_sample / truth.per_sample, 1, 1e-5);
  EXPECT_NEAR(fit.per_token / truth.per_token, 1, 1e-5);
  EXPECT_NEAR(fit.per_token_squared / truth.per_token_squared, 1, 1e-5);
  EXPECT_NEAR(packs.speed(truth), 1, 1e-12);
  const auto numbers = packs.numbers();
  EXPECT_EQ(fit_cost_model(MeasuredPacks::from_numbers(numbers)), fit);
}

TEST(CostModel, NothingMeasuredFitsNothing) {
  EXPECT_EQ(fit_cost_model({}), (CostModel{0, 0, 0}));
}

TEST(CostModel, RefusesWhatIsNoCost) {
  EXPECT_NO_THROW(check_cost_model({0, 0, 1}, "x"));
  for (const CostModel& bad :
       {CostModel{0, 0, 0}, CostModel{-1, 1, 1}, CostModel{0, 1, NAN}, CostModel{INFINITY, 1, 1}}) {
    EXPECT_THROW(check_cost_model(bad, "x"), ConfigError);
  }
}

}  // namespace
}  // namespace zoetrope::data
