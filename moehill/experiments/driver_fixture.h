// DriverTest is a sweep whose program is a small script that prints a record. A test may write another
// script.
//
//   TEST_F(DriverTest, RunsAll) { EXPECT_EQ(sweep().counts.done, kPoints); }
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iostream>
#include <set>
#include <string>

#include "moehill/experiments/driver.h"
#include "moehill/store/store_fixture.h"

namespace moehill {

inline constexpr int kPoints = 5, kRounds = 8;

class DriverTest : public testing::Test {
 protected:
  DriverTest() : database_(folder_.file("a.sqlite")), log_(folder_.file("log")) {
    write_program("sleep 0.01; " + print_record("[1, 2]"));
  }

  static std::string print_record(const std::string& samples) {
    return R"(echo '{"schema":"moehill/1","tflops":1,"check":{"status":"passed"},"time_s":{"median":1,)"
           R"("samples":)" +
           samples + "}}'";
  }

  void write_program(const std::string& body) {
    host_.program = folder_.file("program");
    std::ofstream(host_.program) << "#!/bin/sh\necho \"$@\" >>" << log_ << "\n" << body << "\n";
    chmod(host_.program.c_str(), 0755);
  }

  SweepPlan plan() const {
    SweepPlan plan;
    plan.experiment = small_experiment(kRounds, 1);
    plan.experiment.timeout_s = 20;
    for (int i = 0; i < kPoints; ++i) {
      StoredPoint point;
      point.identity = point.label = "p" + std::to_string(i);
      point.position = i;
      point.arguments = {"--point", std::to_string(i)};
      plan.points.push_back(point);
    }
    plan.devices.assign(kPoints, 1);
    plan.tokens.assign(kPoints, 1);
    return plan;
  }

  // A plan of the first points, for one round.
  SweepPlan plan_of_one_round(size_t num_points) const {
    SweepPlan p = plan();
    p.points.resize(num_points);
    p.devices.resize(num_points);
    p.tokens.resize(num_points);
    p.experiment.rounds = 1;
    return p;
  }
  // Options of a race of one round.
  static DriverOptions race_of_one_round() {
    DriverOptions options;
    options.show = [](const std::string&, bool) {};
    options.goes_on = [](int64_t) { return false; };
    return options;
  }

  SweepOutcome sweep() {
    Store store = Store::open_or_create(database_);
    SweepPlan p = plan();
    DriverOptions options;
    options.show = [](const std::string&, bool) {};
    return run_sweep(store, p, host_, options);
  }

  // Starts another process. Its exit status is 0, or 5 for an error of the store.
  pid_t start_sweep(rlim_t file_limit = RLIM_INFINITY) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    const rlimit limit{file_limit, file_limit};
    signal(SIGXFSZ, SIG_IGN);  // as the program does
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      _exit(sweep().end == SweepEnd::done ? 0 : 75);
    } catch (const StoreError& error) {
      std::cerr << error.what() << std::endl;
      _exit(5);
    }
  }

  static int wait_for(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string text_of(const std::string& query) const {
    Database database(database_, Access::read_write);
    Statement statement(database, query);
    return statement.step() ? statement.text(0) : "";
  }
  int64_t number_of(const std::string& query) const {
    const std::string text = text_of("SELECT count(*) FROM " + query);
    return text.empty() ? 0 : std::stoll(text);
  }

  // Returns the runs with a result, as "point round".
  std::set<std::string> results() const {
    std::set<std::string> found;
    Database database(database_, Access::read_write);
    Statement statement(database, "SELECT point_id || ' ' || round FROM attempt WHERE counts = 1");
    while (statement.step()) EXPECT_TRUE(found.insert(statement.text(0)).second);
    return found;
  }

  int64_t runs_started() const {
    std::ifstream file(log_);
    int64_t lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  void expect_complete() const {
    EXPECT_EQ(text_of("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(text_of("PRAGMA foreign_key_check"), "");
    EXPECT_EQ(results().size(), static_cast<size_t>(kPoints * kRounds));
    EXPECT_EQ(number_of("point WHERE state != 'done'"), 0);
    EXPECT_EQ(number_of("result"), kPoints * kRounds);  // one record of each
    EXPECT_EQ(number_of("attempt WHERE state = 'done' AND id NOT IN (SELECT attempt_id FROM record)"), 0);
    EXPECT_LE(4 * number_of("attempt WHERE state = 'done' AND counts = 0"),
              kPoints * kRounds);  // disturbed ones
  }

  TemporaryFolder folder_;
  std::string database_, log_;
  SweepHost host_;
};

}  // namespace moehill
