// The memory of weights and gradients, in buckets of neighbouring parameters, and its way over
// ranks. Each rank of a shard group owns a piece of every bucket, one N-th: there it holds sums of
// gradients and updates weights. What it keeps beside its pieces (arXiv:1910.02054, 2304.11277):
//   optimizer   all weights and gradients (ZeRO-1)
//   gradients   all weights; a bucket's gradients only until their sums have left (ZeRO-2)
//   weights     also a unit's weights only while the model runs it (ZeRO-3, FSDP)
//
// Gradients are summed while the backward pass still runs: a bucket leaves when the last gradient
// in it has come, last parameters first, in an order that is the same on every rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/mesh.h"
#include "model/module.h"
#include "model/parallel/token_plan.h"
#include "train/global_tensors.h"

namespace zoetrope::train {

enum class Sharding { kOptimizer, kGradients, kWeights };
Sharding sharding_of(const std::string& name);

class WeightBuckets : public model::WeightGate {
 public:
  // Moves the module's parameters (fp32, of one device) into buckets of about so many elements,
  // each within one unit and either of parameters that are cut over the tensor group or of others.
  // Module and mesh outlive this. Collective, as all that says so: every rank of the mesh calls it.
  WeightBuckets(model::Module& module, std::int64_t bucket_elements, Sharding sharding,
                launch::Mesh& mesh);
  ~WeightBuckets() override;
  WeightBuckets(const WeightBuckets&) = delete;
  WeightBuckets& operator=(const WeightBuckets&) = delete;

  // Part of a parameter in a piece: its elements [begin, begin + count) of the piece.
  struct Range {
    std::int64_t begin = 0, count = 0;
    bool decays = false;  // matrices and kernels; not biases, norms and modulation tables
    std::string name;     // the parameter's
  };
  // This rank's piece of a bucket.
  struct Piece {
    at::Tensor weights, gradients;  // [count]
    std::vector<Range> ranges;
    bool is_cut = false;  // over the tensor group; otherwise each of its ranks has the same piece
    std::int64_t count() const { return weights.numel(); }
  };
  const std::vector<Piece>& pieces() const { return pieces_; }
  std::int64_t num_owned() const;  // elements of all pieces
  // The most elements of weights and gradients that this rank has held at once.
  std::int64_t peak_elements() const { return peak_; }
  // By bucket.
  std::vector<at::Tensor> weights() const;
  std::vector<at::Tensor> gradients() const;

  // Before a step: gradients are zero.
  void begin();
  // Before each backward pass of it; `last`: sums over the data axis leave with this one.
  void begin_pass(bool last);
  // After the last pass: every piece's gradients are the sums over all ranks. Collective.
  void finish();
  // After pieces have been updated: weights that stay whole are brought up to date. Collective.
  void publish();

  // Global tensors from pieces (by bucket), on the ranks that own them.
  const GlobalTensors& globals() const { return *globals_; }
  // The reverse: `fill_one` writes the local tensor of each name, pieces keep their part of it.
  void fill(const model::ParameterVisitor& fill_one, const std::vector<at::Tensor>& pieces) const;
  void fill_weights(const model::ParameterVisitor& fill_one);  // collective

  void fetch(std::int64_t unit, bool backward) override;
  void release(std::int64_t unit) override;

 private:
  class Hook;
  struct Member {
    std::string name;
    at::Tensor leaf;
    model::ParameterPart part;
    std::int64_t begin = 0, count = 0;  // in the bucket
    std::vector<std::int64_t> shape;
  };
  struct Bucket {
    std::vector<Member> members;
    std::int64_t unit = -1, count = 0;
    bool is_cut = false, is_dropped_between = false;  // weights come and go
    at::Tensor weights, gradients;                    // whole; without memory while dropped
    std::vector<std::size_t> counts;                  // of each rank's piece
    std::int64_t begin = 0;                           // of this rank's
    std::size_t missing = 0;                          // gradients still to come in this pass
    bool is_whole = true;
    at::Tensor received;  // sums of this pass, when gradients are dropped
    std::unique_ptr<launch::Request> fetching, reducing;
  };
  void add_member(const std::string& name, at::Tensor& parameter, std::int64_t bucket_elements);
  void make_piece(Bucket& bucket);
  std::vector<GlobalTensors::Held> held() const;
  void take_gradient(std::size_t bucket, std::size_t member);
  void send(std::size_t bucket);
  void retire(std::size_t bucket);
  void flush();
  void start_fetch(std::int64_t unit);
  void allocate(Bucket& bucket);
  void drop(Bucket& bucket);
  at::Tensor hold(const at::Tensor& memory);  // counts it
  void ensure_gradients(Bucket& bucket);
  launch::Communicator& copies_of(const Bucket& bucket) const;

  model::Module& module_;
  Sharding sharding_;
  launch::Mesh& mesh_;
  launch::Communicator& shard_;
  std::unique_ptr<launch::Communicator> fetch_group_;  // the shard group: order of its own
  std::vector<Bucket> buckets_;
  std::vector<Piece> pieces_;
  std::unique_ptr<GlobalTensors> globals_;
  std::size_t unsent_ = 0, unretired_ = 0;  // buckets [0, n); the last go first
  bool is_last_pass_ = true;
  std::int64_t last_unit_ = -1;
  std::int64_t held_ = 0, peak_ = 0;
};

}  // namespace zoetrope::train
