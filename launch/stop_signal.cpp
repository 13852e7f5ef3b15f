// A flag that a signal handler sets.
#include "launch/stop_signal.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace zoetrope::launch {
namespace {

constexpr time_t kSameRequestS = 2;
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
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int stop_signal() {
  return g_stop_signal;
}

}  // namespace zoetrope::launch
