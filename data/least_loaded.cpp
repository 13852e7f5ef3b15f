// A heap by load and a heap by room.
#include "data/least_loaded.h"

#include <algorithm>
#include <numeric>

namespace zoetrope::data {

LeastLoadedBins::LeastLoadedBins(std::vector<double> loads, std::vector<std::int64_t> room)
    : loads_(std::move(loads)), room_(std::move(room)), heap_(loads_.size()) {
  std::iota(heap_.begin(), heap_.end(), 0);
  for (std::size_t i = heap_.size(); i-- > 0;) sink(i);
}

void LeastLoadedBins::sink(std::size_t position) {
  const int bin = heap_[position];
  for (;;) {
    const std::size_t first = 4 * position + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    const std::size_t end = std::min(first + 4, heap_.size());
    for (std::size_t child = first + 1; child < end; ++child) {
      if (before(heap_[child], heap_[least])) least = child;
    }
    if (!before(heap_[least], bin)) break;
    heap_[position] = heap_[least];
    position = least;
  }
  heap_[position] = bin;
}

void LeastLoadedBins::set_top_aside() {
  aside_.push_back(heap_.front());
  std::push_heap(aside_.begin(), aside_.end(), [this](int a, int b) {
    return room_[static_cast<std::size_t>(a)] < room_[static_cast<std::size_t>(b)];
  });
  heap_.front() = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) sink(0);
}

void LeastLoadedBins::take_back() {
  std::pop_heap(aside_.begin(), aside_.end(), [this](int a, int b) {
    return room_[static_cast<std::size_t>(a)] < room_[static_cast<std::size_t>(b)];
  });
  const int bin = aside_.back();
  aside_.pop_back();
  std::size_t position = heap_.size();
  heap_.push_back(bin);
  for (; position > 0 && before(bin, heap_[(position - 1) / 4]); position = (position - 1) / 4) {
    heap_[position] = heap_[(position - 1) / 4];
  }
  heap_[position] = bin;
}

int LeastLoadedBins::top(std::int64_t tokens) {
  while (!aside_.empty() && room_[static_cast<std::size_t>(aside_.front())] >= tokens) take_back();
  while (!heap_.empty() && room_[static_cast<std::size_t>(heap_.front())] < tokens) set_top_aside();
  return heap_.empty() ? -1 : heap_.front();
}

void LeastLoadedBins::fill_top(double load, std::int64_t tokens) {
  const auto bin = static_cast<std::size_t>(heap_.front());
  loads_[bin] = load;
  room_[bin] -= tokens;
  sink(0);
}

}  // namespace zoetrope::data
