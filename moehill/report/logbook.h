// Logbook shows the experiments of a database as people keep a logbook: questions and answers, the hypotheses
// with their states, the thresholds, then dated entries, newest last. It is Markdown; report/page.h shows the
// same with charts.
//
//     file << render_logbook(store, read_published(""));
#pragma once

#include <string>

#include "moehill/report/results_view.h"

namespace moehill {

// Returns half a page of summary, published results beside ours if some are replayed, tables of hypotheses,
// thresholds, baselines, stop criteria and axes, and an entry for each experiment. Entries name hypotheses by
// their ids.
// The text depends only on the database and the published numbers, so it is the same each time, byte by byte.
std::string render_logbook(Store& store, const std::vector<PublishedRow>& published);

}  // namespace moehill
