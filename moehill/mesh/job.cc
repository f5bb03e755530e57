// Implements job.h on a Session, or for a single process without a Session.
#include "moehill/mesh/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "moehill/base/values_in.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

// Returns a line for the command and one for each option with its value, so that the first line that differs
// names the option.
std::string option_lines(const std::vector<std::string>& args, const std::string& build) {
  std::ostringstream lines;
  lines << "build " << build << "\ncommand";
  for (const std::string& arg : args) {
    const size_t equals = arg.rfind("--", 0) == 0 ? arg.find('=') : std::string::npos;
    lines << (arg.rfind("--", 0) == 0 ? '\n' : ' ') << arg.substr(0, equals);
    if (equals != std::string::npos) lines << ' ' << arg.substr(equals + 1);
  }
  return lines.str();
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Returns an error about the first line that differs, or "".
std::string difference(const std::string& first, const std::string& other, size_t rank) {
  std::vector<std::string> a = split_lines(first), b = split_lines(other);
  const size_t n = std::max(a.size(), b.size());
  a.resize(n, "nothing");
  b.resize(n, "nothing");
  for (size_t i = 0; i < n; ++i) {
    if (a[i] == b[i]) continue;
    const std::string& named = a[i] == "nothing" ? b[i] : a[i];
    return input_error(named.substr(0, named.find(' ')),
                       fmt::format("{} on rank 0, {} on rank {}", a[i], b[i], rank), "the same on all ranks",
                       "start all ranks with one command line and one build, and with MOEHILL_SIMD where "
                       "their CPUs differ")
        .what();
  }
  return "";
}

}  // namespace

void Job::require_same(const std::vector<std::string>& args, const std::string& build) const {
  if (session_ == nullptr) return;
  const std::vector<std::string> lines = session_->gather(option_lines(args, build));
  std::string error;
  for (size_t r = 1; r < lines.size() && error.empty(); ++r) error = difference(lines[0], lines[r], r);
  error = session_->broadcast(error);
  if (!error.empty()) throw AgreedInputError(error);
}

// All processes throw the error of the lowest rank that has one. The text names that rank, unless it is 0 or
// all have the same error.
void Job::throw_first(const std::string& error) const {
  if (session_ == nullptr) return;
  const std::vector<std::string> errors = session_->gather(error);
  std::string first;
  for (size_t r = 0; r < errors.size() && first.empty(); ++r) {
    if (errors[r].empty()) continue;
    const bool all = std::count(errors.begin(), errors.end(), errors[r]) == std::ssize(errors);
    first = errors[r] + (all || r == 0 ? "" : fmt::format(" (on rank {})", r));
  }
  first = session_->broadcast(first);
  if (!first.empty()) throw AgreedInputError(first);
}

void Job::on_root(const std::function<void()>& work) const {
  if (is_root()) work();
  // While the first process works, the others sleep, and their waits may last longer than usual.
  const LongerWaits longer;
  wait_quietly();
}

std::string Job::from_root(const std::string& text) const {
  return session_ == nullptr ? text : session_->broadcast(text);
}

void Job::wait_quietly(Naps::Duration longest_nap) const {
  if (session_ != nullptr) session_->wait_quietly(longest_nap);
}

void Job::start_together() const {
  if (session_ != nullptr) session_->start_together();
}

double Job::largest(double value) const {
  if (session_ == nullptr) return value;
  const std::vector<double> values = session_->share(value);
  return *std::max_element(values.begin(), values.end());
}

double Job::sum(double value) const {
  if (session_ == nullptr) return value;
  const std::vector<double> values = session_->share(value);
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::vector<std::vector<double>> Job::gather(const std::vector<double>& values) const {
  if (session_ == nullptr) return {values};
  const char* bytes = reinterpret_cast<const char*>(values.data());
  std::vector<std::vector<double>> all;
  for (const std::string& text : session_->gather({bytes, values.size() * sizeof(double)}))
    all.push_back(values_in<double>(text));
  return all;
}

std::vector<ClockReading> Job::read_clocks() const {
  return session_ == nullptr ? std::vector<ClockReading>(1) : session_->read_clocks();
}

}  // namespace moehill
