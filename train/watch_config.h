// How a run is watched: what stops it, and what it is measured by.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"

namespace zoetrope::train {

struct GuardConfig {
  double spike_zscore = 8;
  std::int64_t drift_every_steps = 100;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("spike_zscore", spike_zscore,
          "a step whose log gradient norm lies so many deviations above its mean is left out; 0 = "
          "never",
          at_least(0));
    visit("drift_every_steps", drift_every_steps,
          "ranks compare hashes of weights and moments every so many steps, and before each "
          "checkpoint; 0 = never",
          at_least(0));
  }
};

struct HardwareConfig {
  double peak_tflops = 0;
  double memory_gb = 0;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("peak_tflops", peak_tflops,
          "of one rank's device at the precision in use, for MFU; 0 = not known (H100 bf16: 989)",
          at_least(0));
    visit("memory_gb", memory_gb,
          "memory of a rank, GiB: a run that needs more is refused; 0 = its share of this machine",
          at_least(0));
  }
};

struct ProfileConfig {
  std::vector<std::int64_t> steps;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("steps", steps,
          "[first, last] step of a trace of rank 0, for Perfetto, in profile/; empty = none",
          at_least(1));
  }
};

struct ValidationConfig {
  std::int64_t every_steps = 0;
  std::int64_t samples = 16;
  std::string corpus;
  std::string weights = "ema";
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("every_steps", every_steps,
          "loss on held-out samples every so many steps and at the end; 0 = never, and nothing is "
          "held out",
          at_least(0));
    visit("samples", samples, "held-out samples, each at 8 noise levels", at_least(1));
    visit("corpus", corpus,
          "folder to take them from; empty = from the training corpus, which does without their "
          "files");
    visit("weights", weights, "which weights are judged: averaged or as they are",
          one_of({"ema", "model"}));
  }
};

}  // namespace zoetrope::train
