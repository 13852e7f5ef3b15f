// forward and inspect as a user runs them: results, exit codes, and the one line that names what is
// wrong.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/weights.h"
#include "tests/integration/program.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

class Forward : public testing::Test {
 protected:
  Forward() {
    std::string name = (fs::temp_directory_path() / "zoetrope_forward_XXXXXX").string();
    ZOETROPE_CHECK(mkdtemp(name.data()) != nullptr, "cannot make ", name);
    folder_ = name;
    for (const char* input : {"input_ids", "attention_mask", "cotangent"}) {
      inputs_[input] = golden_.at(input);
    }
  }
  ~Forward() override { fs::remove_all(folder_); }

  ProgramResult forward(const std::map<std::string, at::Tensor>& inputs,
                        const std::string& flags = "") {
    model::save_tensors(folder_ / "in.safetensors", inputs);
    return run_program(concat("forward --model ", (text_ / "bert").string(), " --inputs ",
                              (folder_ / "in.safetensors").string(), " --output ",
                              (folder_ / "out.safetensors").string(), " ", flags));
  }

  fs::path text_ = fs::path(ZOETROPE_TEST_FOLDER) / "golden/text";
  fs::path folder_;
  std::map<std::string, at::Tensor> golden_ = model::load_tensors(text_ / "bert/case.safetensors");
  std::map<std::string, at::Tensor> inputs_;
};

TEST_F(Forward, WritesOutputsAndAllGradients) {
  const ProgramResult result = forward(inputs_, "--gradients");
  ASSERT_EQ(result.exit_code, kExitOk) << result.err;
  const Json counts = parse_json(result.out, "stdout");
  EXPECT_EQ(counts["component"], "BertModel");
  const auto out = model::load_tensors(folder_ / "out.safetensors");
  for (const auto& [name, wanted] : golden_) {
    if (inputs_.contains(name)) continue;
    ASSERT_TRUE(out.contains(name)) << name;
    EXPECT_LT((out.at(name) - wanted).abs().max().item<double>(), 1e-3) << name;
  }
  EXPECT_EQ(out.size(), golden_.size() - inputs_.size());
}

TEST_F(Forward, EndsWithTwoAndNamesTheTensor) {
  const auto expect_named = [](const ProgramResult& result, const std::string& tensor) {
    EXPECT_EQ(result.exit_code, kExitUserMistake);
    EXPECT_NE(result.err.find(tensor), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  };
  auto inputs = inputs_;
  inputs.erase("attention_mask");
  expect_named(forward(inputs), "attention_mask");
  inputs = inputs_;
  inputs["token_types"] = at::zeros({3, 9});
  expect_named(forward(inputs), "token_types");
  inputs = inputs_;
  inputs["cotangent"] = at::zeros({3, 9});
  expect_named(forward(inputs, "--gradients"), "cotangent");
  expect_named(forward(inputs_, "--dtype fp8"), "fp8");
  EXPECT_FALSE(fs::exists(folder_ / "out.safetensors"));
}

TEST_F(Forward, NamesParametersThatFileAndConfigDisagreeOn) {
  const fs::path broken = folder_ / "broken";
  fs::copy(text_ / "bert", broken);
  fs::permissions(broken, fs::perms::owner_all);
  fs::remove(broken / "case.safetensors");
  auto weights = model::load_tensors(broken / "model.safetensors");
  weights["encoder.layer.2.output.dense.bias"] = at::zeros({24});
  fs::remove(broken / "model.safetensors");
  model::save_tensors(broken / "model.safetensors", weights);
  model::save_tensors(folder_ / "in.safetensors", inputs_);
  const ProgramResult result = run_program(concat(
      "forward --model ", broken.string(), " --inputs ", (folder_ / "in.safetensors").string(),
      " --output ", (folder_ / "out.safetensors").string()));
  EXPECT_EQ(result.exit_code, kExitUserMistake);
  EXPECT_NE(result.err.find("encoder.layer.2.output.dense.bias"), std::string::npos) << result.err;
}

TEST_F(Forward, TokenizesLineByLine) {
  const fs::path tokenizer = text_ / "tokenizer_uncased";
  const fs::path output = folder_ / "ids.jsonl";
  const ProgramResult result =
      run_program(concat("forward --tokenizer ", tokenizer.string(), " --text ",
                         (tokenizer / "lines.txt").string(), " --output ", output.string()));
  ASSERT_EQ(result.exit_code, kExitOk) << result.err;
  std::vector<Json> wanted, got;
  const auto read = [](const fs::path& path, std::vector<Json>& lines) {
    for_each_json_line(path, [&](const Json& line, int) { lines.push_back(line); });
  };
  read(tokenizer / "ids.jsonl", wanted);
  read(output, got);
  EXPECT_GT(got.size(), 300u);
  EXPECT_EQ(got, wanted);
}

TEST_F(Forward, InspectCountsWhatForwardLoads) {
  const ProgramResult result =
      run_program(concat("inspect ", (text_ / "bert/model.safetensors").string(), " --json"));
  ASSERT_EQ(result.exit_code, kExitOk) << result.err;
  const Json json = parse_json(result.out, "stdout");
  EXPECT_EQ(json["kind"], "safetensors");
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : model::load_tensors(text_ / "bert/model.safetensors")) {
    parameters += tensor.numel();
  }
  EXPECT_EQ(json["parameters"], parameters);
  EXPECT_EQ(run_program("inspect nothing_of_this_name").exit_code, kExitUserMistake);
}

}  // namespace
}  // namespace zoetrope
