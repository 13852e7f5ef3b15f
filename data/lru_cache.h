// Values by name, the least recently used thrown out when their summed cost passes the capacity.
// Not thread-safe: the owner locks.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace zoetrope::data {

template <class Value>
class LruCache {
 public:
  explicit LruCache(std::int64_t capacity) : capacity_(capacity) {}

  // Valid until the next insert; nullptr when it is not kept.
  const Value* find(const std::string& name) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->value;
  }

  // Keeps nothing when one value alone costs more than the capacity, or the name is already there.
  void insert(const std::string& name, Value value, std::int64_t cost) {
    if (cost > capacity_ || by_name_.count(name) != 0) return;
    while (cost_ + cost > capacity_) {
      cost_ -= entries_.back().cost;
      by_name_.erase(entries_.back().name);
      entries_.pop_back();
    }
    entries_.push_front({name, std::move(value), cost});
    by_name_[name] = entries_.begin();
    cost_ += cost;
  }

  std::int64_t cost() const { return cost_; }

 private:
  struct Entry {
    std::string name;
    Value value;
    std::int64_t cost;
  };
  std::int64_t capacity_, cost_ = 0;
  std::list<Entry> entries_;
  std::unordered_map<std::string, typename std::list<Entry>::iterator> by_name_;
};

}  // namespace zoetrope::data
