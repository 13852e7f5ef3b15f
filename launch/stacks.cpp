// Each thread is asked by a signal, and walks its own stack in the handler.
#include "launch/stacks.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace zoetrope::launch {
namespace {

constexpr int kMaxFrames = 64;
std::atomic<bool> g_answered{false};

int stack_signal() {
  return SIGRTMIN + 2;
}

void print_own_stack(int) {
  void* frames[kMaxFrames];
  const int count = backtrace(frames, kMaxFrames);
  backtrace_symbols_fd(frames, count, STDERR_FILENO);
  g_answered = true;
}

std::string thread_name(const std::string& id) {
  std::ifstream file("/proc/self/task/" + id + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace

void prepare_stacks() {
  void* frame[1];
  backtrace(frame, 1);  // loads libgcc now: the handler must not
  struct sigaction action = {};
  action.sa_handler = print_own_stack;
  action.sa_flags = SA_RESTART | SA_ONSTACK;  // where the thread has one, see stop_signal.cpp
  sigaction(stack_signal(), &action, nullptr);
}

void print_stacks() {
  const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::string id = entry.path().filename();
    if (std::atoi(id.c_str()) == self) continue;
    std::fprintf(stderr, "thread %s (%s):\n", id.c_str(), thread_name(id).c_str());
    g_answered = false;
    if (syscall(SYS_tgkill, getpid(), std::atoi(id.c_str()), stack_signal()) != 0) continue;
    for (int wait = 0; wait < 20 && !g_answered; ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::fprintf(stderr, "thread %d (this one):\n", self);
  print_own_stack(0);
}

}  // namespace zoetrope::launch
