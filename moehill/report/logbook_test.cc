#include "moehill/report/logbook.h"

#include <gtest/gtest.h>

#include "moehill/report/findings.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

class Logbook : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  Store store_ = Store::open_or_create(folder_.file("a.sqlite"));
  void SetUp() override { fill_replayed(store_, replayed_experiment()); }
  std::string render() { return render_logbook(store_, read_published("")); }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Logbook, HasTheShapeOfTheReference) {
  const std::string book = render();
  size_t place = 0;
  for (const char* part :
       {"## Scope", "## Baseline", "## Stop Criteria", "## Experiment Matrix", "## Experiment Log", "### 20",
        " - EP against none", "- Hypothesis: masked EP is slower",
        "- Command:", "- Config:", "- Result:", "- Interpretation:", "- Next action: look at stages"}) {
    const size_t found = book.find(part, place);
    ASSERT_NE(found, std::string::npos) << part << "\n" << book;
    place = found;
  }
}

TEST_F(Logbook, StatesWhatTheNumbersSay) {
  const std::string book = render();
  EXPECT_SAYS(book, "`parallel_mode=none topk=2`: no point is faster than this baseline");
  EXPECT_SAYS(book, "topk = 2` met: `parallel_mode=ep topk=2` over `parallel_mode=none topk=2` is 0.770");
  EXPECT_SAYS(book, "topk = 8`: no pair of points with results");
  EXPECT_SAYS(book, "`not an expectation` cannot be read");
  EXPECT_SAYS(book, "published 0.747, here 0.770");
  EXPECT_SAYS(book, "the trend agrees");
  EXPECT_SAYS(book, "Known defect of the original measurement: one chip against four");
  EXPECT_SAYS(book, "`parallel_mode=ep topk=8` is not done: failed");
}

TEST_F(Logbook, NotesFollowAndNewestIsLast) {
  StoredExperiment newer = replayed_experiment();
  newer.name = "newer";
  newer.title = "A newer one";
  fill_replayed(store_, newer);
  store_.add_note({0, 1, "2026-02-09T15:00:00Z", "my own line"});
  const std::string book = render();
  EXPECT_SAYS(book, "Note of 2026-02-09 15:00: my own line");
  EXPECT_LT(book.find("my own line"), book.find(" - A newer one\n"));
}

TEST_F(Logbook, RendersTheSameBytesTwice) { EXPECT_EQ(render(), render()); }

TEST_F(Logbook, HostileTextStaysText) {
  fill_replayed(store_, hostile_experiment());
  store_.add_note({0, 2, "2026-02-09T15:00:00Z", kHostileTitle});
  const std::string book = render();
  EXPECT_SAYS(book, "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;'; DROP TABLE runs;--");
  // Elsewhere it stands in code spans alone.
  for (size_t at = book.find("<img"); at != std::string::npos; at = book.find("<img", at + 1)) {
    const size_t line = book.rfind('\n', at) + 1;
    EXPECT_NE(book.substr(line, at - line).find('`'), std::string::npos) << book.substr(line, 200);
  }
}

TEST(LogbookOfNothing, SaysSo) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  EXPECT_SAYS(render_logbook(store, {}), "nothing is measured yet");
}

TEST_F(Logbook, AnExpectationMeetsPairsOfAZip) {
  ExperimentView view = load_views(store_, {})[0];
  for (StoredPoint& point : view.points) point.axes["ep_path"] = point.axes["parallel_mode"];
  const std::string text = "ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 2";
  const std::vector<std::string> lines = judge_expectation(view, text);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("met: "), std::string::npos) << lines[0];
  for (StoredPoint& point : view.points) point.axes["ep_path"] = point.label;  // an axis of its own
  EXPECT_NE(judge_expectation(view, text)[0].find("no pair"), std::string::npos);
}

}  // namespace
}  // namespace moehill
