// The bounded queue: order, bound, and what close() does to both ends.
#include "base/queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace zoetrope {
namespace {

TEST(BoundedQueue, KeepsOrderOfOneProducer) {
  BoundedQueue<int> queue(3);
  std::thread producer([&] {
    for (int i = 0; i < 1000; ++i) queue.push(i);
    queue.close();
  });
  int next = 0;
  while (auto item = queue.pop()) EXPECT_EQ(*item, next++);
  producer.join();
  EXPECT_EQ(next, 1000);
}

TEST(BoundedQueue, LosesNothingAmongManyThreads) {
  BoundedQueue<int> queue(4);
  std::atomic<long> sum{0};
  std::vector<std::thread> producers, consumers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&] {
      for (int i = 1; i <= 500; ++i) queue.push(i);
    });
  }
  for (int c = 0; c < 3; ++c) {
    consumers.emplace_back([&] {
      while (auto item = queue.pop()) sum += *item;
    });
  }
  for (auto& thread : producers) thread.join();
  queue.close();
  for (auto& thread : consumers) thread.join();
  EXPECT_EQ(sum.load(), 4L * 500 * 501 / 2);
}

TEST(BoundedQueue, CloseWakesAWaitingPush) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(1));
  bool pushed = true;
  std::thread producer([&] { pushed = queue.push(2); });
  queue.close();
  producer.join();
  EXPECT_FALSE(pushed);
}

TEST(BoundedQueue, DrainsAfterClose) {
  BoundedQueue<int> queue(2);
  queue.push(1);
  queue.close();
  EXPECT_FALSE(queue.push(2));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

}  // namespace
}  // namespace zoetrope
