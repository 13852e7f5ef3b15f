// A config with a field of every kind, for the tests of the reader.
#pragma once

#include <string>
#include <vector>

#include "base/config.h"

namespace zoetrope {

struct ExampleOptimizer {
  double lr = 1e-3;
  std::string kind = "adamw";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("lr", lr, "peak learning rate", between(0, 1000));
    visit("kind", kind, "which one", one_of({"adamw", "sgd"}));
  }
};

struct ExampleTask {
  std::string name;
  double weight = 1;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("name", name, "what it is called");
    visit("weight", weight, "share of the samples", at_least(0));
  }
};

struct ExampleConfig {
  std::string name = "run";
  bool fast = true;
  std::int64_t steps = 10;
  ExampleOptimizer optimizer;
  std::vector<double> mean;
  std::vector<bool> flags;
  std::vector<ExampleTask> tasks;
  std::map<std::string, double> mix;
  std::vector<std::vector<std::int64_t>> grid;
  std::vector<std::string> words;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("name", name, "name of the run");
    visit("fast", fast, "skip the slow part");
    visit("steps", steps, "steps");
    visit("optimizer", optimizer, "the optimiser");
    visit("mean", mean, "means");
    visit("flags", flags, "flags");
    visit("tasks", tasks, "tasks");
    visit("mix", mix, "shares", at_least(0));
    visit("grid", grid, "grid", at_least(1));
    visit("words", words, "words");
  }
};

struct PairConfig {
  ExampleOptimizer first, second;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("first", first, "");
    visit("second", second, "");
  }
};

inline ExampleConfig read_example(const std::string& text,
                                  const std::vector<std::string>& sets = {}) {
  return read_config<ExampleConfig>(ConfigNode::from_text(text, "run.yaml", sets));
}

}  // namespace zoetrope
