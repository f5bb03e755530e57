// Logbook: a database's experiments as people keep them: what was asked and answered, the hypotheses with
// their states, the thresholds, then dated entries, newest last. Markdown.
#pragma once

#include <string>

#include "moehill/report/results_view.h"

namespace moehill {

// Half a page of summary, published results beside ours where some are replayed, then tables of hypotheses,
// thresholds, baselines, stop criteria and axes, then an entry an experiment. Entries name hypotheses by
// their ids. The text depends on the database and the published numbers alone, so it has the same bytes each
// time.
std::string render_logbook(Store& store, const std::vector<PublishedRow>& published);

}  // namespace moehill
