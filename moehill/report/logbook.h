// Logbook: a database's experiments as dated Markdown entries, newest last.
#pragma once

#include <string>

#include "moehill/report/results_view.h"

namespace moehill {

// Scope, baseline, stop criteria and matrix, then an entry an experiment. A function of the database and the
// published numbers: the same bytes each time.
std::string render_logbook(Store& store, const std::vector<PublishedRow>& published);

}  // namespace moehill
