// The longest wait of a process for the others of its job. A rank that is frozen or cut off would be waited
// for for ever: MPI tells nobody. So every wait for other processes ends with an exception that names them.
//
// The limit is the process's own, since all of its waits are for the same job. There is none to begin with: a
// library's caller may compute for hours between two calls.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace moehill {

// The exit status of a process that gives its job up: "a run failed", as the command line has it.
inline constexpr int kExitFailed = 5;

class WaitedTooLong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Seconds; 0: for ever.
void set_wait_limit(double limit_s);
double wait_limit();

// While one is there, waits may last kTimes as long: for the first process, which works alone.
class LongerWaits {
 public:
  static constexpr double kTimes = 60;
  LongerWaits();
  ~LongerWaits();
  LongerWaits(const LongerWaits&) = delete;
  LongerWaits& operator=(const LongerWaits&) = delete;
};

// The hosts of the ranks, for messages; without them a rank has its number alone.
void set_rank_hosts(std::vector<std::string> hosts);
std::string host_of_rank(int rank);                     // "node7", or empty
std::string rank_name(int rank);                        // "rank 3 on node7"
std::string rank_names(const std::vector<int>& ranks);  // the first eight

// One wait. A loop calls check() again and again, which throws WaitedTooLong once the limit is over. Time in
// which this process itself did not run does not count.
class Patience {
 public:
  // what: the call, for the message: "all_to_all".
  explicit Patience(const char* what);
  // missing: who is waited for, "rank 3 on node7"; asked for the message alone.
  void check(const std::function<std::string()>& missing);
  // progress: changes while the wait gets on, after which it may last as long once more.
  void check(size_t progress, const std::function<std::string()>& missing);
  bool is_over();
  [[noreturn]] void give_up(const std::string& missing) const;

 private:
  const char* what_;
  double begin_, last_look_;
  size_t progress_ = 0;
};

// A call of a library that waits without end and cannot be looked into. While there is a limit, a thread of
// this process watches these calls, and ends the process when one lasts too long; the launcher ends the
// others.
class WatchedCall {
 public:
  explicit WatchedCall(const char* call);
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;
};

}  // namespace moehill
