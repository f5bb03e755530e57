// Results view: a stored experiment with its measurements, each beside its baseline and the published number.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/comparison.h"
#include "moehill/report/measured.h"
#include "moehill/report/published.h"
#include "moehill/store/store.h"

namespace moehill {

struct ResultRow {
  size_t point = 0;                  // index into ExperimentView::points
  std::optional<Measured> measured;  // of one path; none: no record that counts
  std::optional<size_t> baseline;    // the row that it is compared with
  std::optional<Ratio> against;      // speed over the baseline's
  std::optional<Verdict> verdict;    // of `against`
  std::optional<PublishedRow> published;

  bool timed() const { return measured && !measured->tflops.empty(); }
};

// "mpirun -n 2 moehill bench --topk 2": the command line that measures a point again.
std::string repro_of(const StoredExperiment& experiment, const StoredPoint& point);

struct ExperimentView {
  StoredExperiment experiment;
  std::vector<StoredPoint> points;
  std::vector<StoredNote> notes;
  std::vector<ResultRow> rows;  // by point, then path
  std::string begun_utc;        // when its first result was begun; none: when it was planned
  std::optional<double> floor;  // of the machine that measured, as it was known then

  std::string label(const ResultRow& row) const;  // of the point, with the path of `profile`
  std::string repro(const ResultRow& row) const { return repro_of(experiment, points[row.point]); }
  // "+3.1 % [95 %: +2.0..+4.2], faster" of a row that has `against`, and what there is to say beside it.
  std::string change(const ResultRow& row) const;
};

// Loads all experiments in the order in which they were started.
std::vector<ExperimentView> load_views(Store& store, const std::vector<PublishedRow>& published);

// Cost by round: seconds for 1e12 FLOPs of the model, so that unlike sizes compare.
Series series_of(const Measured& measured);

// Records are identical if options (but for how often was measured), plan, stages in the clock, kernels,
// build, CPU and layout are the same. Options decide the path, so that
// two paths are never identical.
bool identical_records(const StoredJson& a, const StoredJson& b);

// judge(ratio, floor), but for identical records.
Verdict verdict_of(const StoredJson& record_a, const StoredJson& record_b, const Ratio& ratio,
                   std::optional<double> floor);

// "CPU, 8 cores, AVX2": the machine of a record's env, and of a noise floor.
std::string machine_name(const StoredJson& env);

// The newest floor of that machine, for a comparison over `rounds` rounds where its samples are stored; 0: as
// it was stored.
std::optional<double> floor_of(const std::vector<StoredNoiseFloor>& floors, const StoredJson& env,
                               int64_t rounds);

}  // namespace moehill
