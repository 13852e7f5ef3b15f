// The last collectives of this process, kept so that a stuck job can say which one it waits in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "launch/communicator.h"

namespace zoetrope::launch {

// One collective as this rank called it. Ranks agree on (group, sequence): the n-th call on the
// same group is the same operation on all of them, or the job is wrong.
struct CollectiveRecord {
  std::string group;  // "world", or "world/0:2": color 2 of the world's first split
  std::int64_t sequence = 0;
  std::string operation;
  std::int64_t bytes = 0, step = 0;
  bool done = false;
};
Json to_json(const CollectiveRecord& record);
CollectiveRecord collective_from_json(const Json& json);
// "all_reduce #41 of world, 400 bytes, step 7"
std::string describe(const CollectiveRecord& record);

// Thread-safe; one for a process.
class FlightRecorder {
 public:
  static FlightRecorder& instance();
  void set_step(std::int64_t step);
  // -> the number to end it with.
  std::int64_t begin(const std::string& group, const char* operation, std::int64_t bytes);
  void end(std::int64_t number);
  // The newest `count`, oldest first.
  std::vector<CollectiveRecord> last(std::size_t count) const;
  // Calls so far on each group.
  std::map<std::string, std::int64_t> sequences() const;

 private:
  static constexpr std::size_t kKept = 64;
  mutable std::mutex mutex_;
  std::vector<CollectiveRecord> ring_;
  std::map<std::string, std::int64_t> sequences_;
  std::int64_t next_ = 0, step_ = 0;
};

// The same communicator, whose calls are recorded; so are those of its groups.
std::unique_ptr<Communicator> record_collectives(std::unique_ptr<Communicator> communicator);

}  // namespace zoetrope::launch
