// The strict config reader: good values, overrides, exact printing.
#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "tests/unit/base/config_example.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Config, AnEmptyFileGivesTheDefaults) {
  for (const char* text : {"", "# a comment\n", "---\n", "{}\n", "null\n"}) {
    ExampleConfig config = read_example(text);
    EXPECT_EQ(print_config(config), print_config(ExampleConfig{})) << text;
  }
}

TEST(Config, ReadsEveryKindOfField) {
  ExampleConfig config = read_example(
      "name: dit_xl\nfast: false\nsteps: -12\noptimizer:\n  lr: 3e-4\n  kind: sgd\n"
      "mean: [1, -2.5, .5]\nflags: [true, false]\ntasks:\n  - name: a\n  - {name: b, weight: 2}\n"
      "mix: {dense: 0.75, short: 1}\ngrid: [[1, 2], []]\nwords: [a, \"5\"]\n");
  EXPECT_EQ(config.name, "dit_xl");
  EXPECT_FALSE(config.fast);
  EXPECT_EQ(config.steps, -12);
  EXPECT_EQ(config.optimizer.lr, 3e-4);
  EXPECT_EQ(config.optimizer.kind, "sgd");
  EXPECT_THAT(config.mean, ElementsAre(1.0, -2.5, 0.5));
  EXPECT_THAT(config.flags, ElementsAre(true, false));
  ASSERT_EQ(config.tasks.size(), 2u);
  EXPECT_EQ(config.tasks[1].name, "b");
  EXPECT_EQ(config.tasks[1].weight, 2.0);
  EXPECT_EQ(config.tasks[0].weight, 1.0);
  EXPECT_EQ(config.mix, (std::map<std::string, double>{{"dense", 0.75}, {"short", 1.0}}));
  EXPECT_EQ(config.grid, (std::vector<std::vector<std::int64_t>>{{1, 2}, {}}));
  EXPECT_THAT(config.words, ElementsAre("a", "5"));
}

TEST(Config, ReadsEdgesOfNumbers) {
  EXPECT_EQ(read_example("steps: 9223372036854775807").steps,
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(read_example("steps: -9223372036854775808").steps,
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(read_example("optimizer: {lr: +1.5E+0}").optimizer.lr, 1.5);
  EXPECT_EQ(read_example("optimizer: {lr: 5.}").optimizer.lr, 5.0);
  EXPECT_EQ(read_example("optimizer: {lr: 0}").optimizer.lr, 0.0);
}

TEST(Config, TakesBlocksQuotesAnchorsAndWindowsLines) {
  EXPECT_EQ(read_example("name: |\n  two\n  lines\n").name, "two\nlines\n");
  EXPECT_EQ(read_example("name: '12'\r\nsteps: 3\r\n").name, "12");
  EXPECT_EQ(read_example("name: \"\"").name, "");
  EXPECT_EQ(read_example("name: yes").name, "yes");
  ExampleConfig config = read_example("tasks: [&a {name: x, weight: 3}, *a]");
  EXPECT_EQ(config.tasks[1].weight, 3.0);
}

TEST(Config, OverridesReplaceMakeAndWin) {
  ExampleConfig config = read_example(
      "optimizer: {lr: 1}\n", {"optimizer.lr=2", "optimizer.kind=sgd", "optimizer.lr=3",
                               "mean=[1,2]", "tasks=[{name: z}]", "mix.dense=0.5", "name=a b"});
  EXPECT_EQ(config.optimizer.lr, 3.0);
  EXPECT_EQ(config.optimizer.kind, "sgd");
  EXPECT_THAT(config.mean, ElementsAre(1.0, 2.0));
  EXPECT_EQ(config.tasks[0].name, "z");
  EXPECT_EQ(config.mix.at("dense"), 0.5);
  EXPECT_EQ(config.name, "a b");
}

TEST(Config, AnOverrideLeavesWhatAnAliasShares) {
  auto config = read_config<PairConfig>(
      ConfigNode::from_text("first: &a {lr: 1}\nsecond: *a\n", "x.yaml", {"second.lr=2"}));
  EXPECT_EQ(config.first.lr, 1.0);
  EXPECT_EQ(config.second.lr, 2.0);
}

TEST(Config, LoadsAFile) {
  TempFolder folder;
  write_file_atomically(folder / "a.yaml", "steps: 7\nnmae: x\n");
  std::string message =
      message_of<ConfigError>([&] { load_config<ExampleConfig>(folder / "a.yaml"); });
  EXPECT_THAT(message, HasSubstr((folder / "a.yaml").string() + ":2: unknown key \"nmae\""));
  EXPECT_THROW(load_config<ExampleConfig>(folder / "none.yaml"), ConfigError);
  EXPECT_THROW(load_config<ExampleConfig>(folder.path()), ConfigError);
}

ExampleConfig printed_and_read(const ExampleConfig& config, bool with_help) {
  return read_example(print_config(config, with_help));
}

TEST(ConfigPrint, DoublesComeBackBitForBit) {
  for (double value :
       {0.1, 1.0 / 3, 1e-5, 1e22, 123456789012345678.0, 1e300, 2.5e-300, 1e15, 999999.0,
        std::numeric_limits<double>::min(), 0.0, std::nextafter(1.0, 2.0)}) {
    ExampleConfig config;
    config.mean = {value, -value};
    EXPECT_EQ(printed_and_read(config, false).mean, config.mean) << value;
  }
}

TEST(ConfigPrint, AnyTextComesBack) {
  for (const char* text : {"",
                           " ",
                           "plain",
                           "true",
                           "Null",
                           "~",
                           "yes",
                           "no",
                           "on",
                           "y",
                           "12",
                           "1e3",
                           "0x10",
                           "007",
                           ".5",
                           "-",
                           "- a",
                           "a: b",
                           "a #b",
                           "#a",
                           "*a",
                           "&a",
                           "!t",
                           "[a",
                           "{a",
                           "a,b",
                           "%a",
                           "@a",
                           "`a",
                           "'",
                           "\"",
                           "\\",
                           "\\n",
                           "line\nline\n",
                           "\ttab",
                           "\r\n",
                           "\x01\x04\x1b\x7f",
                           "caf\xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x98\x80",
                           "\xc2\x85",
                           "\xef\xbb\xbf"
                           "bom",
                           "trailing ",
                           "nan",
                           "inf",
                           "-.inf",
                           "a\\\"b",
                           "C:\\dir",
                           "<<",
                           "="}) {
    ExampleConfig config;
    config.name = text;
    config.words = {text, text};
    config.mix = {{text, 1.5}};
    config.tasks = {{text, 1}};
    ExampleConfig back = printed_and_read(config, true);
    EXPECT_EQ(back.name, text);
    EXPECT_EQ(back.words, config.words);
    EXPECT_EQ(back.mix, config.mix);
    EXPECT_EQ(back.tasks[0].name, text);
  }
}

TEST(ConfigPrint, IsReadableYaml) {
  ExampleConfig config;
  config.tasks = {{"a", 1}, {"b", 0.5}};
  config.mix = {{"dense", 0.9}};
  config.mean = {1, 2.5};
  EXPECT_EQ(print_config(config),
            "name: run\nfast: true\nsteps: 10\noptimizer:\n  lr: 0.001\n  kind: adamw\n"
            "mean: [1.0, 2.5]\nflags: []\ntasks:\n  - name: a\n    weight: 1.0\n"
            "  - name: b\n    weight: 0.5\nmix: {dense: 0.9}\ngrid: []\nwords: []\n");
}

TEST(ConfigPrint, HelpExplainsEachKeyAndItsLimits) {
  std::string text = print_config(ExampleConfig{}, true);
  EXPECT_THAT(text, HasSubstr("  # peak learning rate (between 0 and 1000)\n  lr: 0.001\n"));
  EXPECT_THAT(text, HasSubstr("  # which one (adamw | sgd)\n  kind: adamw\n"));
  EXPECT_EQ(print_config(read_example(text)), print_config(ExampleConfig{}));
}

TEST(ConfigPrint, RefusesNumbersThatNoConfigCanHold) {
  ExampleConfig config;
  config.optimizer.lr = std::numeric_limits<double>::infinity();
  EXPECT_THROW(print_config(config), Error);
}

TEST(ConfigHash, FollowsTheValuesAlone) {
  std::string hash = hash_config(ExampleConfig{});
  EXPECT_EQ(hash, hash_config(read_example("# as by default\nsteps: 10\n", {"optimizer.lr=1e-3"})));
  EXPECT_NE(hash, hash_config(read_example("steps: 11")));
  EXPECT_EQ(hash.size(), 32u);
}

}  // namespace
}  // namespace zoetrope
