// ClimberTest is a climb whose program is a script that prints records of known speeds. It measures nothing.
//
//   TEST_F(ClimberTest, FindsTheFastest) { EXPECT_EQ(climb(options()).winner.options["impl"], "fast"); }
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "moehill/base/folder_fixture.h"
#include "moehill/climb/climber.h"
#include "moehill/store/store.h"

namespace moehill {

class ClimberTest : public testing::Test {
 protected:
  // The script stands for `bench`, with 1 % of noise. It starts no other program, since a climb runs it
  // hundreds of times. Its fast impl is 12 % faster and its fused path 30 % faster, but the path only 5 %
  // together with the fast impl. Its recomputation fails the check, and its ragged path needs too much
  // memory. With the scatter impl it also writes the record of an ablated step, which is a thousand times as
  // fast and must not be taken for a result. A test may change what it does by lines in a file.
  ClimberTest() {
    std::ofstream(program_) << R"(#!/bin/sh
log=)" + log_ + R"( n=0
[ ! -f "$log" ] || read -r n <"$log.lines"
n=$((n + 1))
echo $n >"$log.lines"
echo "$*" >>"$log"
ms=1000 rss=1000 tflops=1
case "$*" in *"--remat-mode combine"*) exit 3;; esac
case "$*" in *"ragged_a2a"*) rss=9000 ms=500;; esac
case "$*" in *"--ep-path fused"*"--impl fast"*|*"--impl fast"*"--ep-path fused"*) ms=700;;
  *"--impl fast"*) ms=880;; *"--ep-path fused"*) ms=770;; esac
case "$*" in *"--impl scatter"*)
  echo '{"schema":"moehill/1","ablated":["up","down"],"tflops":1000,"check":{"status":"passed"},"time_s":{"median":0.001,"samples":[0.001]}}';; esac
lines=)" + lines_ + R"(
[ ! -f "$lines" ] || . "$lines"
us=$((ms * 1000 + ms * (n * 7919 % 101 - 50) / 5))
printf '{"schema":"moehill/1","check":{"status":"passed"},"tflops":%d,"time_s":{"median":%d.%06d,"samples":[%d.%06d]},' \
  $tflops $((us / 1000000)) $((us % 1000000)) $((us / 1000000)) $((us % 1000000))
echo '"peak":{"fraction":0.5},"memory":{"peak_rss_bytes":'$rss'}}'
)";
    std::filesystem::permissions(program_, std::filesystem::perms::owner_all);
    host_.program = program_;
    host_.build = "test";
    host_.machine = "test";
    host_.resolve = [](SweptCommand, bool, const std::vector<std::string>& arguments) {
      StoredJson options = {{"tokens", "64"},          {"bench_pass", "forward_backward"},
                            {"parallel_mode", "none"}, {"ep_path", nullptr},
                            {"devices", "1"},          {"threads_per_device", "2"},
                            {"impl", "baseline"},      {"backend", "gmm"},
                            {"remat_mode", "none"},    {"routing_pack_strategy", "counting_sort"},
                            {"shared_expert_dim", "0"}};
      for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
        std::string name = arguments[i].substr(2);
        std::replace(name.begin(), name.end(), '-', '_');
        options[name] = arguments[i + 1];
      }
      ResolvedPoint point;
      point.options = options;
      point.seconds = 0.02;
      point.bytes = 500;
      if (options["backend"] == "gmm")  // the model knows the spread, in part
        point.step_seconds = options["parallel_mode"] == "none" ? 1.0
                             : options["parallel_mode"] == "dp" ? 2.0
                                                                : 0.9;
      return point;
    };
  }

  using Show = std::function<void(const std::string& line, bool finished)>;
  ClimbOutcome climb(
      const ClimbOptions& options, const Show& show = [](const std::string&, bool) {}) {
    Store store = Store::open_or_create(place_.file("climb.sqlite"));
    return Climber(host_, space_, options).run(store, show);
  }
  // Climbs along the axis `impl`, where every bench of the last comparison also runs these lines.
  ClimbOutcome climb_with_last(const std::string& lines) {
    return climb(impl_alone(), [&](const std::string& line, bool) {
      if (is_of_last(line)) std::ofstream(lines_) << lines;
    });
  }
  static bool is_of_last(const std::string& line) {
    return line.find("the winner beside") != std::string::npos;
  }
  ClimbOptions options() const {
    ClimbOptions o;
    o.base = {{"tokens", "64"}};
    o.memory_bytes = 5000;
    o.budget_s = 600;
    o.command = "moehill climb --tokens 64";
    o.clock = [] { return 0; };  // nothing but runs takes time
    o.begin_s = 0;
    return o;
  }
  ClimbOptions impl_alone() const {
    ClimbOptions o = options();
    o.base = {{"tokens", "64"},   {"parallel_mode", "none"}, {"backend", "gmm"},
              {"blocks", "bt=8"}, {"remat_mode", "none"},    {"routing_pack_strategy", "counting_sort"}};
    return o;
  }
  // A run takes one second, or two if the machine is busy and the run is repeated. Three seconds are
  // predicted of a run, and 3000 with one impl.
  void let_runs_take_a_second(ClimbOptions& o) {
    const auto resolve = host_.resolve;
    host_.resolve = [resolve](SweptCommand command, bool launched,
                              const std::vector<std::string>& arguments) {
      ResolvedPoint point = resolve(command, launched, arguments);
      point.seconds = point.options["impl"] == "preweight" ? 3000 : 3;
      return point;
    };
    o.clock = [&] { return static_cast<double>(num_runs()); };
    o.begin_s = o.clock();
  }
  int64_t num_runs() const {
    std::ifstream file(log_);
    int64_t n = 0;
    for (std::string line; std::getline(file, line);) ++n;
    return n;
  }

  const TemporaryFolder place_;
  const std::string program_ = place_.file("bench"), log_ = place_.file("log"), lines_ = place_.file("lines");
  SweepHost host_;
  const ClimbSpace space_{2, [](const StoredJson&) { return std::vector<std::string>{"bt=8", "bt=16"}; }};
};

}  // namespace moehill
