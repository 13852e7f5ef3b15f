// The ring of records, and the communicator that fills it.
#include "launch/flight_recorder.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace zoetrope::launch {
namespace {

class RecordedRequest : public Request {
 public:
  RecordedRequest(std::unique_ptr<Request> request, std::int64_t number)
      : request_(std::move(request)), number_(number) {}
  void wait() override {
    request_->wait();
    FlightRecorder::instance().end(number_);
  }

 private:
  std::unique_ptr<Request> request_;
  std::int64_t number_;
};

std::int64_t bytes_of(const Buffer& buffer) {
  return static_cast<std::int64_t>(buffer.count * element_bytes(buffer.type));
}

class RecordedCommunicator : public Communicator {
 public:
  RecordedCommunicator(std::unique_ptr<Communicator> communicator, std::string name)
      : inner_(std::move(communicator)), name_(std::move(name)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void barrier() override {
    recorded("barrier", 0, [&] { inner_->barrier(); });
  }
  std::unique_ptr<Communicator> split(int color) override {
    std::unique_ptr<Communicator> part;
    recorded("split", 0, [&] { part = inner_->split(color); });
    return std::make_unique<RecordedCommunicator>(std::move(part),
                                                  concat(name_, "/", splits_++, ":", color));
  }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    std::vector<std::string> all;
    recorded("all_gather", static_cast<std::int64_t>(bytes.size()),
             [&] { all = inner_->all_gather(bytes); });
    return all;
  }
  std::unique_ptr<Request> start_all_reduce(Buffer values, Reduction how) override {
    return started("all_reduce", values, [&] { return inner_->start_all_reduce(values, how); });
  }
  std::unique_ptr<Request> start_reduce_scatter(Buffer all, Buffer mine, Counts counts) override {
    return started("reduce_scatter", all,
                   [&] { return inner_->start_reduce_scatter(all, mine, counts); });
  }
  std::unique_ptr<Request> start_all_gather(Buffer mine, Buffer all, Counts counts) override {
    return started("all_gather", all, [&] { return inner_->start_all_gather(mine, all, counts); });
  }
  std::unique_ptr<Request> start_all_to_all(Buffer send, Counts send_counts, Buffer receive,
                                            Counts receive_counts) override {
    return started("all_to_all", send, [&] {
      return inner_->start_all_to_all(send, send_counts, receive, receive_counts);
    });
  }
  std::unique_ptr<Request> start_broadcast(Buffer values, int root) override {
    return started("broadcast", values, [&] { return inner_->start_broadcast(values, root); });
  }
  std::unique_ptr<Request> start_exchange(Buffer send, int to, Buffer receive, int from) override {
    return started("exchange", send,
                   [&] { return inner_->start_exchange(send, to, receive, from); });
  }

 private:
  template <class Call>
  void recorded(const char* operation, std::int64_t bytes, const Call& call) {
    const std::int64_t number = FlightRecorder::instance().begin(name_, operation, bytes);
    call();
    FlightRecorder::instance().end(number);
  }
  template <class Start>
  std::unique_ptr<Request> started(const char* operation, const Buffer& buffer,
                                   const Start& start) {
    const std::int64_t number =
        FlightRecorder::instance().begin(name_, operation, bytes_of(buffer));
    return std::make_unique<RecordedRequest>(start(), number);
  }

  std::unique_ptr<Communicator> inner_;
  std::string name_;
  int splits_ = 0;
};

}  // namespace

Json to_json(const CollectiveRecord& r) {
  return {{"group", r.group}, {"sequence", r.sequence}, {"operation", r.operation},
          {"bytes", r.bytes}, {"step", r.step},         {"done", r.done}};
}

CollectiveRecord collective_from_json(const Json& json) {
  return {json.at("group").get<std::string>(),     json.at("sequence").get<std::int64_t>(),
          json.at("operation").get<std::string>(), json.at("bytes").get<std::int64_t>(),
          json.at("step").get<std::int64_t>(),     json.at("done").get<bool>()};
}

std::string describe(const CollectiveRecord& r) {
  return concat(r.operation, " #", r.sequence, " of ", r.group, ", ", r.bytes, " bytes, step ",
                r.step);
}

FlightRecorder& FlightRecorder::instance() {
  static FlightRecorder recorder;
  return recorder;
}

void FlightRecorder::set_step(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
}

std::int64_t FlightRecorder::begin(const std::string& group, const char* operation,
                                   std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (ring_.empty()) ring_.resize(kKept);
  ring_[static_cast<std::size_t>(next_) % kKept] = {
      group, ++sequences_[group], operation, bytes, step_, false};
  return next_++;
}

void FlightRecorder::end(std::int64_t number) {
  const std::lock_guard lock(mutex_);
  // An older one has left the ring.
  if (number + static_cast<std::int64_t>(kKept) >= next_)
    ring_[static_cast<std::size_t>(number) % kKept].done = true;
}

std::vector<CollectiveRecord> FlightRecorder::last(std::size_t count) const {
  const std::lock_guard lock(mutex_);
  const std::int64_t wanted = static_cast<std::int64_t>(std::min(count, kKept));
  std::vector<CollectiveRecord> records;
  for (std::int64_t n = std::max<std::int64_t>(0, next_ - wanted); n < next_; ++n)
    records.push_back(ring_[static_cast<std::size_t>(n) % kKept]);
  return records;
}

std::map<std::string, std::int64_t> FlightRecorder::sequences() const {
  const std::lock_guard lock(mutex_);
  return sequences_;
}

std::unique_ptr<Communicator> record_collectives(std::unique_ptr<Communicator> communicator) {
  return std::make_unique<RecordedCommunicator>(std::move(communicator), "world");
}

}  // namespace zoetrope::launch
