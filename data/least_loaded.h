// Bins in the order of their load, each with room for so many tokens. Items come longest first, so
// a bin without room for one is set aside until an item fits: O(log bins) an item, amortised.
#pragma once

#include <cstdint>
#include <vector>

namespace zoetrope::data {

class LeastLoadedBins {
 public:
  // `loads[b]` and `room[b]` of bin b.
  LeastLoadedBins(std::vector<double> loads, std::vector<std::int64_t> room);

  // The least loaded bin with room for `tokens`, ties to the lower bin; -1 if none has. `tokens`
  // never grows from call to call.
  int top(std::int64_t tokens);
  // Gives the bin that top() named a new load, not below its old one.
  void fill_top(double load, std::int64_t tokens);

  const std::vector<double>& loads() const { return loads_; }
  const std::vector<std::int64_t>& room() const { return room_; }

 private:
  bool before(int a, int b) const {
    const double x = loads_[static_cast<std::size_t>(a)], y = loads_[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  }
  void sink(std::size_t position);
  void set_top_aside();
  void take_back();

  std::vector<double> loads_;
  std::vector<std::int64_t> room_;
  std::vector<int> heap_;   // least loaded first; four children a node
  std::vector<int> aside_;  // heap by room, most first
};

}  // namespace zoetrope::data
