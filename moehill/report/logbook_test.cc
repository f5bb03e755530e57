// Tests of the logbook: the same database always gives the same text, and the text states only what the
// numbers show.
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
       {"## Summary", "## Published Results", "## Hypotheses", "## Thresholds", "## Scope", "## Baseline",
        "## Stop Criteria", "## Experiment Matrix", "## Experiment Log", "### 20",
        " - EP against none (H1)\n", "- Hypothesis: H1: masked EP is slower",
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
  EXPECT_SAYS(book, "agrees in direction (the same direction, smaller here)");
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
  EXPECT_LT(book.find("my own line"), book.find(" - A newer one (H2)\n"));
}

// A database may hold experiments of several machines; none may pass for that of the others.
TEST_F(Logbook, EveryMachineIsNamedWithItsExperiments) {
  EXPECT_SAYS(render(), "- Machine: a CPU, 2 cores, AVX2\n");
  StoredExperiment newer = replayed_experiment();
  newer.name = "newer";
  fill_replayed(store_, newer);
  Database(folder_.file("a.sqlite"), Access::read_write)
      .execute(
          "UPDATE record SET json = json_set(json, '$.env.cpu', 'another CPU') WHERE point_id IN (SELECT "
          "p.id FROM point p JOIN experiment e ON e.id = p.experiment_id WHERE e.name = 'newer')");
  const std::string book = render();
  EXPECT_SAYS(book, "- Machine: a CPU, 2 cores, AVX2 (H1)\n");
  EXPECT_SAYS(book, "- Machine: another CPU, 2 cores, AVX2 (H2)\n");
  EXPECT_SAYS(book, "On a CPU, 2 cores, AVX2 and 1 more, begun");
}

// Records keep Highway's name of a SIMD target; people know it as AVX-512.
TEST_F(Logbook, MachinesHaveTheNamesThatPeopleKnow) {
  EXPECT_EQ(machine_words("a CPU, with a comma, 2 cores, AVX3_ZEN4"),
            "a CPU, with a comma, 2 cores, AVX-512_ZEN4");
  EXPECT_EQ(machine_words("a CPU, 2 cores, AVX2"), "a CPU, 2 cores, AVX2");
  EXPECT_EQ(machine_words(""), "");
  Database(folder_.file("a.sqlite"), Access::read_write)
      .execute("UPDATE record SET json = json_set(json, '$.env.kernel', 'AVX3')");
  const std::string book = render();
  EXPECT_SAYS(book, "- Machine: a CPU, 2 cores, AVX-512\n");
  EXPECT_EQ(book.find("AVX3"), std::string::npos) << book;
}

TEST_F(Logbook, BeginsWithWhatWasAskedAnsweredAndNotDecided) {
  StoredExperiment other = replayed_experiment();
  other.name = "other";
  other.title = "Faster ones";
  other.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 1.0"};
  fill_replayed(store_, other, {0.8, 0.001, false});
  other.name = "third";
  other.title = "Slower ones";
  fill_replayed(store_, other, {1.2, 0.001, false});
  const std::string book = render();
  const std::string first = book.substr(0, book.find("\n## "
                                                     "Published"));
  EXPECT_LE(std::count(first.begin(), first.end(), '\n'), 25) << "more than half a page";
  EXPECT_SAYS(first,
              "- Asked: 3 questions: EP against none; Faster ones; Slower ones. On a CPU, 2 cores, AVX2");
  EXPECT_SAYS(first, "- Answered: promoted 1 (H2); falsified 1 (H3)\n");
  EXPECT_SAYS(first, "- Not decided:\n  - H1 blocked: `parallel_mode=ep topk=8` failed: failed\n");
  const size_t largest = first.find("- Largest effects");
  ASSERT_NE(largest, std::string::npos);
  const size_t h2 = first.find("  - H2: ", largest), h3 = first.find("  - H3: ", largest);
  const size_t h1 =
      first.find("  - H1: `parallel_mode=ep topk=2` over `parallel_mode=none topk=2`: -23.", largest);
  EXPECT_LT(h1, h2);  // 1.3, 1 / 0.8 and 1.2
  EXPECT_LT(h2, h3);
  EXPECT_NE(h3, std::string::npos) << first;
  EXPECT_SAYS(first, "- Replayed: published comparisons 5: agrees 0, agrees in direction 3, differs 2");
  EXPECT_SAYS(book, "| H2 | promoted | masked EP is slower | as expected in all 2 pairs of points |");
  EXPECT_SAYS(book,
              "  - H3 is falsified: `ratio(parallel_mode = ep, parallel_mode = none) >= 1.0` not met: ");
}

TEST_F(Logbook, BaselinesAndStopCriteriaAreOneTableEach) {
  const std::string book = render();
  EXPECT_SAYS(book,
              "\n| id | baseline | GF/s | tokens/s | of peak |\n|---|---|---:|---:|---:|\n| H1 | "
              "`parallel_mode=none topk=2` | ");
  EXPECT_SAYS(book,
              "| H1 | 8 rounds of 4 points, 0 more tries of one that fails, 0 s each | 3 done, 1 failed, "
              "0 open | 256 tokens |");
}

// A database may hold any JSON in its columns.
TEST_F(Logbook, TakesDetailsOfAnotherFormForNone) {
  StoredExperiment other = replayed_experiment();
  other.name = "other";
  other.sizing = {{"command", 5}, {"expect_before", 5}};
  fill_replayed(store_, other);
  EXPECT_SAYS(render(), "`moehill sweep other.toml`");
  const std::string machine = "a CPU, 2 cores, AVX2";
  for (const char* sides : {"\"x\"", "[\"x\"]", "[-1, 1, 1, 1, 1, 1, 1, 1]"}) {
    const StoredJson times = StoredJson::parse(sides);
    store_.add_noise_floor({0, "2026-01-01T00:00:00Z", machine, "b", 20, 0.02, {{"a", times}, {"b", times}}});
    EXPECT_EQ(load_views(store_, {})[0].floor, 0.02) << sides;
  }
}

TEST_F(Logbook, AFloorOfOneProcessIsOnlyForPointsOfOneProcess) {
  const StoredJson env = {{"cpu", "a CPU"}, {"cores", 2}, {"kernel", "AVX2"}};
  const std::string machine = machine_name(env);
  const StoredNoiseFloor apart{0, "2026-01-01T00:00:00Z", machine, "b", 20, 0.05, StoredJson::object()};
  const StoredNoiseFloor together{0, "2026-01-02T00:00:00Z", machine, "b", 20, 0.01, {{"together", true}}};
  EXPECT_EQ(floor_of({apart, together}, env, 0, false), 0.05);
  EXPECT_EQ(floor_of({apart, together}, env, 0, true), 0.01);
  EXPECT_EQ(floor_of({apart}, env, 0, true), 0.05);
  EXPECT_FALSE(floor_of({together}, env, 0, false));
}

// If the process that measures all points of a round fails, the sweep measures the points of later rounds in
// processes of their own.
TEST_F(Logbook, AFloorOfOneProcessIsForRoundsThatAllHadOne) {
  const int64_t all = replayed_experiment().rounds;
  for (const int64_t rounds : {all, all - 1}) {
    Store store = Store::open_or_create(folder_.file(std::to_string(rounds)));
    fill_replayed(store, replayed_experiment(), {.rounds_together = rounds});
    const std::string machine = "a CPU, 2 cores, AVX2", before = "2026-01-01T00:00:00Z";
    store.add_noise_floor({0, before, machine, "b", 20, 0.05, StoredJson::object()});
    store.add_noise_floor({0, before, machine, "b", 20, 0.01, {{"together", true}}});
    EXPECT_EQ(load_views(store, {})[0].floor, rounds == all ? 0.01 : 0.05) << rounds;
  }
}

// A noise floor that was measured after the results is shown, but no verdict uses it.
TEST_F(Logbook, ThresholdsAreThoseOfBefore) {
  const std::string machine = "a CPU, 2 cores, AVX2";
  store_.add_noise_floor({0, "2026-01-01T00:00:00Z", machine, "b", 20, 0.02, StoredJson::object()});
  store_.add_noise_floor({0, "9999-01-01T00:00:00Z", machine, "b", 20, 0.5, StoredJson::object()});
  EXPECT_EQ(load_views(store_, {})[0].floor, 0.02);
  StoredExperiment changed = replayed_experiment();
  changed.expect = {"ratio(parallel_mode = ep, parallel_mode = none) < 0.8 at topk = 2"};
  fill_replayed(store_, changed);
  const std::string book = render();
  EXPECT_SAYS(book,
              "| noise floor | 2.00 % between equal points over 20 rounds | a CPU, 2 cores, AVX2, 2026-01-01 "
              "00:00 |");
  EXPECT_SAYS(book, "over 20 rounds; later than the results of H1, not used for them");
  EXPECT_SAYS(book,
              "| H1 | `ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 2` | `ep_vs_none` |");
  EXPECT_SAYS(book,
              "| H1 | `ratio(parallel_mode = ep, parallel_mode = none) < 0.8 at topk = 2`, named after the "
              "first result: does not count | `ep_vs_none` |");
}

// The commands of an entry can be copied: the launcher has its number, and words that a shell would change
// are quoted.
TEST_F(Logbook, CommandsAreAsAUserTypesThem) {
  StoredExperiment experiment = replayed_experiment();
  experiment.name = "launched here";
  experiment.launcher = "mpirun -n {devices}  -x A=$B;C";
  Journal journal(store_, this_process(), {{"build", "b"}});
  StoredPoint point;
  point.label = point.identity = "devices=2";
  point.options = {{"devices", 2}};
  point.axes = {{"devices", 2}};
  point.arguments = {"--parallel-mode", "ep", "--filter", "a b"};
  std::vector<StoredPoint> points = {point};
  journal.save_plan(experiment, points);
  const std::string book = render();
  EXPECT_SAYS(book, "  - `moehill sweep 'launched here.toml'`\n");
  EXPECT_SAYS(book, "  - `mpirun -n 2 -x 'A=$B;C' moehill bench --parallel-mode ep --filter 'a b'`\n");
  EXPECT_EQ(book.find("{devices}"), std::string::npos) << book;
}

TEST_F(Logbook, RendersTheSameBytesTwice) { EXPECT_EQ(render(), render()); }

TEST_F(Logbook, HostileTextStaysText) {
  fill_replayed(store_, hostile_experiment());
  store_.add_note({0, 2, "2026-02-09T15:00:00Z", kHostileTitle});
  const std::string book = render();
  EXPECT_SAYS(book, "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;'; DROP TABLE runs;--");
  // Everywhere else the text is in code spans.
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

}  // namespace
}  // namespace moehill
