// The discriminator's sizes, independence of clips, loss and weight.
#include "model/patch_gan.h"

#include <gtest/gtest.h>

#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include "base/error.h"
#include "base/random.h"

namespace zoetrope::model {
namespace {

at::Tensor random_pixels(const std::vector<std::int64_t>& shape, std::uint64_t step = 0) {
  at::Tensor pixels = at::empty(shape);
  Random random(9, Purpose::kTest, step);
  random.fill_normal({pixels.mutable_data_ptr<float>(), static_cast<std::size_t>(pixels.numel())});
  return pixels;
}

PatchGan small_gan(std::int64_t layers = 2) {
  PatchGan gan({.width = 8, .layers = layers});
  gan.init_weights(1);
  return gan;
}

std::vector<std::int64_t> logits_shape(const PatchGan& gan, const at::Tensor& pixels) {
  return gan.forward(pixels, at::kFloat).sizes().vec();
}

TEST(PatchGan, JudgesPatchesOfClipsAndImages) {
  const at::NoGradGuard no_grad;
  const PatchGan gan = small_gan();
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(logits_shape(gan, random_pixels({2, 3, 9, 32, 48})), (Shape{2, 3, 4, 6}));
  EXPECT_EQ(logits_shape(gan, random_pixels({1, 3, 1, 32, 32})), (Shape{1, 1, 4, 4}));
  EXPECT_EQ(logits_shape(small_gan(3), random_pixels({1, 3, 5, 32, 32})), (Shape{1, 2, 2, 2}));
  EXPECT_THROW(gan.forward(random_pixels({1, 4, 1, 32, 32}), at::kFloat), Error);
  EXPECT_THROW(PatchGan({.width = 6}), ConfigError);
}

TEST(PatchGan, HasTheChannelsOfItsConfig) {
  PatchGan gan({.width = 64, .layers = 4});
  const auto parameters = gan.named_parameters();
  std::vector<std::int64_t> outputs;
  for (const auto& [name, tensor] : parameters) {
    if (name.ends_with("conv.weight")) outputs.push_back(tensor.size(0));
  }
  EXPECT_EQ(outputs, (std::vector<std::int64_t>{64, 128, 256, 512, 512, 1}));
}

TEST(PatchGan, ClipsOfABatchDoNotSeeEachOther) {
  const at::NoGradGuard no_grad;
  const PatchGan gan = small_gan();
  const at::Tensor a = random_pixels({1, 3, 5, 32, 32}), b = random_pixels({1, 3, 5, 32, 32}, 1);
  const at::Tensor both = gan.forward(at::cat({a, b}), at::kFloat);
  const at::Tensor alone = gan.forward(b, at::kFloat);
  EXPECT_LT((both.narrow(0, 1, 1) - alone).abs().max().item<double>(), 1e-5);
  const at::Tensor coarse = gan.forward(b, at::kBFloat16);
  EXPECT_EQ(coarse.scalar_type(), at::kFloat);
  EXPECT_LT(((coarse - alone).norm() / alone.norm()).item<double>(), 0.1);
}

TEST(PatchGan, LearnsToTellNoiseFromFlatPictures) {
  PatchGan gan = small_gan();
  gan.set_requires_grad(true);
  const at::Tensor real = random_pixels({2, 3, 5, 32, 32});
  const at::Tensor fake = real.mean({3, 4}, true).expand_as(real);
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const at::Tensor loss =
        discriminator_loss(gan.forward(real, at::kFloat), gan.forward(fake, at::kFloat));
    loss.backward();
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : gan.named_parameters()) {
      at::Tensor weights = parameter;
      weights.sub_(parameter.grad().sign() * 0.002);
      weights.mutable_grad().reset();
    }
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_NEAR(first, 2, 0.3);  // an undecided one
  EXPECT_LT(last, 1);
}

TEST(PatchGan, LossIsTheHinge) {
  const at::Tensor real = at::tensor({2.0f, 0.5f}), fake = at::tensor({-3.0f, 1.0f});
  EXPECT_NEAR(discriminator_loss(real, fake).item<double>(), 0.25 + 1.0, 1e-6);
}

TEST(PatchGan, AdaptiveWeightBalancesGradients) {
  EXPECT_NEAR(adaptive_weight(3, 1.5), 2, 1e-3);
  EXPECT_EQ(adaptive_weight(3, 0), 1e4);  // 3 / 1e-4, clamped
  EXPECT_EQ(adaptive_weight(0, 1), 0);
}

}  // namespace
}  // namespace zoetrope::model
