// Results are the content of a results database as plain structs: experiments, points, attempts, records,
// notes, noise floors. They have no behaviour; store/store.h reads them, store/journal.h writes them.
//
//   experiment  one question, from one file        point   one combination of options
//   attempt     one child process for a point       record  what it printed for the point (record/record.h)
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "moehill/base/words.h"

namespace moehill {

using StoredJson = nlohmann::ordered_json;

// This is the place of the samples in a record. The database keeps them apart.
inline const StoredJson::json_pointer kSamples("/time_s/samples");

// Writes JSON on one line. Bytes that are not UTF-8 become U+FFFD, because JSON has to be UTF-8.
std::string json_text(const StoredJson& json);

// A member of StoredExperiment::sizing: the expectations that stood when the first result came. It is there
// only if the file has named others since.
inline constexpr const char* kExpectBefore = "expect_before";

// The most rounds that an experiment may have.
inline constexpr int64_t kMostRounds = 10000;

// StoredExperiment is one question: an experiment file as it was last started.
struct StoredExperiment {
  int64_t id = 0;
  std::string name;  // file name without folder and ending; unique in a database
  std::string title, hypothesis;
  std::vector<std::string> expect;  // parsed by store/expectation.h
  std::string next_action;
  StoredJson baseline = StoredJson::object();  // axis: value; empty if none is named
  std::string command = "bench";               // or "profile"
  std::string launcher;                        // "" or for example "mpirun -n {devices}"
  std::string reference_section, reference_defect;
  int64_t rounds = 1, retries = 0;
  double timeout_s = 0;
  std::string toml;                          // the file, byte for byte
  StoredJson sizing = StoredJson::object();  // what --budget chose, so that a resumed sweep chooses the same
  std::string options_note;                  // the same in words, for people
  std::string created_utc;
};

// RunState is the state of a point, or of one attempt at it. An attempt is never `pending`.
enum class RunState { pending, running, done, failed, timeout, out_of_memory, rank_lost, interrupted };
constexpr auto words(RunState) {
  return std::array{"pending", "running",       "done",      "failed",
                    "timeout", "out_of_memory", "rank_lost", "interrupted"};
}
// True for a failure. A point has such a state when it has given up: no attempt follows unless somebody asks
// for one.
constexpr bool has_failed(RunState state) {
  return state == RunState::failed || state == RunState::timeout || state == RunState::out_of_memory ||
         state == RunState::rank_lost;
}

// StoredPoint is one resolved combination of options in an experiment.
struct StoredPoint {
  int64_t id = 0, experiment_id = 0;
  std::string identity;                       // a hash of the resolved options, build and machine
  int64_t position = 0;                       // its place in the order of the matrix
  std::string label;                          // "parallel_mode=ep topk=8"
  StoredJson options = StoredJson::object();  // all options, as in a record's config
  StoredJson axes = StoredJson::object();     // only the values of the axes
  std::vector<std::string> arguments;         // command-line arguments, without the command
  RunState state = RunState::pending;
  bool is_baseline = false;
  bool is_current = true;  // belongs to the experiment as it was last started
  std::optional<double> predicted_seconds, predicted_bytes;
};

// StoredAttempt is one run of one point, in a child process.
struct StoredAttempt {
  int64_t id = 0, point_id = 0, round = 0;
  RunState state = RunState::running;
  bool counts = false;  // its records are the result of this round; true for at most one attempt of a round
  std::string started_utc;
  double seconds = 0;
  int64_t exit_status = 0;  // 128 + signal if a signal ended the process
  std::string output_tail;  // the last lines that it printed
  bool disturbed = false;   // other work on the machine disturbed it
  std::string disturbance;  // in words, which work
  int64_t provenance_id = 0;
};

// StoredRecord is one record that an attempt gave.
struct StoredRecord {
  int64_t id = 0, attempt_id = 0, point_id = 0, round = 0, seq = 0;
  bool disturbed = false;
  StoredJson json;  // schema moehill/1
};

// StoredNote is a note of a person on an experiment.
struct StoredNote {
  int64_t id = 0, experiment_id = 0;
  std::string time_utc, text;
};

// StoredNoiseFloor is the largest difference that a comparison of equal things (A/A) saw. A |log ratio| below
// `floor` is noise on this machine.
struct StoredNoiseFloor {
  int64_t id = 0;
  std::string time_utc, machine, build;
  int64_t rounds = 0;
  double floor = 0;
  StoredJson json = StoredJson::object();  // details, in any form
};

}  // namespace moehill
