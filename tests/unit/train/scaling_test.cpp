// Fits find the exponents that synthetic runs were made with.
#include "train/scaling.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::train {
namespace {

// Loss of a model of `n` parameters after `d` samples, with the form and exponents of
// arXiv:2203.15556.
constexpr double kFloor = 0.7, kAlpha = 0.34, kBeta = 0.28;
double loss_of(double n, double d) {
  return kFloor + 406 * std::pow(n, -kAlpha) + 410 * std::pow(d, -kBeta);
}

// Runs of nine sizes with 6 n d FLOPs, validated at 60 places, each loss off by about 0.1 %.
std::vector<LossCurve> runs(double noise) {
  std::vector<LossCurve> curves;
  Random random(4, Purpose::kTest);
  for (int size = 0; size < 9; ++size) {
    LossCurve curve;
    curve.parameters = 1e6 * std::pow(4, size);
    for (int i = 0; i < 60; ++i) {
      curve.flops.push_back(1e16 * std::pow(10, 0.1 * i));
      curve.loss.push_back(loss_of(curve.parameters, curve.flops.back() / (6 * curve.parameters)) *
                           (1 + noise * random.normal()));
    }
    curves.push_back(curve);
  }
  return curves;
}

TEST(Scaling, SizeExponentIsThatOfTheRuns) {
  for (const double noise : {0.0, 0.001}) {
    const ScalingFit fit = fit_scaling(runs(noise), 12);
    EXPECT_GE(fit.minima.size(), 8u);
    EXPECT_NEAR(fit.size_exponent, kBeta / (kAlpha + kBeta), 0.02) << "noise " << noise;
  }
}

TEST(Scaling, PowerLawWithOffsetIsRecovered) {
  for (const double exponent : {0.1, 0.3, 0.5}) {
    for (const double offset : {0.0, 0.4}) {
      Random random(9, Purpose::kTest);
      std::vector<double> x, y;
      for (int i = 0; i < 40; ++i) {
        x.push_back(1e12 * std::pow(10, 0.15 * i));
        y.push_back((offset + 2 * std::pow(x.back() / 1e12, -exponent)) *
                    (1 + 0.0005 * random.normal()));
      }
      const PowerLaw law = fit_power_law(x, y);
      EXPECT_NEAR(law.exponent, exponent, 0.02) << exponent << " above " << offset;
      EXPECT_NEAR(law.offset, offset, 0.05) << exponent << " above " << offset;
      EXPECT_NEAR(law.at(x[20]) / y[20], 1, 0.005);
    }
  }
}

TEST(Scaling, CurvesAreReadBetweenTheirPointsAndNotBeyond) {
  const LossCurve curve{"run", 1, {1, 100}, {8, 2}};
  EXPECT_NEAR(loss_at(curve, 10), 4, 1e-12);
  EXPECT_EQ(loss_at(curve, 100), 2);
  EXPECT_TRUE(std::isnan(loss_at(curve, 0.5)));
  EXPECT_TRUE(std::isnan(loss_at(curve, 200)));
  EXPECT_THROW(fit_power_law({1, 2}, {2, 1}), DataError);
}

TEST(Scaling, SizesOnOneSideOfTheBestHaveNoMinimum) {
  std::vector<LossCurve> small = runs(0);
  small.resize(3);
  for (LossCurve& curve : small) {  // at the far end larger is better still
    curve.flops.erase(curve.flops.begin(), curve.flops.begin() + 50);
    curve.loss.erase(curve.loss.begin(), curve.loss.begin() + 50);
  }
  const ScalingFit fit = fit_scaling(small, 5);
  EXPECT_TRUE(fit.minima.empty());
  EXPECT_TRUE(std::isnan(fit.size_exponent));
}

}  // namespace
}  // namespace zoetrope::train
