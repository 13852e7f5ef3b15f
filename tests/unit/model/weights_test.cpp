// Weights survive the disk, and a file that does not fit is refused by the tensor's name.
#include "model/weights.h"

#include <filesystem>
#include <random>

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

using ::testing::HasSubstr;

class OneLinear : public Module {
 public:
  OneLinear(std::int64_t in, std::int64_t out) : linear_(in, out, true, at::kCPU) {
    visit_parameters("", [](const std::string&, at::Tensor& tensor) {
      tensor.copy_(at::randn(tensor.sizes()));
    });
  }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override {
    linear_.visit_parameters(prefix + "linear.", visit);
  }
  Linear linear_;
};

class Weights : public ::testing::Test {
 protected:
  Weights()
      : folder_(std::filesystem::temp_directory_path() /
                ("zoetrope_weights_" + std::to_string(std::random_device{}()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Weights() override { std::filesystem::remove_all(folder_); }

  std::string refusal(Module& module, const std::set<std::string>& ignored = {}) {
    try {
      load_weights(module, folder_, ignored);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  std::filesystem::path file() const { return folder_ / "diffusion_pytorch_model.safetensors"; }

  std::filesystem::path folder_;
};

TEST_F(Weights, ComeBackBitForBit) {
  OneLinear written(5, 3), read(5, 3);
  save_weights(written, folder_, at::kFloat);
  load_weights(read, folder_);
  EXPECT_TRUE(at::equal(written.linear_.weight, read.linear_.weight));
  EXPECT_TRUE(at::equal(written.linear_.bias, read.linear_.bias));
  EXPECT_EQ(SafetensorsFile(file()).metadata().at("format"), "pt");
}

TEST_F(Weights, AreCastToTheParametersDtype) {
  OneLinear written(5, 3), read(5, 3);
  save_weights(written, folder_, at::kBFloat16);
  load_weights(read, folder_);
  EXPECT_EQ(read.linear_.weight.scalar_type(), at::kFloat);
  EXPECT_TRUE(
      at::equal(read.linear_.weight, written.linear_.weight.to(at::kBFloat16).to(at::kFloat)));
}

TEST_F(Weights, NameTheTensorThatIsMissing) {
  save_tensors(file(), {{"linear.weight", at::zeros({3, 5})}});
  OneLinear module(5, 3);
  EXPECT_THAT(refusal(module), HasSubstr("tensor linear.bias is missing"));
}

TEST_F(Weights, NameTheTensorThatIsUnknownUnlessIgnored) {
  save_tensors(file(), {{"linear.weight", at::zeros({3, 5})},
                        {"linear.bias", at::zeros({3})},
                        {"position_ids", at::zeros({1, 7})}});
  OneLinear module(5, 3);
  EXPECT_THAT(refusal(module),
              HasSubstr("tensor position_ids of shape [1, 7] is not part of the model"));
  EXPECT_EQ(refusal(module, {"position_ids"}), "");
}

TEST_F(Weights, NameBothShapesOfATensorThatDoesNotFit) {
  save_tensors(file(), {{"linear.weight", at::zeros({5, 3})}, {"linear.bias", at::zeros({3})}});
  OneLinear module(5, 3);
  EXPECT_THAT(refusal(module),
              HasSubstr("linear.weight has shape [5, 3], the config needs [3, 5]"));
}

TEST_F(Weights, TensorsOfEveryDtypeComeBack) {
  std::map<std::string, at::Tensor> tensors;
  for (auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt,
                    at::kShort, at::kChar, at::kByte, at::kBool}) {
    EXPECT_EQ(to_scalar_type(to_dtype(type)), type);
    tensors[c10::toString(type)] = at::randn({3, 2}).mul(4).to(type).t();  // not contiguous
  }
  save_tensors(file(), tensors);
  const auto read = load_tensors(file());
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(read.at(name), tensor)) << name;
}

TEST(TensorView, RefusesStridedMemory) {
  EXPECT_THROW(to_view(at::zeros({3, 2}).t()), Error);
}

}  // namespace
}  // namespace zoetrope::model
