// Job: the processes that run one command together, as the command sees them; usually it is one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/words.h"
#include "moehill/mesh/session.h"

namespace moehill {

// An error of input that every process has been told of; the first one prints it.
class AgreedInputError : public InputError {
 public:
  using InputError::InputError;
};

// Everything but the first four is collective over the processes.
class Job {
 public:
  Job() = default;  // one process
  explicit Job(Session* session) : session_(session) {}

  Session* session() const { return session_; }
  bool is_root() const { return session_ == nullptr || session_->rank() == 0; }  // who prints and writes
  int num_processes() const { return session_ == nullptr ? 1 : session_->size(); }
  // The most processes of a node, if the job fills its nodes.
  int processes_of_a_node() const {
    return session_ == nullptr ? 1 : (session_->size() + session_->num_nodes() - 1) / session_->num_nodes();
  }

  // Throws AgreedInputError unless all processes were started with the same arguments of the same build;
  // names the first that differs. `build` may have more lines, each a name and a value that has to be the
  // same.
  void require_same(const std::vector<std::string>& args, const std::string& build) const;

  // Runs `work` in every process. Bad input that any of them finds is thrown in all of them.
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

  // Runs `work` in the first process, while the others leave their cores to it.
  void on_root(const std::function<void()>& work) const;
  // The first process's text, everywhere.
  std::string from_root(const std::string& text) const;
  // The first process's word, everywhere.
  template <HasWords E>
  E from_root(E value) const {
    return value_named<E>(from_root(std::string(name_of(value)))).value();
  }
  // Waits until all processes are here, and leaves the cores to those that work. All go on some naps apart.
  void wait_quietly(Naps::Duration longest_nap = Naps::kLongest) const;
  // Lets all processes go on at one moment, after wait_quietly().
  void start_together() const;
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
