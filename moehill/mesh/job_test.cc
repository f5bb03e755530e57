// Tests a command's view of its processes: alone, and as one rank whose peers give made-up answers.
#include "moehill/mesh/job.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

// This session is rank 0 of three; the test gives the answers of the others.
class MadeUpSession : public Session {
 public:
  int rank() const override { return 0; }
  int size() const override { return 3; }
  const Nodes& nodes() const override { return nodes_; }
  std::string library() const override { return "none"; }
  std::vector<int> own_cpus(int) const override { return {}; }
  int fair_threads() const override { return 1; }
  std::unique_ptr<Mesh> make_mesh(const MpiMeshOptions&) override { return nullptr; }
  std::unique_ptr<Group> make_library_group(ThreadTeam&) override { return nullptr; }
  std::string broadcast(const std::string& text) override { return text; }
  std::vector<std::string> gather(const std::string& text) override {
    std::vector<std::string> texts = {text};
    texts.insert(texts.end(), others.begin(), others.end());
    return texts;
  }
  std::vector<double> share(double value) override { return {value, values[0], values[1]}; }
  std::vector<std::string> exchange(const std::vector<std::string_view>&) override { return {}; }
  std::vector<ClockReading> read_clocks() override { return std::vector<ClockReading>(3); }
  void wait_quietly(Naps::Duration) override { ++num_waits; }
  void start_together() override {}
  [[noreturn]] void fail(const std::string&, int) noexcept override { std::abort(); }

  std::vector<std::string> others = {"", ""};
  double values[2] = {0, 0};
  int num_waits = 0;

 private:
  Nodes nodes_ = Nodes::of_size(3, 2);
};

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const AgreedInputError& error) {
    return error.what();
  }
  return "";
}

TEST(Job, OfOneProcessNeedsNobody) {
  const Job job;
  EXPECT_TRUE(job.is_root());
  EXPECT_EQ(job.num_processes(), 1);
  EXPECT_EQ(job.from_root("text"), "text");
  EXPECT_EQ(job.largest(3), 3);
  EXPECT_EQ(job.sum(3), 3);
  EXPECT_EQ(job.gather({1, 2}), (std::vector<std::vector<double>>{{1, 2}}));
  EXPECT_EQ(job.together([] { return 7; }), 7);
  job.require_same({"--tokens", "5"}, "build");
  EXPECT_THROW(job.together([]() -> int { throw InputError("bad"); }), InputError);
}

TEST(Job, ReducesOverAllProcesses) {
  MadeUpSession session;
  session.values[0] = 5;
  session.values[1] = -2;
  const Job job(&session);
  EXPECT_EQ(job.largest(3), 5);
  EXPECT_EQ(job.sum(3), 6);
  EXPECT_EQ(job.processes_of_a_node(), 2);  // three on two nodes
  EXPECT_EQ(session.node_size(), 2);
  job.on_root([&] { EXPECT_EQ(session.num_waits, 0); });
  EXPECT_EQ(session.num_waits, 1);  // the others have already gone on
}

TEST(Job, AProcessMayHaveNoValues) {
  MadeUpSession session;
  const double value = 7;
  session.others[1].assign(reinterpret_cast<const char*>(&value), sizeof value);
  const Job job(&session);
  EXPECT_EQ(job.gather({1, 2}), (std::vector<std::vector<double>>{{1, 2}, {}, {7}}));
  EXPECT_EQ(job.gather({}), (std::vector<std::vector<double>>{{}, {}, {7}}));
}

TEST(Job, BadInputOfAnotherProcessIsThrownHereWithItsRank) {
  MadeUpSession session;
  session.others = {"", "no such file"};
  const Job job(&session);
  EXPECT_EQ(error_of([&] { job.together([] { return 1; }); }), "no such file (on rank 2)");
  session.others = {"bad", "bad"};  // all fail equally: there is no rank to name
  EXPECT_EQ(error_of([&] { job.together([]() -> int { throw InputError("bad"); }); }), "bad");
}

TEST(Job, NamesTheOptionThatDiffers) {
  MadeUpSession session;
  session.others = {"build b\ncommand bench\n--tokens 5", "build b\ncommand bench\n--tokens 6"};
  const Job job(&session);
  const std::string error = error_of([&] { job.require_same({"bench", "--tokens", "5"}, "b"); });
  EXPECT_NE(error.find("--tokens 5 on rank 0, --tokens 6 on rank 2"), std::string::npos) << error;
  session.others[1] = session.others[0];
  EXPECT_EQ(error_of([&] { job.require_same({"bench", "--tokens=5"}, "b"); }), "");
  session.others = {"build b\ncommand bench", "build b\ncommand"};  // another rank's --help has no command
  EXPECT_NE(
      error_of([&] { job.require_same({"bench"}, "b"); }).find("command bench on rank 0, command on rank 2"),
      std::string::npos);
}

}  // namespace
}  // namespace moehill
