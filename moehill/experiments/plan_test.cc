// Tests of plans: resolved points and their identities, refusals at their place in the file, and sizes for a
// budget.
#include "moehill/experiments/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/experiments/sizing.h"
#include "moehill/store/journal.h"

namespace moehill {
namespace {

std::vector<std::string> planned_options(SweptCommand) { return {"tokens", "topk", "seed", "ablate"}; }

// This command takes a millisecond for each token and 2 s besides; the default is 4096 tokens.
SweepHost host() {
  SweepHost host;
  host.build = "build";
  host.machine = "machine";
  host.resolve = [](SweptCommand, bool, const std::vector<std::string>& arguments) {
    ResolvedPoint resolved;
    resolved.tokens = 4096;
    resolved.options["--tokens"] = 4096;
    for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
      resolved.options[arguments[i]] = arguments[i + 1];
      if (arguments[i] == "--tokens") resolved.tokens = std::stoll(arguments[i + 1]);
      if (arguments[i] == "--topk" && arguments[i + 1] == "9")
        throw InputError("--topk: got 9, allowed 1 to 8");
    }
    resolved.options["--tokens"] = resolved.tokens;
    resolved.seconds = 2 + 1e-3 * static_cast<double>(resolved.tokens);
    return resolved;
  };
  return host;
}

// Returns a host of the same command, with points that `change` alters.
SweepHost host_whose_points(const std::function<void(ResolvedPoint&)>& change) {
  SweepHost changed = host();
  changed.resolve = [resolve = changed.resolve, change](SweptCommand command, bool launched,
                                                        const std::vector<std::string>& arguments) {
    ResolvedPoint resolved = resolve(command, launched, arguments);
    change(resolved);
    return resolved;
  };
  return changed;
}

ExperimentFile file(const std::string& toml) {
  return parse_experiment("q.toml", "title = 't'\n" + toml, planned_options);
}

TEST(SweepPlan, RefusesAPointWhereItStandsInTheFile) {
  try {
    make_plan(file("[axes]\nseed = [1]\ntopk = [2, 9]"), host(), {});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()), "q.toml:4:1: point seed=1 topk=9: --topk: got 9, allowed 1 to 8");
  }
}

TEST(SweepPlan, IdentityIsOptionsBuildAndMachine) {
  const ExperimentFile a = file("[axes]\ntopk = [1, 2]");
  const SweepPlan plan = make_plan(a, host(), {});
  EXPECT_NE(plan.points[0].identity, plan.points[1].identity);
  EXPECT_EQ(make_plan(file("[fixed]\ntokens = 4096\n[axes]\ntopk = [1, 2]"), host(), {}).points[0].identity,
            plan.points[0].identity);  // the default, said
  SweepHost rebuilt = host(), moved = host();
  rebuilt.build += "+";
  moved.machine += "+";
  EXPECT_NE(make_plan(a, rebuilt, {}).points[0].identity, plan.points[0].identity);
  EXPECT_NE(make_plan(a, moved, {}).points[0].identity, plan.points[0].identity);
}

TEST(SweepPlan, TheExperimentIsThatOfItsFile) {
  ExperimentFile f = file("[axes]\ntopk = [1, 2]");
  f.name = "name";
  f.title = "title";
  f.hypothesis = "hypothesis";
  f.next_action = "next";
  f.reference_section = "section";
  f.reference_defect = "defect";
  f.rounds = 7;
  f.retries = 3;
  f.timeout_s = 9;
  const StoredExperiment e = make_plan(f, host(), {}).experiment;
  EXPECT_EQ(e.name, "name");
  EXPECT_EQ(e.title, "title");
  EXPECT_EQ(e.hypothesis, "hypothesis");
  EXPECT_EQ(e.next_action, "next");
  EXPECT_EQ(e.reference_section, "section");
  EXPECT_EQ(e.reference_defect, "defect");
  EXPECT_EQ(e.command, "bench");
  EXPECT_EQ(e.launcher, "");
  EXPECT_EQ(e.toml, f.toml);
  EXPECT_EQ(e.rounds, 7);
  EXPECT_EQ(e.retries, 3);
  EXPECT_EQ(e.timeout_s, 9);
}

TEST(SweepPlan, PointsHaveWhatTheHostPredicts) {
  const SweepHost large = host_whose_points([](ResolvedPoint& point) { point.bytes = 5e9; });
  const SweepPlan plan = make_plan(file("[axes]\ntopk = [1, 2]"), large, {});
  for (const StoredPoint& point : plan.points) {
    EXPECT_EQ(point.predicted_bytes.value_or(0), 5e9);
    EXPECT_DOUBLE_EQ(point.predicted_seconds.value_or(0), 2 + 4.096);
  }
}

TEST(SweepPlan, LaterRunsTakeChecksOver) {
  const SweepHost quick = host_whose_points([](ResolvedPoint& point) { point.repeat_seconds = 1; });
  const std::string axes = "[axes]\ntopk = [1, 2]\n[measure]\nrounds = 5";
  const SweepPlan plan = make_plan(file(axes), host(), {});
  const double first = 2 * plan.points[0].predicted_seconds.value();
  EXPECT_DOUBLE_EQ(plan.predicted_seconds(), 5 * first);
  EXPECT_DOUBLE_EQ(make_plan(file(axes), quick, {}).predicted_seconds(), first + 4 * 2);
  EXPECT_DOUBLE_EQ(make_plan(file(axes), quick, {}).predicted_seconds(2), first + 2);
  EXPECT_DOUBLE_EQ(make_plan(file("launcher = \"env\"\n" + axes), quick, {}).predicted_seconds(), 5 * first);
}

TEST(SweepPlan, ABudgetTakesTokensThenRounds) {
  const ExperimentFile f = file("[axes]\ntopk = [1, 2]\n[measure]\nrounds = 5");  // ten runs
  EXPECT_EQ(fit_budget(f, host(), 1000).factor, 1);
  const Sizing halved = fit_budget(f, host(), 42);
  EXPECT_EQ(halved.factor, 0.5);
  EXPECT_EQ(halved.rounds, 5);
  const SweepPlan plan = make_plan(f, host(), halved);
  EXPECT_EQ(plan.tokens[0], 2048);
  EXPECT_LE(plan.predicted_seconds(), 42);
  EXPECT_NE(halved.note.find("2048 tokens"), std::string::npos) << halved.note;

  const Sizing fewer_rounds = fit_budget(f, host(), 15);  // even 256 tokens five times take 22 s
  EXPECT_EQ(fewer_rounds.rounds, 3);
  EXPECT_EQ(make_plan(f, host(), fewer_rounds).tokens[0], 256) << "and no fewer";
  EXPECT_LE(make_plan(f, host(), fewer_rounds).predicted_seconds(), 15);
  const Sizing hopeless = fit_budget(f, host(), 1);
  EXPECT_EQ(hopeless.rounds, 1);
  EXPECT_NE(hopeless.note.find("over the budget"), std::string::npos);
}

TEST(SweepPlan, RefusesSizesThatMakeTwoPointsOne) {
  const ExperimentFile f = file("[axes]\ntokens = [1, 2]");
  EXPECT_NO_THROW(make_plan(f, host(), {}));
  EXPECT_THROW(make_plan(f, host(), {0.5, 0, ""}), InputError);
}

// Resolves several points as the command does, and calls each of them four bytes.
SweepHost sharing_host(double usable_bytes) {
  SweepHost shared = host();
  shared.usable_bytes = usable_bytes;
  shared.resolve = [one = host().resolve](SweptCommand command, bool launched,
                                          const std::vector<std::string>& arguments) {
    const int64_t num_points = std::count(arguments.begin(), arguments.end(), "point");
    ResolvedPoint resolved = one(command, launched, num_points > 0 ? std::vector<std::string>{} : arguments);
    for (int64_t i = 0; i < num_points; ++i) resolved.options["points"].push_back(i);
    resolved.bytes = 4.0 * static_cast<double>(num_points);
    return resolved;
  };
  return shared;
}

TEST(SweepPlan, PointsOfARoundShareAProcessIfTheyFitMemory) {
  const ExperimentFile f =
      file("[fixed]\ntokens = 64\n[axes]\ntopk = [1, 2]\nseed = [3, 4]\n[measure]\nprocess = 'round'");
  const SweepPlan plan = make_plan(f, sharing_host(16), {0.5, 0, ""});
  EXPECT_EQ(plan.shared.of_all(),
            (std::vector<std::string>{"--tokens", "32", "-L", "point", "topk=1 seed=3", "-L", "point",
                                      "topk=1 seed=4", "-L", "point", "topk=2 seed=3", "-L", "point",
                                      "topk=2 seed=4"}));
  const SweepPlan too_large = make_plan(f, sharing_host(15), {0.5, 0, ""});
  EXPECT_TRUE(too_large.shared.empty());
  const std::string note = too_large.experiment.options_note;
  EXPECT_NE(note.find("a process for each point"), std::string::npos);
  EXPECT_EQ(make_plan(f, sharing_host(15), {0.5, 0, note}).experiment.options_note, note)
      << "a sweep that goes on says it once";
  const SweepPlan alone = make_plan(file("[fixed]\ntokens = 64\n[axes]\ntopk = [1, 2]\nseed = [3, 4]"),
                                    sharing_host(16), {0.5, 0, ""});
  EXPECT_TRUE(alone.shared.empty());
  EXPECT_NE(alone.points[0].identity, plan.points[0].identity)
      << "steps that alternate are another measurement";
}

TEST(SharedCommand, HasTheChosenPointsInTheirOrder) {
  const StoredJson fused = {{"tokens", 64}, {"shared_fused", true}}, plain = {{"tokens", 64}},
                   blocks = {{"tokens", 64}, {"blocks", "bt=8,bf=16"}};
  const SharedCommand command = shared_command({fused, plain, blocks});
  EXPECT_EQ(command.of({2, 0}),
            (std::vector<std::string>{"--tokens", "64", "-L", "point", "blocks=bt=8,bf=16", "-L", "point",
                                      "shared_fused=true"}));
  EXPECT_EQ(command.of({1}), (std::vector<std::string>{"--tokens", "64", "-L", "point", ""}));
  EXPECT_EQ(command.of_all(), command.of({0, 1, 2}));
}

// An ablated point gives several records, so the process of a round would give more than the plan has points.
TEST(SweepPlan, PointsWithAblationsShareNoProcess) {
  const std::string toml = "[fixed]\nablate = 'pack'\n[axes]\ntopk = [1, 2]\n[measure]\nprocess = ";
  EXPECT_NO_THROW(make_plan(file(toml + "'point'"), sharing_host(16), {}));
  try {
    make_plan(file(toml + "'round'"), sharing_host(16), {});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(
        std::string(error.what()).rfind("q.toml:3:1: process = \"round\" cannot be used with ablate", 0), 0u)
        << error.what();
  }
}

TEST(SweepPlan, DurationsRoundTrip) {
  EXPECT_EQ(parse_duration("--budget", "90s"), 90);
  EXPECT_EQ(parse_duration("--budget", "1.5m"), 90);
  EXPECT_EQ(parse_duration("--budget", "2h"), 7200);
  for (const char* text : {"", "10", "m", "10 m", "-1m", "nanm", "0s", "1e9h", "10min"})
    EXPECT_THROW(parse_duration("--budget", text), InputError) << text;
  EXPECT_EQ(duration_text(59.4), "59s");
  EXPECT_EQ(duration_text(90), "1m30s");
  EXPECT_EQ(duration_text(600), "10m");
  EXPECT_EQ(duration_text(7260), "2h01m");
  EXPECT_EQ(duration_text(60), "1m");
  EXPECT_EQ(duration_text(3600), "1h00m");
  EXPECT_EQ(duration_text(9e14), "250000000000h00m");
  EXPECT_EQ(duration_text(3.6e20), "1e+17h") << "it has no whole seconds in 64 bits";
}

TEST(Sizing, OfADamagedDatabaseIsRefused) {
  const TemporaryFolder folder;
  const std::string database = folder.file("a.sqlite");
  const ExperimentFile f = file("[axes]\ntopk = [1, 2]");
  const SizingRequest request{"1h", "", 0};
  const SweepPlan plan = make_plan(f, host(), {});
  const StoredJson good = kept_sizing(request, host(), plan, {0.5, 0, ""});
  const auto choose = [&](const StoredJson& sizing) {
    {
      StoredExperiment stored = plan.experiment;
      stored.sizing = sizing;
      std::vector<StoredPoint> points;
      Store store = Store::open_or_create(database);
      Journal(store, this_process(), StoredJson::object()).save_plan(stored, points);
    }
    return choose_sizing(request, database, f, host());
  };
  EXPECT_EQ(choose(good).factor, 0.5);
  for (const std::string name : {"factor", "rounds"}) {
    StoredJson bad = good;
    bad.erase(name);
    EXPECT_THROW(choose(bad), InputError) << "no " << name;
    for (const char* value : {"null", "\"x\"", "-1", "0", "1e300"}) {
      bad[name] = StoredJson::parse(value);
      EXPECT_THROW(choose(bad), InputError) << name << " " << value;
    }
  }
}

}  // namespace
}  // namespace moehill
