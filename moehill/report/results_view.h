// Results view is a stored experiment with its measurements, each beside its baseline and the published
// number. All reports are made of it, so they cannot disagree.
//
//     for (const ExperimentView& view : load_views(store, {}))
//       for (const ResultRow& row : view.rows)
//         if (row.against) fmt::print("{}: {}\n", view.label(row), view.change(row));
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/comparison.h"
#include "moehill/report/measured.h"
#include "moehill/report/published.h"
#include "moehill/store/store.h"

namespace moehill {

// ResultRow is one path of one point, or one of several things that it measured (report/measured.h).
struct ResultRow {
  size_t point = 0;                  // index into ExperimentView::points
  std::optional<Measured> measured;  // one thing; empty: no record counts
  std::optional<size_t> baseline;    // the row that it is compared with
  std::optional<Ratio> against;      // its speed over the baseline's
  std::optional<Verdict> verdict;    // of `against`
  std::optional<PublishedRow> published;
  // The options in which this row differs from the others of its point and path; empty if there are none.
  StoredJson variant = StoredJson::object();

  bool timed() const { return measured && !measured->tflops.empty(); }
};

// Returns the command line that measures a point again: "mpirun -n 2 moehill bench --topk 2".
std::string repro_of(const StoredExperiment& experiment, const StoredPoint& point);

struct ExperimentView {
  StoredExperiment experiment;
  std::vector<StoredPoint> points;
  std::vector<StoredNote> notes;
  std::vector<ResultRow> rows;  // by point, then by path
  // The time when its first result was begun; if there is none, the time when it was planned.
  std::string begun_utc;
  // The noise floor of the machine that measured, as it was known at that time.
  std::optional<double> floor;

  // Returns the name of the point; where it has several rows of one path, with what sets this one apart.
  std::string point_label(const ResultRow& row) const;
  std::string label(const ResultRow& row) const;  // point_label() with the path of `profile`
  std::string repro(const ResultRow& row) const { return repro_of(experiment, points[row.point]); }
  // Returns the change of a row that has `against`, with remarks: "+3.1 % [95 %: +2.0..+4.2], faster".
  std::string change(const ResultRow& row) const;
};

// Returns the row of `point` and `path` with which `row` is compared. Rows whose options contradict the
// variant of `row` are no candidates. Of the others it is the one with the most rounds in common. None if no
// candidate has a figure.
std::optional<size_t> partner_of(const ExperimentView& view, const ResultRow& row, size_t point,
                                 ProfilePath path);

// Loads all experiments, in the order in which they were started.
std::vector<ExperimentView> load_views(Store& store, const std::vector<PublishedRow>& published);

// Returns the cost by round: seconds for 1e12 FLOPs of the model, so that unlike sizes can be compared.
Series series_of(const Measured& measured);

// Returns true if plan, stages in the clock, kernels, build, CPU, layout and options are the same. Options
// that only say how often to measure may differ. Options decide the path, so two paths are never identical.
bool identical_records(const StoredJson& a, const StoredJson& b);

// Returns judge(ratio, floor), except for identical records.
Verdict verdict_of(const StoredJson& record_a, const StoredJson& record_b, const Ratio& ratio,
                   std::optional<double> floor);

// Returns "CPU, 8 cores, AVX3": the machine of a record's env, and of a noise floor. Names are compared, so
// they keep the SIMD target's own name.
std::string machine_name(const StoredJson& env);
// Returns such a name for people: "CPU, 8 cores, AVX-512".
std::string machine_words(const std::string& name);

// Returns the newest floor of that machine. It is computed for a comparison over `rounds` rounds if the
// floor's samples are stored; rounds = 0: the floor as it was stored. Points that one process measured
// together (`together`) differ less by chance, so they have floors of their own. If there is none, it returns
// the floor of points in processes of their own.
std::optional<double> floor_of(const std::vector<StoredNoiseFloor>& floors, const StoredJson& env,
                               int64_t rounds, bool together);
// Returns true if the floor is one of points that were measured together.
bool is_floor_together(const StoredNoiseFloor& floor);

}  // namespace moehill
