// Reads this rank's samples of each step ahead of time, in its own threads.
// What a step holds is a function of (corpus, config, step, rank, number of ranks, calibration):
// the same for any number of threads, and for a run that resumes at it. Caption draws are keyed by
// (seed, step, global index), so they do not depend on the ranks either.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/corpus_mix.h"
#include "data/planner.h"

namespace zoetrope::data {

struct LoadedSample {
  PlannedSample plan;
  LatentRecord latent;
  TextRecord text;  // of the caption drawn for this sample; the null text when dropped
  std::string clip_id;
};

struct LoadedStep {
  StepPlan plan;                      // of all ranks
  std::vector<LoadedSample> samples;  // of this rank, as they run
};

struct LoaderConfig {
  PlannerConfig planner;
  DrawConfig draw;               // of captions
  double caption_dropout = 0.1;  // share of samples trained with the null text
  int prefetch_steps = 2;
  int num_threads = 1;
  std::int64_t ram_cache_bytes = std::int64_t{1} << 30;  // decoded records kept between epochs
  bool replace_bad_records = false;  // train on another clip instead, with a warning
};

// Steps come in order from first_step on; `pool` draws from the clips of the corpora. One thread
// calls next(). What a reading thread throws (DataError for a bad record) comes out of next(), then
// and ever after. With `replace_bad_records` a sample whose clip cannot be read is another one, no
// longer if possible, drawn by (seed, global index): the same on every rank and after a restart. A
// clip without captions trains with the null text. The corpora outlive the loader; DataError at
// once when one has no null text. `calibrations`: the records in force from first_step on, by
// from_step; empty: the config's costs.
class Loader {
 public:
  Loader(const CorpusMix& corpora, LoaderConfig config, ClipPool pool, int rank, int num_ranks,
         std::int64_t first_step, std::vector<Calibration> calibrations = {});
  ~Loader();  // waits for the records that are being read, not for the steps ahead
  LoadedStep next();
  // This rank's part of the heaviest step that the corpus can give.
  LoadedStep load_heaviest();
  // After next() gave step s, the first step that is surely not placed yet is s + lead_steps().
  std::int64_t lead_steps() const;
  // Places the steps from record.from_step on by `record`. Error when one of them is placed
  // already.
  void calibrate(const Calibration& record);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope::data
