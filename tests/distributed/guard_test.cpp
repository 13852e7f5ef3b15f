// Bad steps and bad memory do not get through, and held-out losses do not depend on the ranks.
#include "train/guard.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include "tests/distributed/small_runs.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::train {
namespace {

class Guards : public DataParallel {
 protected:
  TrainConfig config(const std::string& run) const {
    TrainConfig config = tiny_config(folder_, run);
    config.steps = 1000000;
    config.checkpoint.every_steps = 1000000;
    return config;
  }
  static std::string hash_of(const Trainer& trainer) {
    std::string all;
    for (const auto& tensor : trainer.optimizer().hashes(false)) all += tensor.hash;
    return all;
  }
};

// Gradients of one parameter of one rank, poisoned on their way out of the backward pass.
struct Poison {
  std::size_t parameter = 0;
  float value = 0;
  bool armed = false;

  void attach(model::Module& module, std::vector<std::string>& names) {
    module.visit_parameters("", [&](const std::string& name, at::Tensor& tensor) {
      const std::size_t index = names.size();
      names.push_back(name);
      tensor.register_hook([this, index](const at::Tensor& gradient) {
        if (!armed || index != parameter) return gradient;
        at::Tensor bad = gradient.clone();
        bad.view({-1})[bad.numel() / 2] = value;
        return bad;
      });
    });
  }
};

// ZOETROPE_INJECTIONS=1000 for a long run.
TEST_F(Guards, InjectedNumbersThatAreNotFiniteNeverReachAWeight) {
  const char* asked = std::getenv("ZOETROPE_INJECTIONS");
  const int injections = asked == nullptr ? 12 : std::atoi(asked);
  Trainer trainer(config("poisoned"), world());
  trainer.start("none");
  Poison poison;
  std::vector<std::string> names, expected;
  poison.attach(trainer.task().module(), names);
  const float values[] = {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()};
  for (int i = 0; i < injections; ++i) {
    Random random(5, Purpose::kTest, static_cast<std::uint64_t>(i));
    poison.parameter =
        static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(names.size()) - 1));
    poison.value = values[random.integer(0, 2)];
    poison.armed = random.integer(0, world().size() - 1) == world().rank();
    expected.push_back(names[poison.parameter]);
    const std::string before = hash_of(trainer);
    EXPECT_EQ(trainer.step(2 * i + 1).skipped, i + 1);
    EXPECT_EQ(hash_of(trainer), before) << "after injection " << i;
    poison.armed = false;
    EXPECT_TRUE(std::isfinite(trainer.step(2 * i + 2).loss));
    EXPECT_NE(hash_of(trainer), before) << "after the step that follows injection " << i;
  }
  if (world().rank() > 0) return;
  std::size_t line = 0;
  for_each_json_line(folder_ / "poisoned/skipped.jsonl", [&](const Json& left_out, int) {
    EXPECT_EQ(left_out["step"], 2 * line + 1);
    EXPECT_EQ(left_out["ranks"].size(), static_cast<std::size_t>(world().size()));
    std::size_t samples = 0;
    for (const Json& rank : left_out["ranks"]) {
      samples += rank["samples"].size();
      EXPECT_EQ(rank["parameters"], Json::array({expected.at(line)}));
    }
    EXPECT_EQ(samples, 8u);
    ++line;
  });
  EXPECT_EQ(line, static_cast<std::size_t>(injections));
}

TEST_F(Guards, FlippedBitIsFoundWithRankAndTensor) {
  TrainConfig drifting = config("drifting");
  drifting.steps = 4;
  drifting.guards.drift_every_steps = 1;
  Trainer trainer(drifting, world());
  trainer.start("none");
  trainer.step(1);
  EXPECT_NO_THROW(check_replicas(trainer.optimizer(), trainer.mesh(), 1));
  const int bad = world().size() - 1;
  trainer.task().module().visit_parameters("", [&](const std::string& name, at::Tensor& tensor) {
    if (name != "blocks.1.attn1.to_q.weight" || world().rank() != bad) return;
    auto* bits = reinterpret_cast<std::uint32_t*>(tensor.data_ptr<float>());
    bits[7] ^= 1u << 3;
  });
  if (world().size() == 1) return;
  // Of two ranks neither is the majority: both are named.
  const std::string ranks = world().size() == 2 ? "rank 0, 1 " : concat("rank ", bad, " ");
  const auto message = data::testing::message_of<Error>(
      [&] { check_replicas(trainer.optimizer(), trainer.mesh(), 1); });
  EXPECT_NE(message.find(ranks + "in blocks.1.attn1.to_q.weight"), std::string::npos) << message;
}

TEST_F(Guards, SpikeIsLeftOutOnAllRanks) {
  TrainConfig spiking = config("spiking");
  spiking.guards.spike_zscore = 8;
  Trainer trainer(spiking, world());
  trainer.start("none");
  Poison poison{.parameter = 3, .value = 1e6f};
  std::vector<std::string> names;
  poison.attach(trainer.task().module(), names);
  for (int step = 1; step <= 60; ++step) EXPECT_EQ(trainer.step(step).skipped, 0) << step;
  poison.armed = world().rank() == 0;
  const std::string before = hash_of(trainer);
  EXPECT_EQ(trainer.step(61).skipped, 1);
  EXPECT_EQ(hash_of(trainer), before);
  poison.armed = false;
  EXPECT_EQ(trainer.step(62).skipped, 1);
}

class HeldOutLoss : public Guards {
 protected:
  TrainConfig validating(const std::string& run) const {
    TrainConfig c = config(run);
    c.validation.every_steps = 2;
    c.validation.samples = 5;
    return c;
  }
};

TEST_F(HeldOutLoss, IsTheSameForAnyNumberOfRanks) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const std::string name = concat("alone", world().rank());
  std::vector<double> alone;
  {
    Trainer trainer(validating(name), *alone_ranks);
    trainer.start("none");
    for (int step = 1; step <= 5; ++step) trainer.step(step);
    trainer.save(5);
    trainer.finish_saving();
    alone = trainer.validate();
  }
  EXPECT_EQ(alone.size(), 8u);
  EXPECT_NE(alone[0], alone[7]);
  world().barrier();
  for (const std::int64_t sequence : {1, world().size()}) {
    TrainConfig together = validating(concat("together", sequence));
    together.mesh.sequence = sequence;
    Trainer trainer(together, world());
    trainer.start((folder_ / "alone0/checkpoints/step_00000005").string());
    const std::vector<double> loss = trainer.validate();
    for (std::size_t t = 0; t < alone.size(); ++t) {
      EXPECT_NEAR(loss[t] / alone[t], 1, 1e-6) << "level " << t << ", sequence " << sequence;
    }
  }
}

TEST_F(HeldOutLoss, ValidatingChangesNoBitOfTraining) {
  std::string with, without;
  for (std::string* hash : {&with, &without}) {
    Trainer trainer(validating(hash == &with ? "with" : "without"), world());
    trainer.start("none");
    for (int step = 1; step <= 4; ++step) {
      trainer.step(step);
      if (hash == &with) trainer.validate();
    }
    *hash = hash_of(trainer);
  }
  EXPECT_EQ(with, without);
}

TEST_F(HeldOutLoss, FallsAndIsInTheMetricsWithLossesByNoiseLevel) {
  TrainConfig falling = validating("falling");
  falling.steps = 60;
  falling.validation.every_steps = 20;
  Trainer trainer(falling, world());
  trainer.start("none");
  trainer.run();
  if (world().rank() > 0) return;
  std::vector<double> losses;
  std::size_t binned = 0;
  for_each_json_line(folder_ / "falling/metrics.jsonl", [&](const Json& line, int) {
    for (int bin = 0; bin < 8; ++bin) binned += line.contains(concat("loss_t", bin));
    if (!line.contains("val_loss")) return;
    EXPECT_EQ(line["step"], 20 * (losses.size() + 1));
    double sum = 0;
    for (const Json& loss : line["val_loss_by_t"]) sum += loss.get<double>();
    EXPECT_EQ(line["val_loss_by_t"].size(), 8u);
    losses.push_back(line["val_loss"].get<double>());
    EXPECT_NEAR(losses.back(), sum / 8, 1e-12);
  });
  EXPECT_EQ(losses.size(), 3u);
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_GT(binned, 120u);  // 8 samples a step fall into more than two of 8 bins
}

TEST_F(HeldOutLoss, SamplesOfAnotherCorpusAreUsedAsTheyAre) {
  TrainConfig other = validating("other");
  other.validation.corpus = other.dit.corpus;
  other.validation.samples = 100;
  Trainer trainer(other, world());
  trainer.start("none");
  EXPECT_EQ(trainer.validate().size(), 8u);
}

TEST_F(Guards, ConditionMasksTrainAlikeOnEveryMesh) {
  const auto alone_ranks = launch::make_single_rank_communicator();
  const auto masked = [&](const std::string& run) {
    TrainConfig c = config(run);
    c.dit.conditions = {.first = 0.3, .ends = 0.3, .frames = 0.2, .region = 0.2};
    return c;
  };
  Trainer alone(masked(concat("alone", world().rank())), *alone_ranks);
  alone.start("none");
  std::vector<double> losses;
  for (int step = 1; step <= 4; ++step) losses.push_back(alone.step(step).loss);
  for (const std::int64_t sequence : {1, world().size()}) {
    TrainConfig c = masked(concat("together", sequence));
    c.mesh.sequence = sequence;
    Trainer trainer(c, world());
    trainer.start("none");
    for (int step = 1; step <= 4; ++step) {
      EXPECT_NEAR(trainer.step(step).loss / losses[static_cast<std::size_t>(step) - 1], 1, 1e-5);
    }
  }
}

TEST_F(Guards, CheckpointOfAnotherTargetIsRefused) {
  TrainConfig c = config("target");
  {
    Trainer trainer(c, world());
    trainer.start("none");
    trainer.step(1);
    trainer.save(1);
    trainer.finish_saving();
  }
  c.dit.flow.target = "x0";
  Trainer trainer(c, world());
  const auto message = data::testing::message_of<ConfigError>([&] { trainer.start("auto"); });
  EXPECT_NE(message.find("gives v, dit.flow.target is x0"), std::string::npos) << message;
}

}  // namespace
}  // namespace zoetrope::train
