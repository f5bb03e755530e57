// Job stands for the processes that run one command together. Usually there is only one, and all functions
// are then trivial, so a command has one text for any number of processes. A Job has no devices; those are in
// a mesh (mesh/mesh.h).
//
//   job.require_same(args, build);
//   const Points points = job.together([&] { return read_points(options); });   // throws on all
//   if (job.is_root()) print(points);
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/words.h"
#include "moehill/mesh/session.h"

namespace moehill {

// AgreedInputError is an error of input of which every process knows; the first process prints it.
class AgreedInputError : public InputError {
 public:
  using InputError::InputError;
};

// All functions of Job are collective (every process calls them), except the constructors, session(),
// is_root(), num_processes() and processes_of_a_node().
class Job {
 public:
  Job() = default;  // one process
  explicit Job(Session* session) : session_(session) {}

  Session* session() const { return session_; }
  // Returns true in the first process, which prints and writes files.
  bool is_root() const { return session_ == nullptr || session_->rank() == 0; }
  int num_processes() const { return session_ == nullptr ? 1 : session_->size(); }
  // Returns the largest number of processes on a node, assuming that the job fills its nodes evenly.
  int processes_of_a_node() const {
    return session_ == nullptr ? 1 : (session_->size() + session_->num_nodes() - 1) / session_->num_nodes();
  }

  // Throws AgreedInputError unless all processes were started with the same arguments and the same build; it
  // names the first difference. `build` may have several lines, each a name and a value that must be the
  // same.
  void require_same(const std::vector<std::string>& args, const std::string& build) const;

  // Runs `work` in every process. If any process throws InputError, all of them throw it.
  template <typename Work>
  auto together(Work&& work) const -> decltype(work()) {
    std::optional<decltype(work())> result;
    std::string error;
    try {
      result.emplace(work());
    } catch (const InputError& e) {
      if (session_ == nullptr) throw;
      error = e.what();
    }
    throw_first(error);
    return std::move(*result);
  }

  // Runs `work` in the first process while the others sleep.
  void on_root(const std::function<void()>& work) const;
  // Returns the first process's text in every process.
  std::string from_root(const std::string& text) const;
  // Returns the first process's value in every process.
  template <HasWords E>
  E from_root(E value) const {
    return value_named<E>(from_root(std::string(name_of(value)))).value();
  }
  // Waits, asleep, until all processes are here, so that cores are free for processes that still work. The
  // processes leave this call up to some naps apart.
  void wait_quietly(Naps::Duration longest_nap = Naps::kLongest) const;
  // Lets all processes go on at the same moment; call it after wait_quietly().
  void start_together() const;
  // These two return the largest of the values of all processes, and their sum.
  double largest(double value) const;
  double sum(double value) const;
  // Returns the values of all processes by rank on the first process, and nothing on the others.
  std::vector<std::vector<double>> gather(const std::vector<double>& values) const;
  // Returns the clocks of all processes by rank on the first process, and nothing on the others.
  std::vector<ClockReading> read_clocks() const;

 private:
  void throw_first(const std::string& error) const;

  Session* session_ = nullptr;
};

}  // namespace moehill
