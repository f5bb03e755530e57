// The content of a results database as plain structs: experiments, points, attempts, records, notes, noise
// floors.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "moehill/base/words.h"

namespace moehill {

using StoredJson = nlohmann::ordered_json;

// The place of a record's samples, which the database keeps apart.
inline const StoredJson::json_pointer kSamples("/time_s/samples");

// Writes JSON on one line; what is not UTF-8 becomes U+FFFD, since a JSON text has to be.
std::string json_text(const StoredJson& json);

// A member of StoredExperiment::sizing: the thresholds that stood when the first result came, where the file
// has named others since.
inline constexpr const char* kExpectBefore = "expect_before";

// One question: an experiment file, as it was last started.
struct StoredExperiment {
  int64_t id = 0;
  std::string name;  // of the file, without folder and ending; unique in a database
  std::string title, hypothesis;
  std::vector<std::string> expect;  // store/expectation.h parses them
  std::string next_action;
  StoredJson baseline = StoredJson::object();  // axis: value; empty: none named
  std::string command = "bench";               // or "profile"
  std::string launcher;                        // "" or for example "mpirun -n {devices}"
  std::string reference_section, reference_defect;
  int64_t rounds = 1, retries = 0;
  double timeout_s = 0;
  std::string toml;                          // the file, byte for byte
  StoredJson sizing = StoredJson::object();  // what --budget chose, to choose the same when resumed
  std::string options_note;                  // the same in words, for people
  std::string created_utc;
};

// The state of a point, or of one attempt at it, which is never `pending`. A database has it as text.
enum class RunState { pending, running, done, failed, timeout, out_of_memory, rank_lost, interrupted };
constexpr auto words(RunState) {
  return std::array{"pending", "running",       "done",      "failed",
                    "timeout", "out_of_memory", "rank_lost", "interrupted"};
}
// True if no attempt follows unless somebody asks for it.
constexpr bool has_failed(RunState state) {
  return state == RunState::failed || state == RunState::timeout || state == RunState::out_of_memory ||
         state == RunState::rank_lost;
}

struct StoredPoint {
  int64_t id = 0, experiment_id = 0;
  std::string identity;                       // hash of resolved options, build and machine
  int64_t position = 0;                       // in the order of the matrix
  std::string label;                          // "parallel_mode=ep topk=8"
  StoredJson options = StoredJson::object();  // resolved, as in a record's config
  StoredJson axes = StoredJson::object();     // the axes' values alone
  std::vector<std::string> arguments;         // of the command, without its name
  RunState state = RunState::pending;
  bool is_baseline = false;
  bool is_current = true;  // belongs to the experiment as it was last started
  std::optional<double> predicted_seconds, predicted_bytes;
};

// One run of one point: a child process.
struct StoredAttempt {
  int64_t id = 0, point_id = 0, round = 0;
  RunState state = RunState::running;
  bool counts = false;  // its records are this round's result; at most one attempt of a round
  std::string started_utc;
  double seconds = 0;
  int64_t exit_status = 0;  // 128 + signal for a process that a signal ended
  std::string output_tail;  // the last lines it printed
  bool disturbed = false;   // by other work on the machine,
  std::string disturbance;  // of this kind
  int64_t provenance_id = 0;
};

struct StoredRecord {
  int64_t id = 0, attempt_id = 0, point_id = 0, round = 0, seq = 0;
  bool disturbed = false;
  StoredJson json;  // schema moehill/1
};

struct StoredNote {
  int64_t id = 0, experiment_id = 0;
  std::string time_utc, text;
};

// The largest difference that an A/A comparison saw: |log ratio| below `floor` is noise on this machine.
struct StoredNoiseFloor {
  int64_t id = 0;
  std::string time_utc, machine, build;
  int64_t rounds = 0;
  double floor = 0;
  StoredJson json = StoredJson::object();  // details, as its writer likes
};

}  // namespace moehill
