// This file makes MPICH's waits give their core away. They poll without end, and MPICH has no option to
// change that: of three ranks on two cores one spins for its whole time slice, while the rank that it waits
// for has no core.
//
// Each poll of MPICH over UCX is a call of this function, which the program defines before UCX does. MPICH
// over another transport never calls it.
#include <dlfcn.h>
#include <sched.h>

namespace {

using Progress = unsigned (*)(void* worker);

Progress progress_of_ucx() {
  static const Progress progress = reinterpret_cast<Progress>(dlsym(RTLD_NEXT, "ucp_worker_progress"));
  return progress;
}

constexpr int kIdlePolls = 100;  // some 10 us, longer than a message on the node takes

}  // namespace

extern "C" __attribute__((visibility("default"))) unsigned ucp_worker_progress(void* worker) {
  thread_local int num_idle = 0;
  const unsigned num_events = progress_of_ucx()(worker);
  num_idle = num_events == 0 ? num_idle + 1 : 0;
  if (num_idle >= kIdlePolls) {
    num_idle = kIdlePolls;
    (void)sched_yield();
  }
  return num_events;
}
