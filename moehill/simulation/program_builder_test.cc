// Tests of programs made from plans: their messages have the bytes that the model says, for each device and
// in total.
#include "moehill/simulation/program_builder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

Hardware hardware() { return load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml"); }

PlanCounts counts_of(int num_devices) {
  const Routing routing = route_topk(make_logits({}, 67, 12, 3, 4), 67, 12, 3);
  return count_plan(routing, {}, num_devices, Nodes::of_size(num_devices, 2));
}

WorkProblem problem_of(Spread spread) {
  WorkProblem problem;
  problem.hidden = 40;
  problem.mlp_dim = 24;
  problem.shared_dim = 16;
  problem.spread = spread;
  return problem;
}

double seconds_of(const StepProgram& program) {
  double sum = 0;
  for (const ProgramStage& stage : program.stages) {
    for (const double s : stage.seconds) sum += s;
  }
  return sum;
}

// Returns how many stages have rows in flight with work under them.
int64_t flights_of(const StepProgram& program) {
  return std::count_if(program.stages.begin(), program.stages.end(),
                       [](const ProgramStage& s) { return s.is_work() && s.is_exchange(); });
}

TEST(ProgramBuilder, MessagesOfExpertsOfAnotherWidthAreTheModelsBytes) {
  const PlanCounts counts = counts_of(5);
  for (const Spread spread : {Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused}) {
    for (const bool has_norm : {false, true}) {
      WorkProblem problem = problem_of(spread);
      problem.latent = 20;
      problem.latent_norm = has_norm;
      const StepProgram program = build_program(problem, counts, hardware());
      int64_t sent = 0;
      for (int d = 0; d < 5; ++d) sent += device_work(problem, counts, d).sent_bytes();
      // A ring's share of a sum is cut at whole bytes for each peer.
      EXPECT_LE(std::abs(program.total_bytes() - sent), 5 * 5 * 8) << name_of(spread);
      EXPECT_EQ(flights_of(program) > 0,
                flights_of(build_program(problem_of(spread), counts, hardware())) > 0);
    }
  }
}

// Rows between nodes travel in the wire's form; other rows and all sums travel as they are stored.
TEST(ProgramBuilder, RowsBetweenNodesAreOfTheWiresBytes) {
  const PlanCounts counts = counts_of(5);
  for (const Spread spread : {Spread::ragged_a2a, Spread::fused, Spread::hierarchical}) {
    WorkProblem problem = problem_of(spread);
    const int64_t native = build_program(problem, counts, hardware()).total_bytes();
    problem.wire = Wire::fp8_scales;
    const StepProgram program = build_program(problem, counts, hardware());
    int64_t sent = 0, far_rows = 0;
    for (int d = 0; d < 5; ++d) {
      sent += device_work(problem, counts, d).sent_bytes();
      for (int to = 0; to < 5; ++to) {
        if (d / 2 != to / 2)
          far_rows += spread == Spread::hierarchical ? counts.across_rows(d, to) : counts.pair_rows(d, to);
      }
    }
    EXPECT_EQ(program.total_bytes(), sent) << name_of(spread);
    EXPECT_GT(far_rows, 0);
    EXPECT_EQ(native - sent, 2 * far_rows * (2 * 40 - (40 + 4))) << name_of(spread);
  }
}

TEST(ProgramBuilder, MessagesAreTheModelsBytes) {
  for (const int num_devices : {2, 5}) {
    const PlanCounts counts = counts_of(num_devices);
    for (const Spread spread : {Spread::dp, Spread::compact_psum, Spread::dense_masked, Spread::ring_ag_rs,
                                Spread::ragged_a2a, Spread::fused, Spread::hierarchical}) {
      const WorkProblem problem = problem_of(spread);
      const StepProgram program = build_program(problem, counts, hardware());
      int64_t total = 0;
      for (int d = 0; d < num_devices; ++d) {
        const int64_t sent = device_work(problem, counts, d).sent_bytes();
        total += sent;
        if (spread != Spread::compact_psum && spread != Spread::dense_masked &&
            spread != Spread::ring_ag_rs && spread != Spread::ragged_a2a && spread != Spread::hierarchical)
          continue;
        int64_t row = 0;
        for (const ProgramStage& stage : program.stages) {
          for (const Exchange& exchange : stage.exchanges) {
            for (const Flow& flow : exchange.sends[static_cast<size_t>(d)]) row += flow.bytes;
          }
        }
        EXPECT_EQ(row, sent) << name_of(spread) << " device " << d;
      }
      EXPECT_EQ(program.total_bytes(), total) << name_of(spread);
    }
  }
}

// The gradients of a copied expert go to its home, and their sums go back.
TEST(ProgramBuilder, GradientsOfCopiesAreMessages) {
  const PlanCounts counts = counts_of(5);
  for (const Spread spread :
       {Spread::compact_psum, Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused, Spread::hierarchical}) {
    WorkProblem problem = problem_of(spread);
    const int64_t without = build_program(problem, counts, hardware()).total_bytes();
    problem.copies.assign(25, 0);
    problem.copies[1 * 5 + 0] = 2;  // device 1 has copies of two experts of device 0
    problem.copies[4 * 5 + 2] = 1;
    int64_t sent = 0;
    for (int d = 0; d < 5; ++d) sent += device_work(problem, counts, d).sent_bytes();
    const StepProgram program = build_program(problem, counts, hardware());
    EXPECT_EQ(program.total_bytes(), sent) << name_of(spread);
    EXPECT_EQ(program.total_bytes() - without, 2 * 3 * 2 * expert_elements(problem).total())
        << name_of(spread);
  }
}

// Several waves have the bytes and seconds of one wave, in more steps.
TEST(ProgramBuilder, WavesMoveTheSameBytesAndDoTheSameWork) {
  const PlanCounts counts = counts_of(12);  // of nodes of 8
  WorkProblem problem = problem_of(Spread::fused);
  const StepProgram one = build_program(problem, counts, hardware());
  problem.num_waves = 3;
  const StepProgram three = build_program(problem, counts, hardware());
  EXPECT_EQ(three.total_bytes(), one.total_bytes());
  EXPECT_NEAR(seconds_of(three), seconds_of(one), 1e-9 * seconds_of(one));
  EXPECT_EQ(flights_of(three), 2 * (3 + 2));  // rows of wave s beside sums of wave s - 2
  for (const ProgramStage& stage : three.stages) {
    for (const double s : stage.seconds) EXPECT_GE(s, 0) << stage.name;
  }
}

// Work under flying rows moves to another place in the step. None of it is lost or done twice.
TEST(ProgramBuilder, FlightsHoldWorkThatIsNotInItsStage) {
  const PlanCounts counts = counts_of(12);  // of nodes of 8
  const StepProgram far = build_program(problem_of(Spread::fused), counts, hardware());
  Hardware one_node = hardware();
  one_node.topology.devices_per_node = 12;
  one_node.node_memory_bytes_per_s *= 1.5;  // work is the same with as much memory bandwidth a device
  const StepProgram near = build_program(problem_of(Spread::fused), counts, one_node);
  EXPECT_EQ(flights_of(far), 4);
  EXPECT_EQ(flights_of(near), 0);
  EXPECT_EQ(far.total_bytes(), near.total_bytes());
  EXPECT_NEAR(seconds_of(far), seconds_of(near), 1e-9 * seconds_of(near));
}

TEST(ProgramBuilder, OneDeviceSendsNothing) {
  const StepProgram program = build_program(problem_of(Spread::none), counts_of(1), hardware());
  EXPECT_EQ(program.total_bytes(), 0);
  EXPECT_GT(program.stages.size(), 5u);
}

// Collectives in another form have the bytes of the direct form, except for the rounding of slices. A ring
// and a two-level form send fewer bytes between nodes.
TEST(ProgramBuilder, FormsMoveTheSlicesOfTheDirectForm) {
  const PlanCounts counts = counts_of(12);  // of nodes of 8
  for (const Spread spread : {Spread::dp, Spread::compact_psum, Spread::ring_ag_rs}) {
    const WorkProblem problem = problem_of(spread);
    const StepProgram direct = build_program(problem, counts, hardware());
    for (const CollectiveForm form :
         {CollectiveForm::ring, CollectiveForm::tree, CollectiveForm::two_level}) {
      const StepProgram other = build_program(problem, counts, hardware(), {.group = 1, .form = form});
      const auto total = static_cast<double>(direct.total_bytes());
      EXPECT_NEAR(static_cast<double>(other.total_bytes()), total, 1e-2 * total) << name_of(form);
      EXPECT_NEAR(seconds_of(other), seconds_of(direct), 1e-9 * seconds_of(direct));
      if (form == CollectiveForm::tree) continue;
      EXPECT_LT(other.network_bytes(), direct.network_bytes()) << name_of(form) << name_of(spread);
    }
  }
}

TEST(ProgramBuilder, FormsWithoutEffectAreRefused) {
  const auto outcome = [](Spread spread, CollectiveForm form, int num_devices, int64_t shared_dim) {
    WorkProblem problem = problem_of(spread);
    problem.shared_dim = shared_dim;
    try {
      refuse_form_without_effect(problem, form, num_devices, 8);
      return std::string("accepted");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(outcome(Spread::dp, CollectiveForm::ring, 16, 0), "accepted");
  EXPECT_EQ(outcome(Spread::ragged_a2a, CollectiveForm::tree, 16, 0), "accepted");
  EXPECT_EQ(outcome(Spread::ragged_a2a, CollectiveForm::ring, 16, 16), "accepted");  // the shared gradients
  EXPECT_EQ(outcome(Spread::ragged_a2a, CollectiveForm::direct, 1, 0), "accepted");
  EXPECT_NE(outcome(Spread::ragged_a2a, CollectiveForm::ring, 16, 0).find("routing"), std::string::npos);
  EXPECT_NE(outcome(Spread::dp, CollectiveForm::two_level, 8, 0).find("one node"), std::string::npos);
  EXPECT_NE(outcome(Spread::dp, CollectiveForm::tree, 2, 0).find("3 devices"), std::string::npos);
}

TEST(Exchange, KeepsAllBytesInGroupsOfAnySize) {
  ByteMatrix bytes(11);
  for (int from = 0; from < 11; ++from) {
    for (int to = 0; to < 11; ++to) bytes.at(from, to) = from == to ? 0 : 1 + from * 11 + to;
  }
  for (const int group : {1, 4, 8, 16}) {
    const Exchange exchange = make_exchange(bytes, {group, 4});
    int64_t sum = 0;
    int num_sent = 0, num_received = 0;
    for (const auto& flows : exchange.sends) {
      for (const Flow& flow : flows) sum += flow.bytes;
      num_sent += static_cast<int>(flows.size());
    }
    for (const int n : exchange.num_received) num_received += n;
    EXPECT_EQ(sum, bytes.total());
    EXPECT_EQ(exchange.sums.total, bytes.total());
    EXPECT_EQ(num_sent, num_received);
  }
  EXPECT_EQ(group_size(128, 8, 128), 1);
  EXPECT_EQ(group_size(129, 8, 128), 8);
  EXPECT_EQ(group_size(256, 8, 128), 8);
  EXPECT_EQ(group_size(512, 8, 128), 64);    // 7 flows to other groups, 7 within
  EXPECT_EQ(group_size(1024, 8, 128), 64);   // 15 flows to other groups, 7 within
  EXPECT_EQ(group_size(4096, 8, 128), 128);  // 31 flows to other groups, 15 within
  EXPECT_EQ(group_size(4096, 8, 16), 256);
  EXPECT_EQ(group_size(200, 1, 128), 16);
}

}  // namespace
}  // namespace moehill
