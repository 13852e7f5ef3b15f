// The judgement of steps and the comparison of replicas.
#include "train/guard.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::train {
namespace {

constexpr double kMemory = 0.01;         // a step's share in the running mean
constexpr double kLeastDeviation = 0.1;  // of log(norm): 10 %
constexpr std::size_t kHashDigits = 32;

// Members whose text is not that of the largest group; a tie names all.
std::vector<std::size_t> odd_ones(const std::vector<std::string>& texts) {
  std::map<std::string, std::size_t> votes;
  for (const std::string& text : texts) ++votes[text];
  std::size_t most = 0;
  for (const auto& [text, count] : votes) most = std::max(most, count);
  const bool tie = 2 * most <= texts.size();
  std::vector<std::size_t> odd;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (tie || votes[texts[i]] < most) odd.push_back(i);
  }
  return odd;
}

void compare_hashes(const std::vector<Optimizer::TensorHash>& mine, launch::Communicator& replicas,
                    int world_rank, std::int64_t step) {
  if (replicas.size() == 1) return;
  std::string hashes;
  for (const Optimizer::TensorHash& tensor : mine) hashes += tensor.hash;
  const auto all = replicas.all_gather(hash_text(hashes) + std::to_string(world_rank));
  std::vector<std::string> digests, ranks;
  for (const std::string& text : all) {
    digests.push_back(text.substr(0, kHashDigits));
    ranks.push_back(text.substr(kHashDigits));
  }
  if (std::count(digests.begin(), digests.end(), digests[0]) ==
      static_cast<std::ptrdiff_t>(digests.size()))
    return;
  std::string names;
  for (const std::size_t i : odd_ones(digests)) names += (names.empty() ? "" : ", ") + ranks[i];
  const auto details = replicas.all_gather(hashes);
  std::size_t first = 0;
  const auto differs = [&](const std::string& other) {
    return other.compare(first * kHashDigits, kHashDigits, details[0], first * kHashDigits,
                         kHashDigits) != 0;
  };
  while (first + 1 < mine.size() && !std::any_of(details.begin(), details.end(), differs)) ++first;
  throw Error(concat("after step ", step, " the replicas differ: rank ", names, " in ",
                     mine[first].name,
                     "; memory or arithmetic failed there. Go on from a checkpoint, without it"));
}

}  // namespace

std::string StepGuard::judge(double loss, double grad_norm) {
  if (!std::isfinite(loss)) return concat("the loss is ", loss);
  if (!std::isfinite(grad_norm)) return "gradients are not finite";
  if (config_.spike_zscore == 0) return "";
  const double log_norm = std::log(std::max(grad_norm, 1e-30));
  const double deviation = std::max(std::sqrt(variance_), kLeastDeviation);
  const double zscore = (log_norm - mean_) / deviation;
  if (seen_ >= kLearning && zscore > config_.spike_zscore && spikes_in_a_row_ < kPatience) {
    ++spikes_in_a_row_;
    return concat("the gradient norm ", grad_norm, " is a spike, ", zscore,
                  " deviations above the mean of log(norm), which is that of a norm of ",
                  std::exp(mean_));
  }
  if (zscore <= config_.spike_zscore) spikes_in_a_row_ = 0;
  learn(log_norm);
  return "";
}

// Running mean and variance; the first steps weigh equally.
void StepGuard::learn(double log_norm) {
  const double rate = std::max(kMemory, 1.0 / static_cast<double>(++seen_));
  const double change = log_norm - mean_;
  mean_ += rate * change;
  variance_ = (1 - rate) * (variance_ + rate * change * change);
}

Json StepGuard::state() const {
  return Json{
      {"seen", seen_}, {"spikes", spikes_in_a_row_}, {"mean", mean_}, {"variance", variance_}};
}

void StepGuard::load_state(const Json& state) {
  seen_ = state.at("seen").get<std::int64_t>();
  spikes_in_a_row_ = state.at("spikes").get<std::int64_t>();
  mean_ = state.at("mean").get<double>();
  variance_ = state.at("variance").get<double>();
}

void check_replicas(const Optimizer& optimizer, launch::Mesh& mesh, std::int64_t step) {
  compare_hashes(optimizer.hashes(false), mesh.copies(), mesh.world().rank(), step);
  compare_hashes(optimizer.hashes(true), mesh.replicas(), mesh.world().rank(), step);
}

}  // namespace zoetrope::train
