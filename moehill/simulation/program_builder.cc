// From a plan to a program.
#include "moehill/simulation/program_builder.h"

#include <map>
#include <string>
#include <string_view>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/model/flight.h"
#include "moehill/model/predict.h"
#include "moehill/model/stage_list.h"

namespace moehill {
namespace {

bool is_return(std::string_view stage) { return stage == "reduce" || stage == "reduce_grad"; }
bool is_dispatch(std::string_view stage) { return stage == "dispatch" || stage == "dispatch_grad"; }

class ProgramBuilder {
 public:
  ProgramBuilder(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware)
      : problem_(problem), counts_(counts), hardware_(hardware), work_(all_work(problem, counts)) {
    program_.num_devices = counts.num_devices;
  }

  StepProgram make() {
    if (rows_fly(problem_, hardware_.topology, hardware_.is_chip(), num())) {
      for (const char* name : kStageNames) cover(name);
    }
    for (const char* name : kStageNames) add_stage(name);
    return std::move(program_);
  }

 private:
  int num() const { return counts_.num_devices; }

  const StageWork* find(int device, std::string_view name) const {
    for (const StageWork& stage : work_[static_cast<size_t>(device)].stages) {
      if (stage.stage == name) return &stage;
    }
    return nullptr;
  }

  WorkSeconds work_at(int device, const StageWork& stage) const {
    return work_seconds(problem_, hardware_, work_[static_cast<size_t>(device)], stage,
                        hardware_.units_per_device, num());
  }

  // Moves products that run while rows fly from their stage to the flight.
  void cover(const std::string& flight) {
    for (int d = 0; d < num(); ++d) {
      const size_t device = static_cast<size_t>(d);
      if (find(d, flight) == nullptr) continue;
      for (const Meanwhile& part : work_meanwhile(problem_, flight)) {
        const StageWork* stage = find(d, part.stage);
        if (stage == nullptr) continue;
        const double seconds = work_at(d, *stage).gemm * (part.own_rows ? work_[device].own_part : 1);
        seconds_by_device(under_, flight)[device] += seconds;
        seconds_by_device(moved_, part.stage)[device] += seconds;
      }
    }
  }

  void add_stage(const std::string& name) {
    std::vector<double> seconds(static_cast<size_t>(num()), 0.0);
    ByteMatrix flying(num()), bytes(num());
    bool exists = false, backward = false;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      exists = true;
      backward = stage->backward;
      seconds[static_cast<size_t>(d)] =
          work_at(d, *stage).total() - seconds_by_device(moved_, name)[static_cast<size_t>(d)];
      for (const LinkWork& link : stage->links) {
        if (!link.in_place) add_messages(link, d, is_return(name), link.in_flight ? flying : bytes);
      }
    }
    if (!exists) return;
    const auto add = [&](const std::vector<double>& work, const std::vector<ByteMatrix>& messages) {
      program_.stages.push_back({name, backward, work, messages});
    };
    if (is_dispatch(name)) add(seconds, {});
    const auto under = under_.find(name);
    const std::vector<double> meanwhile = under == under_.end() ? std::vector<double>{} : under->second;
    if (flying.total() > 0) {
      add(meanwhile, {flying});
    } else if (!meanwhile.empty()) {
      add(meanwhile, {});
    }
    if (bytes.total() > 0) add({}, {bytes});
    if (!is_dispatch(name)) add(seconds, {});
  }

  void add_messages(const LinkWork& link, int device, bool back, ByteMatrix& bytes) const {
    if (num() == 1) return;
    const int64_t row_bytes = link.op == LinkOp::all_to_all ? bytes_of_row(link, device, back) : 0;
    int i = 0;
    for (int other = 0; other < num(); ++other) {
      if (other == device) continue;
      switch (link.op) {
        case LinkOp::all_gather:
          bytes.at(device, other) += link.sent_bytes / (num() - 1);
          break;
        case LinkOp::reduce_scatter:
          bytes.at(other, device) += link.received_bytes / (num() - 1);
          break;
        case LinkOp::all_reduce:
          bytes.at(device, other) += share(link.sent_bytes, i++, num() - 1).size();
          break;
        case LinkOp::all_to_all:
          bytes.at(device, other) += row_bytes * rows(device, other, back);
          break;
      }
    }
  }

  // Rows that go from `device` to `other`: of its tokens to their experts, or back to their tokens.
  int64_t rows(int device, int other, bool back) const {
    return back ? counts_.pair_rows(other, device) : counts_.pair_rows(device, other);
  }

  int64_t bytes_of_row(const LinkWork& link, int device, bool back) const {
    int64_t sum = 0;
    for (int other = 0; other < num(); ++other) sum += other == device ? 0 : rows(device, other, back);
    if (sum == 0) return 0;
    MOEHILL_CHECK(link.sent_bytes % sum == 0, "{} bytes in {} rows", link.sent_bytes, sum);
    return link.sent_bytes / sum;
  }

  std::vector<double>& seconds_by_device(std::map<std::string, std::vector<double>>& stages,
                                         const std::string& name) const {
    std::vector<double>& seconds = stages[name];
    seconds.resize(static_cast<size_t>(num()), 0.0);
    return seconds;
  }

  const WorkProblem& problem_;
  const PlanCounts& counts_;
  const Hardware& hardware_;
  std::vector<DeviceWork> work_;
  std::map<std::string, std::vector<double>> under_, moved_;  // [P] seconds by flight; by stage
  StepProgram program_;
};

}  // namespace

StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware) {
  return ProgramBuilder(problem, counts, hardware).make();
}

}  // namespace moehill
