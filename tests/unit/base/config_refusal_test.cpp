// Every kind of mistake in a config gets one error with its place and what would be right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "tests/unit/base/config_example.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Mistake {
  std::string text;
  std::string place;   // how the message starts
  std::string reason;  // what it contains
};

void expect_refused(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    std::string message = message_of<ConfigError>([&] { read_example(mistake.text); });
    EXPECT_THAT(message, StartsWith(mistake.place + ":")) << mistake.text;
    EXPECT_THAT(message, HasSubstr(mistake.reason)) << mistake.text;
  }
}

TEST(ConfigRefusal, UnknownAndDuplicateKeys) {
  expect_refused({
      {"name: a\nstep: 5", "run.yaml:2", "unknown key \"step\"; did you mean \"steps\"?"},
      {"optimizer:\n  lr: 1\n  knid: sgd", "run.yaml:3",
       "unknown key \"optimizer.knid\"; did you mean \"kind\"?"},
      {"zzzzzz: 1", "run.yaml:1", "known keys: name, fast, steps"},
      {"<<: {steps: 1}", "run.yaml:1", "unknown key \"<<\""},
      {"tasks:\n  - name: a\n  - nam: b", "run.yaml:3", "unknown key \"tasks[1].nam\""},
      {"steps: 1\nname: a\nsteps: 1", "run.yaml:3", "duplicate key \"steps\", first at run.yaml:1"},
      {"optimizer:\n  lr: 1\n  lr: 2", "run.yaml:3", "duplicate key \"lr\", first at run.yaml:2"},
      {"optimizer: {lr: 1, \"lr\": 2}", "run.yaml:1", "duplicate key \"lr\""},
      {"mix: {a: 1, a: 1}", "run.yaml:1", "duplicate key \"a\""},
      {"[1, 2]: 3", "run.yaml:1", "a key must be a name, not a list"},
      {"null: 3", "run.yaml:1", "a key must be a name, not nothing"},
  });
}

TEST(ConfigRefusal, IntegersAreDecimalDigits) {
  expect_refused({
      {"steps: 1e3", "run.yaml:1: steps",
       "expected an integer, found \"1e3\"; write it in digits alone"},
      {"steps: 1.0", "run.yaml:1: steps", "digits alone, without point or exponent"},
      {"steps: 0x10", "run.yaml:1: steps", "write it in decimal digits"},
      {"steps: 0o17", "run.yaml:1: steps", "write it in decimal digits"},
      {"steps: 1_000", "run.yaml:1: steps", "write it in decimal digits"},
      {"steps: 010", "run.yaml:1: steps", "a leading zero could mean octal"},
      {"steps: -010", "run.yaml:1: steps", "a leading zero could mean octal"},
      {"steps: many", "run.yaml:1: steps", "expected an integer, found \"many\""},
      {"steps: \"5\"", "run.yaml:1: steps", "expected an integer, found text \"5\""},
      {"steps: true", "run.yaml:1: steps", "expected an integer, found \"true\""},
      {"\nsteps:\n", "run.yaml:2: steps", "expected an integer, found nothing"},
      {"steps: ~", "run.yaml:1: steps", "found nothing"},
      {"steps: [1]", "run.yaml:1: steps", "expected an integer, found a list"},
      {"steps: 12:30", "run.yaml:1: steps", "found \"12:30\""},
      {"steps: 9223372036854775808", "run.yaml:1: steps", "does not fit in 64 bits"},
      {"grid: [[1], [2, 0]]", "run.yaml:1: grid[1][1]", "0 is out of range: at least 1"},
  });
}

TEST(ConfigRefusal, NumbersAreFiniteAndDecimal) {
  expect_refused({
      {"optimizer:\n  lr: .nan", "run.yaml:2: optimizer.lr",
       "expected a finite number, found \".nan\""},
      {"optimizer: {lr: nan}", "run.yaml:1: optimizer.lr", "expected a finite number"},
      {"optimizer: {lr: -.inf}", "run.yaml:1: optimizer.lr", "expected a finite number"},
      {"optimizer: {lr: Inf}", "run.yaml:1: optimizer.lr", "expected a finite number"},
      {"optimizer: {lr: 1e999}", "run.yaml:1: optimizer.lr", "does not fit in a double"},
      {"optimizer: {lr: 0x1p-3}", "run.yaml:1: optimizer.lr", "write it in decimal digits"},
      {"optimizer: {lr: 010}", "run.yaml:1: optimizer.lr", "a leading zero could mean octal"},
      {"optimizer: {lr: 1.2.3}", "run.yaml:1: optimizer.lr", "expected a number, found \"1.2.3\""},
      {"optimizer: {lr: 1e}", "run.yaml:1: optimizer.lr", "expected a number, found \"1e\""},
      {"optimizer: {lr: .}", "run.yaml:1: optimizer.lr", "expected a number"},
      {"optimizer: {lr: '1'}", "run.yaml:1: optimizer.lr", "expected a number, found text \"1\""},
      {"optimizer: {lr: null}", "run.yaml:1: optimizer.lr", "expected a number, found nothing"},
      {"optimizer: {lr: -0.5}", "run.yaml:1: optimizer.lr",
       "-0.5 is out of range: between 0 and 1000"},
      {"optimizer: {lr: 1000.1}", "run.yaml:1: optimizer.lr", "out of range: between 0 and 1000"},
      {"mean: [1,\n 2, x]", "run.yaml:2: mean[2]", "expected a number, found \"x\""},
      {"mix: {a: -1}", "run.yaml:1: mix.a", "-1 is out of range: at least 0"},
  });
}

TEST(ConfigRefusal, BooleansAreTrueAndFalse) {
  for (const char* word :
       {"yes", "no", "on", "off", "y", "n", "True", "FALSE", "1", "0", "~", "'true'"}) {
    expect_refused({{"fast: " + std::string(word), "run.yaml:1: fast", "expected true or false"}});
  }
  expect_refused({{"flags: [true, yes]", "run.yaml:1: flags[1]", "found \"yes\""}});
}

TEST(ConfigRefusal, TextThatLooksLikeAnotherTypeNeedsQuotes) {
  for (const char* word : {"12", "-1.5", "1e3", "true", "False", "0x1F", "010", ".5", ".inf"}) {
    expect_refused({{"name: " + std::string(word), "run.yaml:1: name", "put it in quotes"}});
  }
  expect_refused({
      {"name:", "run.yaml:1: name", "expected text, found nothing; write \"\" for empty text"},
      {"name: [a]", "run.yaml:1: name", "expected text, found a list"},
      {"name: {a: b}", "run.yaml:1: name", "expected text, found a mapping"},
      {"optimizer: {kind: adamm}", "run.yaml:1: optimizer.kind",
       "expected one of adamw, sgd, found \"adamm\"; did you mean \"adamw\"?"},
      {"optimizer: {kind: 5}", "run.yaml:1: optimizer.kind",
       "expected one of adamw, sgd, found \"5\""},
  });
}

TEST(ConfigRefusal, WrongShapes) {
  expect_refused({
      {"- a\n- b", "run.yaml:1", "expected a mapping of keys to values, found a list"},
      {"just text", "run.yaml:1", "expected a mapping of keys to values, found \"just text\""},
      {"optimizer:", "run.yaml:1: optimizer", "expected a mapping, found nothing"},
      {"optimizer: 5", "run.yaml:1: optimizer", "expected a mapping, found \"5\""},
      {"optimizer: []", "run.yaml:1: optimizer", "expected a mapping, found a list"},
      {"mean: 5", "run.yaml:1: mean", "expected a list, found \"5\""},
      {"mean: {a: 1}", "run.yaml:1: mean", "expected a list, found a mapping"},
      {"tasks: [5]", "run.yaml:1: tasks[0]", "expected a mapping, found \"5\""},
      {"mix: [1]", "run.yaml:1: mix", "expected a mapping, found a list"},
  });
}

TEST(ConfigRefusal, BrokenYaml) {
  expect_refused({
      {"name: a\n  steps: 5", "run.yaml:2", "not valid YAML"},
      {"name: [a", "run.yaml:1", "not valid YAML"},
      {"name: 'a", "run.yaml:1", "not valid YAML"},
      {"name: a\n\tsteps: 5", "run.yaml:2", ""},
      {"steps: -", "run.yaml:1", "not valid YAML"},
      {"name: @a", "run.yaml:1", "not valid YAML"},
      {"name: *none", "run.yaml:1", "not valid YAML"},
      {"name: a\n]", "run.yaml:2", ""},
      {"name: !!str a", "run.yaml:1", "the tag tag:yaml.org,2002:str is not supported"},
      {"name: !mine a", "run.yaml:1", "is not supported"},
      {"name: a\n---\nname: b", "run.yaml:3", "a second YAML document"},
      {"mean: &a [*a]", "run.yaml:1", ""},
      {"name: caf\xe9", "run.yaml:1", "byte 233 is not UTF-8"},
      {std::string("name: a\nsteps: 5\x04\nzzz: 1"), "run.yaml:2", "control character 4"},
      {std::string("name: a\0b", 9), "run.yaml:1", "control character 0"},
  });
}

TEST(ConfigRefusal, HostileNestingEndsInAnError) {
  std::string message =
      message_of<ConfigError>([] { read_example("name: " + std::string(100000, '[')); });
  EXPECT_THAT(message, StartsWith("run.yaml:1: not valid YAML"));
}

TEST(ConfigRefusal, OverridesAreNamedByTheirText) {
  struct Override {
    std::string set, start, reason;
  };
  for (const Override& wrong : std::vector<Override>{
           {"optimizer.lr=abc", "--set optimizer.lr=abc: ", "expected a number, found \"abc\""},
           {"optimizer.lrr=1",
            "--set optimizer.lrr=1: ", "unknown key \"optimizer.lrr\"; did you mean \"lr\"?"},
           {"optimzer.lr=1", "--set optimzer.lr=1: ", "did you mean \"optimizer\"?"},
           {"step=1", "--set step=1: ", "did you mean \"steps\"?"},
           {"mean.0=1", "--set mean.0=1: ", "mean is a list; set it whole, as in mean=[1, 2]"},
           {"steps.x=1", "--set steps.x=1: ", "steps is \"5\", not a mapping"},
           {"steps", "--set steps: ", "expected a.b=value"},
           {"=5", "--set =5: ", "expected a.b=value"},
           {"optimizer..lr=1", "--set optimizer..lr=1: ", "an empty name"},
           {".steps=1", "--set .steps=1: ", "an empty name"},
           {"steps=", "--set steps=: ", "found nothing"},
           {"mean=[1, x]", "--set mean=[1, x]: mean[1]: ", "expected a number, found \"x\""},
           {"mean=[1", "--set mean=[1: ", "not valid YAML"},
           {"optimizer={lr: 1, lr: 2}", "--set optimizer={lr: 1, lr: 2}: ", "duplicate key \"lr\""},
           {"optimizer.lr=2000", "--set optimizer.lr=2000: ", "out of range: between 0 and 1000"},
           {"optimizer=5", "--set optimizer=5: ", "expected a mapping, found \"5\""}}) {
    std::string message =
        message_of<ConfigError>([&] { read_example("steps: 5\nmean: [3]\n", {wrong.set}); });
    EXPECT_THAT(message, StartsWith(wrong.start)) << wrong.set;
    EXPECT_THAT(message, HasSubstr(wrong.reason)) << wrong.set;
  }
}

}  // namespace
}  // namespace zoetrope
