// Being asked to stop: SIGUSR1, or SIGTERM as schedulers send it before they take the machine away.
#pragma once

namespace zoetrope::launch {

// From here on the first of these signals only makes stop_signal() tell of it; a further one ends
// the process at once, with 128 + its number. Within two seconds it is the same request that came
// two ways: schedulers signal mpirun and its ranks, and mpirun passes signals on. Call it on the
// process's first thread: that is the one that the system interrupts.
void listen_for_stop_signals();
// The signal that came; 0 so far.
int stop_signal();

}  // namespace zoetrope::launch
