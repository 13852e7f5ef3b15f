// What the optimiser is told.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"

namespace zoetrope::train {

struct OptimizerConfig {
  double lr = 1e-4;
  std::string schedule = "constant";
  std::int64_t warmup_steps = 100;
  double final_lr_share = 0;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1;
  double ema_decay = 0.999;
  double bucket_mb = 25;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("lr", lr, "peak learning rate of AdamW", at_least(0));
    visit("schedule", schedule, "after the warm-up", one_of({"constant", "cosine"}));
    visit("warmup_steps", warmup_steps, "steps of linear warm-up from 0", at_least(0));
    visit("final_lr_share", final_lr_share, "cosine ends at this share of lr", between(0, 1));
    visit("beta1", beta1, "decay of the first moment", between(0, 0.9999999));
    visit("beta2", beta2, "decay of the second moment", between(0, 0.9999999));
    visit("eps", eps, "added to the root of the second moment", at_least(1e-30));
    visit("weight_decay", weight_decay, "decoupled decay of matrices and kernels", at_least(0));
    visit("max_grad_norm", max_grad_norm, "global gradient norm is clipped to this; 0 = not",
          at_least(0));
    visit("ema_decay", ema_decay, "of the averaged weights; 0 = the weights themselves",
          between(0, 0.9999999));
    visit("bucket_mb", bucket_mb,
          "gradients are summed over ranks in pieces of about so many MiB, while backward runs",
          at_least(0));
  }
};

}  // namespace zoetrope::train
