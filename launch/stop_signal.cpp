// A flag that a signal handler sets. The handler has a stack of its own: oneDNN's AVX-512 products
// keep their stack pointer in a block of the heap, where the frame of a signal would overwrite what
// lies before the block.
#include "launch/stop_signal.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>

#include "base/error.h"

namespace zoetrope::launch {
namespace {

constexpr time_t kSameRequestS = 2;
// A signal's frame with AVX-512 and AMX takes 12 KiB.
constexpr std::size_t kStackBytes = std::size_t{64} << 10;
alignas(64) std::byte g_stack[kStackBytes];
volatile sig_atomic_t g_stop_signal = 0;
volatile time_t g_first_s = 0;

time_t now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // safe in a signal handler
  return now.tv_sec;
}

void remember(int signal) {
  if (g_stop_signal == 0) {
    g_first_s = now_s();
    g_stop_signal = signal;
  } else if (now_s() - g_first_s > kSameRequestS) {
    _exit(128 + signal);
  }
}

}  // namespace

void listen_for_stop_signals() {
  stack_t stack = {};
  stack.ss_sp = g_stack;
  stack.ss_size = kStackBytes;
  ZOETROPE_CHECK(sigaltstack(&stack, nullptr) == 0, "no stack for signal handlers");
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int stop_signal() {
  return g_stop_signal;
}

}  // namespace zoetrope::launch
