// From a plan to a program.
#include "moehill/simulation/program_builder.h"

#include <string_view>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
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
    for (const char* name : kStageNames) add_stage(name);
    if (problem_.spread == Spread::fused && num() > 1) overlap();
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

  void add_stage(std::string_view name) {
    std::vector<double> seconds(static_cast<size_t>(num()), 0.0);
    ByteMatrix bytes(num());
    bool exists = false, backward = false;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      exists = true;
      backward = stage->backward;
      seconds[static_cast<size_t>(d)] = work_seconds(problem_, hardware_, work_[static_cast<size_t>(d)],
                                                     *stage, hardware_.units_per_device, num())
                                            .total();
      for (const LinkWork& link : stage->links) add_messages(link, d, is_return(name), bytes);
    }
    if (!exists) return;
    const ProgramStage work{std::string(name), backward, seconds, {}};
    const ProgramStage exchange{std::string(name), backward, {}, {bytes}};
    const bool travels = bytes.total() > 0;
    if (is_dispatch(name)) program_.stages.push_back(work);
    if (travels) program_.stages.push_back(exchange);
    if (!is_dispatch(name)) program_.stages.push_back(work);
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

  // Joins the stages of each pass but for its plan and its weight gradients.
  void overlap() {
    StepProgram joined{num(), {}};
    for (const bool backward : {false, true}) {
      ProgramStage all{"overlapped", backward, std::vector<double>(static_cast<size_t>(num()), 0.0), {}};
      bool any = false;
      for (ProgramStage& stage : program_.stages) {
        if (stage.backward != backward) continue;
        if (stage.name == "plan") {
          joined.stages.push_back(stage);
        } else {
          any = true;
          join(stage, all);
        }
      }
      if (any) joined.stages.push_back(all);
    }
    program_ = std::move(joined);
  }

  void join(const ProgramStage& stage, ProgramStage& all) const {
    for (size_t d = 0; d < stage.seconds.size(); ++d) all.seconds[d] += stage.seconds[d];
    if (!stage.is_exchange()) return;
    if (all.bytes.empty()) all.bytes.emplace_back(num());
    for (int from = 0; from < num(); ++from) {
      for (int to = 0; to < num(); ++to) all.bytes[0].at(from, to) += stage.bytes[0].at(from, to);
    }
  }

  const WorkProblem& problem_;
  const PlanCounts& counts_;
  const Hardware& hardware_;
  std::vector<DeviceWork> work_;
  StepProgram program_;
};

}  // namespace

StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware) {
  return ProgramBuilder(problem, counts, hardware).make();
}

}  // namespace moehill
