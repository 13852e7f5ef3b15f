// Command lines: what is taken, what is refused, and the hints.
#include "base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

namespace po = boost::program_options;
using testing::ElementsAre;
using testing::HasSubstr;

struct Parsed {
  bool go_on = false;
  CommonOptions common;
  po::variables_map values;
};

Parsed parse(std::vector<std::string> arguments, const std::string& positional = "") {
  arguments.insert(arguments.begin(), "program");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  po::options_description own("Flags");
  own.add_options()("frames", po::value<int>(), "frames")(
      "input", po::value<std::vector<std::string>>(), "input");
  Parsed parsed;
  parsed.go_on =
      parse_options(static_cast<int>(argv.size()), argv.data(), "Usage: program FLAGS",
                    "  program --frames 3", own, positional, parsed.common, parsed.values);
  return parsed;
}

std::string refusal(const std::vector<std::string>& arguments) {
  return message_of<ConfigError>([&] { parse(arguments); });
}

TEST(Options, TakesCommonAndOwnFlags) {
  Parsed parsed = parse({"--config", "a.yaml", "--set", "a.b=1", "--set", "c=[1, 2]", "--dry-run",
                         "--device=cpu", "--seed", "5", "--frames", "17"});
  EXPECT_TRUE(parsed.go_on);
  EXPECT_EQ(parsed.common.config, "a.yaml");
  EXPECT_THAT(parsed.common.sets, ElementsAre("a.b=1", "c=[1, 2]"));
  EXPECT_TRUE(parsed.common.dry_run);
  EXPECT_FALSE(parsed.common.print_config);
  EXPECT_EQ(parsed.common.device, "cpu");
  EXPECT_EQ(parsed.common.seed, 5);
  EXPECT_TRUE(parsed.common.seed_given);
  EXPECT_EQ(parsed.values["frames"].as<int>(), 17);
}

TEST(Options, DefaultsAreThoseOfTheHeader) {
  Parsed parsed = parse({});
  EXPECT_EQ(parsed.common.device, "auto");
  EXPECT_FALSE(parsed.common.seed_given);
  EXPECT_TRUE(parsed.common.config.empty());
}

TEST(Options, NegativeNumbersAreValues) {
  EXPECT_EQ(parse({"--frames", "-3"}).values["frames"].as<int>(), -3);
  EXPECT_THAT(parse({"--set", "lr=-1"}).common.sets, ElementsAre("lr=-1"));
}

TEST(Options, BareArgumentsNeedAPositionalFlag) {
  EXPECT_THAT(refusal({"stray"}), HasSubstr("unexpected argument \"stray\""));
  EXPECT_THAT(parse({"a", "b"}, "input").values["input"].as<std::vector<std::string>>(),
              ElementsAre("a", "b"));
}

TEST(Options, AnUnknownFlagNamesTheNearest) {
  EXPECT_THAT(refusal({"--frmes", "3"}), HasSubstr("unknown flag --frmes; did you mean --frames?"));
  EXPECT_THAT(refusal({"--print_config"}), HasSubstr("did you mean --print-config?"));
  EXPECT_THAT(refusal({"-frames", "3"}), HasSubstr("unknown flag -frames; did you mean --frames?"));
  EXPECT_THAT(refusal({"--zzzzzz"}), HasSubstr("unknown flag --zzzzzz; see --help"));
}

TEST(Options, AbbreviationsAreUnknown) {
  EXPECT_THAT(refusal({"--fram", "3"}), HasSubstr("--frames?"));
}

TEST(Options, MalformedValuesAreRefused) {
  EXPECT_THAT(refusal({"--frames", "many"}), HasSubstr("many"));
  EXPECT_THAT(refusal({"--frames"}), HasSubstr("--frames"));
  EXPECT_THAT(refusal({"--frames", "1", "--frames", "2"}), HasSubstr("more than once"));
  EXPECT_THAT(refusal({"--device", "tpu"}), HasSubstr("expected auto, cpu or cuda"));
  EXPECT_THAT(refusal({"--seed", "-1"}), HasSubstr("--seed -1"));
  EXPECT_THAT(refusal({"--dry-run=yes"}), HasSubstr("--dry-run"));
}

TEST(Options, HelpAndVersionEndTheProgram) {
  testing::internal::CaptureStdout();
  EXPECT_FALSE(parse({"--help"}).go_on);
  std::string help = testing::internal::GetCapturedStdout();
  for (const char* part : {"Usage: program", "--frames", "--print-config", "program --frames 3"}) {
    EXPECT_THAT(help, HasSubstr(part));
  }
  testing::internal::CaptureStdout();
  EXPECT_FALSE(parse({"--version"}).go_on);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), std::string("zoetrope ") + version() + "\n");
}

TEST(NearestName, FindsSlipsAndStaysSilentOtherwise) {
  std::vector<std::string> names = {"lr", "warmup_steps", "weight_decay", "frames"};
  EXPECT_EQ(nearest_name("lrr", names), "lr");
  EXPECT_EQ(nearest_name("warmupsteps", names), "warmup_steps");
  EXPECT_EQ(nearest_name("Weight-Decay", names), "weight_decay");
  EXPECT_EQ(nearest_name("farmes", names), "frames");
  EXPECT_EQ(nearest_name("weight", names), "weight_decay");
  EXPECT_EQ(nearest_name("xy", names), "");
  EXPECT_EQ(nearest_name("batch_size", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name("lr", {}), "");
}

}  // namespace
}  // namespace zoetrope
