// Same states and gradients as transformers' BertModel (tests/golden/make_text_golden.py).
#include <filesystem>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/text_encoder.h"
#include "model/weights.h"

namespace zoetrope::model {
namespace {

constexpr double kTolerance = 2e-5;  // of the largest value; fp32

double relative_error(const at::Tensor& got, const at::Tensor& wanted) {
  return ((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6)).item<double>();
}

class BertParity : public testing::Test {
 protected:
  std::filesystem::path folder_ = std::filesystem::path(ZOETROPE_TEST_FOLDER) / "golden/text/bert";
  std::map<std::string, at::Tensor> golden_ = load_tensors(folder_ / "case.safetensors");
  std::unique_ptr<TextEncoder> bert_ = load_text_encoder(folder_, at::kCPU);

  at::Tensor states() {
    return bert_->forward(golden_.at("input_ids"), golden_.at("attention_mask"));
  }
};

TEST_F(BertParity, StatesAgreeAtEveryPosition) {
  EXPECT_LT(relative_error(states(), golden_.at("last_hidden_state")), kTolerance);
}

TEST_F(BertParity, GradientsOfEveryParameterAgree) {
  bert_->set_requires_grad(true);
  (states() * golden_.at("cotangent")).sum().backward();
  for (const auto& [name, parameter] : bert_->named_parameters()) {
    const at::Tensor& wanted = golden_.at("grad." + name);
    ASSERT_TRUE(parameter.grad().defined()) << name;
    // A key bias moves all scores of a query alike: its gradient is rounding around zero.
    if (name.ends_with("key.bias")) {
      EXPECT_LT(parameter.grad().abs().max().item<double>(), 1e-4) << name;
    } else {
      EXPECT_LT(relative_error(parameter.grad(), wanted), kTolerance) << name;
    }
  }
}

TEST_F(BertParity, PaddingDoesNotReachTheTokens) {
  const at::Tensor whole = states();
  const at::Tensor alone =
      bert_->forward(golden_.at("input_ids").narrow(0, 1, 1).narrow(1, 0, 5),
                     golden_.at("attention_mask").narrow(0, 1, 1).narrow(1, 0, 5));
  EXPECT_LT(relative_error(whole[1].narrow(0, 0, 5), alone[0]), kTolerance);
}

TEST_F(BertParity, Bfloat16StaysNear) {
  bert_->to(at::kCPU, at::kBFloat16);
  const double error = relative_error(states(), golden_.at("last_hidden_state"));
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.03);
}

}  // namespace
}  // namespace zoetrope::model
