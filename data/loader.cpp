// Thread t of T loads the steps first + t, first + t + T, ... into its own bounded queue, and
// next() takes from the queues in turn: order without any reordering, whatever the threads' speed.
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/random.h"
#include "data/lru_cache.h"

namespace zoetrope::data {
namespace {

using StepOrError = std::variant<LoadedStep, std::exception_ptr>;

// How many clips are tried in the place of one that cannot be read.
constexpr int kReplacements = 64;

void check(const CorpusMix& corpora, const LoaderConfig& config, const ClipPool& pool, int rank,
           int num_ranks, std::int64_t first_step) {
  ZOETROPE_CHECK(pool.size() == corpora.num_clips(), "a pool of ", pool.size(), " clips for ",
                 corpora.num_clips());
  ZOETROPE_CHECK(rank >= 0 && rank < num_ranks, "rank ", rank, " of ", num_ranks);
  ZOETROPE_CHECK(first_step >= 0, "first step is ", first_step);
  ZOETROPE_CHECK_CONFIG(config.caption_dropout >= 0 && config.caption_dropout <= 1,
                        "caption_dropout is ", config.caption_dropout, ", expected 0 to 1");
  ZOETROPE_CHECK_CONFIG(config.num_threads >= 1, "num_threads is ", config.num_threads,
                        ", expected at least 1");
  ZOETROPE_CHECK_CONFIG(config.prefetch_steps >= 1, "prefetch_steps is ", config.prefetch_steps,
                        ", expected at least 1");
  ZOETROPE_CHECK_CONFIG(config.ram_cache_bytes >= 0, "ram_cache_bytes is ", config.ram_cache_bytes,
                        ", expected at least 0");
}

}  // namespace

struct Loader::Impl {
  const CorpusMix& corpora;
  const LoaderConfig config;
  const ClipPool pool;
  const int rank, num_ranks;
  const std::int64_t first_step;

  std::mutex calibration_mutex;
  std::vector<Calibration> calibrations;  // by from_step
  std::int64_t last_planned = -1;         // the furthest step that has been placed

  std::mutex cache_mutex;
  LruCache<LatentRecord> cache;
  std::unordered_set<std::int64_t> bad_clips;  // warned of; under cache_mutex
  std::atomic<bool> stop = false;
  std::int64_t num_taken = 0;
  std::exception_ptr failure;
  std::vector<std::unique_ptr<BoundedQueue<StepOrError>>> queues;  // one a thread
  std::vector<std::thread> threads;

  Impl(const CorpusMix& from, LoaderConfig with, ClipPool clips, int my_rank, int ranks,
       std::int64_t first, std::vector<Calibration> records)
      : corpora(from),
        config(with),
        pool(std::move(clips)),
        rank(my_rank),
        num_ranks(ranks),
        first_step(first),
        calibrations(std::move(records)),
        cache(with.ram_cache_bytes) {
    check(corpora, config, pool, rank, num_ranks, first_step);
    make_plan(first_step);  // the user's mistakes show here
    for (std::int64_t i = 0; i < corpora.num_parts(); ++i) corpora.part(i).text("");
    for (int i = 0; i < config.num_threads; ++i) {
      queues.push_back(std::make_unique<BoundedQueue<StepOrError>>(steps_in_a_queue()));
    }
    try {
      for (int i = 0; i < config.num_threads; ++i) {
        threads.emplace_back([this, i] { work(i); });
      }
    } catch (...) {
      end_threads();
      throw;
    }
  }

  ~Impl() { end_threads(); }

  void end_threads() {
    stop = true;
    for (auto& queue : queues) queue->close();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  void work(int index) {
    BoundedQueue<StepOrError>& queue = *queues[static_cast<std::size_t>(index)];
    try {
      std::int64_t step = first_step + index;
      while (!stop && queue.push(load(make_plan(step)))) step += config.num_threads;
    } catch (...) {
      queue.push(std::current_exception());
    }
  }

  std::size_t steps_in_a_queue() const {
    return static_cast<std::size_t>((config.prefetch_steps + config.num_threads - 1) /
                                    config.num_threads);
  }

  // Each thread has a full queue and a step in its hands.
  std::int64_t lead_steps() const {
    return config.num_threads * (static_cast<std::int64_t>(steps_in_a_queue()) + 1) + 1;
  }

  Calibration calibration_of(std::int64_t step) {
    const std::scoped_lock lock(calibration_mutex);
    last_planned = std::max(last_planned, step);
    return calibration_at(calibrations, step);
  }

  void calibrate(const Calibration& record) {
    check_calibration(record, num_ranks);
    const std::scoped_lock lock(calibration_mutex);
    ZOETROPE_CHECK(
        record.from_step > last_planned && record.from_step > calibrations.back().from_step,
        "calibration from step ", record.from_step, " comes too late: step ", last_planned,
        " is placed, the last record is from step ", calibrations.back().from_step);
    calibrations.push_back(record);
  }

  StepPlan make_plan(std::int64_t step) {
    return plan_step(config.planner, step, pool, num_ranks, calibration_of(step));
  }

  // Cut short when the loader ends; nobody sees that step.
  LoadedStep load(StepPlan plan) {
    LoadedStep loaded;
    loaded.plan = std::move(plan);
    for (const PlannedSample& planned : loaded.plan.samples) {
      if (stop) break;
      if (planned.seat.holds(rank)) {
        loaded.samples.push_back(load_sample(loaded.plan.step, planned));
      }
    }
    return loaded;
  }

  LoadedSample load_sample(std::int64_t step, const PlannedSample& planned) {
    try {
      return read_sample(step, planned);
    } catch (const DataError& error) {
      if (!config.replace_bad_records) throw;
      warn_once(planned.clip, error);
    }
    PlannedSample other = planned;
    for (const std::int64_t clip : replacements(planned)) {
      try {
        other.clip = clip;
        return read_sample(step, other);
      } catch (const DataError& error) {
        warn_once(clip, error);
      }
    }
    throw DataError(concat("clip ", planned.clip, " cannot be read, nor can ", kReplacements,
                           " others in its place"));
  }

  LoadedSample read_sample(std::int64_t step, const PlannedSample& planned) {
    const ClipRecord clip = corpora.clip(planned.clip);
    return {planned, latent(planned.clip, clip),
            corpora.text(planned.clip, draw_text(clip, step, planned.global_index)), clip.id};
  }

  // Drawn at random: first those that are not longer, as drawn, then the others, shortest first.
  std::vector<std::int64_t> replacements(const PlannedSample& planned) const {
    const std::int64_t limit = pool.tokens(planned.clip);
    Random random(config.planner.seed, Purpose::kReplacement, 0,
                  static_cast<std::uint64_t>(planned.global_index));
    std::vector<std::int64_t> clips;
    for (int i = 0; i < kReplacements; ++i) clips.push_back(random.integer(0, pool.size() - 1));
    std::stable_sort(clips.begin(), clips.end(), [&](std::int64_t a, std::int64_t b) {
      return std::max(pool.tokens(a), limit) < std::max(pool.tokens(b), limit);
    });
    return clips;
  }

  void warn_once(std::int64_t clip, const DataError& error) {
    const std::scoped_lock lock(cache_mutex);
    if (bad_clips.insert(clip).second) log_warn("another clip is trained on: ", error.what());
  }

  std::string draw_text(const ClipRecord& clip, std::int64_t step,
                        std::int64_t global_index) const {
    const auto key = [&](Purpose purpose) {
      return Random(config.planner.seed, purpose, static_cast<std::uint64_t>(step),
                    static_cast<std::uint64_t>(global_index));
    };
    if (clip.text_ids.empty()) return "";
    if (key(Purpose::kCaptionDropout).uniform() < config.caption_dropout) return "";
    return draw_text_id(config.draw, clip, key(Purpose::kCaptionChoice));
  }

  LatentRecord latent(std::int64_t index, const ClipRecord& clip) {
    {
      const std::scoped_lock lock(cache_mutex);
      if (const LatentRecord* kept = cache.find(clip.id)) return *kept;
    }
    LatentRecord record = corpora.latent(index, clip);
    const auto bytes = static_cast<std::int64_t>(record.values.size() * sizeof(float));
    const std::scoped_lock lock(cache_mutex);
    cache.insert(clip.id, record, bytes);
    return record;
  }

  LoadedStep next() {
    if (failure) std::rethrow_exception(failure);
    const auto turn = static_cast<std::size_t>(num_taken % config.num_threads);
    std::optional<StepOrError> item = queues[turn]->pop();
    ZOETROPE_CHECK(item.has_value(), "loader has ended");
    if (auto* error = std::get_if<std::exception_ptr>(&*item)) {
      failure = *error;
      std::rethrow_exception(failure);
    }
    ++num_taken;
    return std::get<LoadedStep>(std::move(*item));
  }
};

Loader::Loader(const CorpusMix& corpora, LoaderConfig config, ClipPool pool, int rank,
               int num_ranks, std::int64_t first_step, std::vector<Calibration> calibrations)
    : impl_(std::make_unique<Impl>(corpora, config, std::move(pool), rank, num_ranks, first_step,
                                   calibrations.empty()
                                       ? std::vector{starting_calibration(config.planner)}
                                       : std::move(calibrations))) {}
Loader::~Loader() = default;
LoadedStep Loader::next() {
  return impl_->next();
}
LoadedStep Loader::load_heaviest() {
  const Calibration calibration = impl_->calibration_of(impl_->first_step);
  return impl_->load(
      heaviest_step(impl_->config.planner, impl_->pool, impl_->num_ranks, calibration));
}
std::int64_t Loader::lead_steps() const {
  return impl_->lead_steps();
}
void Loader::calibrate(const Calibration& record) {
  impl_->calibrate(record);
}

}  // namespace zoetrope::data
