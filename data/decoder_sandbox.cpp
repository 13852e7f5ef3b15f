// See decoder_sandbox.h. Linux: rlimits, PR_SET_PDEATHSIG and a seccomp filter.

#include "data/decoder_sandbox.h"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace zoetrope::data {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLimitAddressSpace = false;  // the shadow map alone is terabytes
#else
constexpr bool kLimitAddressSpace = true;
#endif

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the decoder's system call filter knows x86-64 and arm64"
#endif

// Denied whatever their arguments are.
constexpr long kDenied[] = {
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_tgkill,
    SYS_tkill,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_mkdirat,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mknodat,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_truncate,
    SYS_mount,
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_io_uring_setup,
    SYS_openat2,
#if defined(__x86_64__)
    SYS_fork,
    SYS_vfork,
    SYS_creat,
    SYS_unlink,
    SYS_rename,
    SYS_renameat,
    SYS_mkdir,
    SYS_rmdir,
    SYS_link,
    SYS_symlink,
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
#endif
};

constexpr std::uint32_t kDeny = SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA);

class FilterProgram {
 public:
  void add(std::uint16_t code, std::uint32_t operand, std::uint8_t if_true = 0,
           std::uint8_t if_false = 0) {
    steps_.push_back({code, if_true, if_false, operand});
  }
  void load(std::size_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
  }
  void give(std::uint32_t verdict) { add(BPF_RET | BPF_K, verdict); }
  void deny(long call) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1);
    give(kDeny);
  }
  // Denied when argument `index` has any of `bits` (or, with `wanted` false, none of them).
  void deny_by_bits(long call, int index, std::uint32_t bits, bool wanted) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 4);
    load(offsetof(seccomp_data, args) +
         8 * static_cast<std::size_t>(index));  // low half: little-endian
    add(BPF_JMP | BPF_JSET | BPF_K, bits, wanted ? 0 : 1, wanted ? 1 : 0);
    give(kDeny);
    load(offsetof(seccomp_data, nr));
  }
  void install() {
    sock_fprog program{static_cast<unsigned short>(steps_.size()), steps_.data()};
    ZOETROPE_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
                   "seccomp filter: ", std::strerror(errno));
  }

 private:
  std::vector<sock_filter> steps_;
};

void filter_system_calls() {
  FilterProgram filter;
  filter.load(offsetof(seccomp_data, arch));
  filter.add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
  filter.give(SECCOMP_RET_KILL_PROCESS);
  filter.load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
  filter.add(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);  // the x32 calls would pass by number
  filter.give(kDeny);
#endif
  for (const long call : kDenied) filter.deny(call);
  // Without clone3, glibc starts threads by clone, whose flags a filter can see.
  filter.add(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
  filter.give(SECCOMP_RET_ERRNO | (ENOSYS & SECCOMP_RET_DATA));
  filter.deny_by_bits(SYS_clone, 0, CLONE_THREAD, false);
  constexpr std::uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  filter.deny_by_bits(SYS_openat, 2, kWriting, true);
#if defined(__x86_64__)
  filter.deny_by_bits(SYS_open, 1, kWriting, true);
#endif
  filter.give(SECCOMP_RET_ALLOW);
  filter.install();
}

void limit(int resource, std::int64_t most) {
  rlimit now{};
  ZOETROPE_CHECK(getrlimit(resource, &now) == 0, "getrlimit: ", std::strerror(errno));
  const rlim_t wanted = std::min(static_cast<rlim_t>(most), now.rlim_max);
  const rlimit limits{wanted, wanted};
  ZOETROPE_CHECK(setrlimit(resource, &limits) == 0, "setrlimit(", resource, ", ", most,
                 "): ", std::strerror(errno));
}

}  // namespace

void enter_decoder_sandbox(std::int64_t memory_bytes, int parent_pid) {
  ZOETROPE_CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl: ", std::strerror(errno));
  ZOETROPE_CHECK(getppid() == parent_pid, "the parent is gone already");
  limit(RLIMIT_CORE, 0);
  if (kLimitAddressSpace) limit(RLIMIT_AS, memory_bytes);
  filter_system_calls();
}

}  // namespace zoetrope::data
