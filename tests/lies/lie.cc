#include "tests/lies/lie.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"
#include "moehill/mesh/group.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

std::vector<const Lie*>& all_lies() {
  static std::vector<const Lie*> lies;
  return lies;
}

std::string variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

struct Choice {
  std::string lie = variable("MOEHILL_LIE", "");
  int64_t from = 0, to = INT64_MAX;
  int rank = std::stoi(variable("MOEHILL_LIE_RANK", "-1"));
  uint32_t seed = static_cast<uint32_t>(std::stoul(variable("MOEHILL_LIE_SEED", "0")));
  std::string log = variable("MOEHILL_LIE_LOG", "");

  Choice() {
    const std::string steps = variable("MOEHILL_LIE_STEPS", "0-");
    const size_t dash = steps.find('-');
    from = std::stoll(steps.substr(0, dash));
    if (dash == std::string::npos) to = from;
    if (dash != std::string::npos && dash + 1 < steps.size()) to = std::stoll(steps.substr(dash + 1));
    require_known();
  }

  // Ends the program if there is no such lie: a misspelt name must not look like a lie that passed.
  void require_known() const {
    if (lie.empty()) return;
    for (const Lie* known : all_lies()) {
      if (lie == "list") fmt::print("{}\t{}\n", known->name(), known->what());
      if (lie == known->name()) return;
    }
    if (lie == "list") std::exit(0);
    fmt::print(stderr, "MOEHILL_LIE: got '{}', allowed: the names that MOEHILL_LIE=list prints\n", lie);
    std::exit(2);
  }
};

const Choice& choice() {
  static const Choice chosen;
  return chosen;
}

std::atomic<int64_t> step_under_way{-1};

std::mutex rank_mutex;
std::map<const ThreadTeam*, int> rank_of_team;

}  // namespace

SEAM("_ZN7moehill12ParallelPath10begin_stepERNS_5GroupE", void, begin_step, ParallelPath* path, Group& group);

// Begins a step. Its argument tells for which device a team works, so this is where the kit learns it.
void lying_begin_step(ParallelPath* path, Group& group) {
  {
    const std::lock_guard lock(rank_mutex);
    rank_of_team[&group.team()] = group.rank();
  }
  real_begin_step(path, group);
}

Lie::Lie(const char* name, const char* what) : name_(name), what_(what) { all_lies().push_back(this); }

bool Lie::told() const {
  const Choice& chosen = choice();
  const int64_t step = step_under_way.load(std::memory_order_relaxed);
  if (step < 0 || step < chosen.from || step > chosen.to || !is_chosen()) return false;
  if (was_told_.exchange(true) || chosen.log.empty()) return true;
  std::FILE* const file = std::fopen(chosen.log.c_str(), "a");
  MOEHILL_CHECK(file != nullptr, "cannot write {}", chosen.log);
  fmt::print(file, "{} at step {}\n", name_, step);
  std::fclose(file);
  return true;
}

bool Lie::is_chosen() const { return choice().lie == name_; }

bool Lie::told_by(int rank) const { return (choice().rank < 0 || choice().rank == rank) && told(); }

bool Lie::told_on(const ThreadTeam& team) const {
  if (choice().rank < 0) return told();
  int rank = -1;
  {
    const std::lock_guard lock(rank_mutex);
    const auto found = rank_of_team.find(&team);
    if (found != rank_of_team.end()) rank = found->second;
  }
  return told_by(rank);
}

StepScope::StepScope(int64_t number) { step_under_way = number; }
StepScope::~StepScope() { step_under_way = -1; }

int64_t step_number() { return step_under_way; }

int64_t place(int64_t n, uint32_t what) {
  MOEHILL_CHECK(n > 0, "a place among {}", n);
  return threefry(choice().seed, Stream::kSampleRows, (uint64_t{what} << 32) + 77)[0] % n;
}

}  // namespace moehill
