// Makes a program of a plan.
#include "moehill/simulation/program_builder.h"

#include <cmath>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/model/flight.h"
#include "moehill/model/link_work.h"
#include "moehill/model/predict.h"

namespace moehill {
namespace {

bool is_return(Stage stage) { return stage == Stage::reduce || stage == Stage::reduce_grad; }
bool is_dispatch(Stage stage) { return stage == Stage::dispatch || stage == Stage::dispatch_grad; }

class ProgramBuilder {
 public:
  ProgramBuilder(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware)
      : problem_(problem), counts_(counts), hardware_(hardware), work_(all_work(problem, counts)) {
    program_.num_devices = counts.num_devices;
  }

  StepProgram make() {
    if (rows_fly(problem_, hardware_.topology, hardware_.is_chip(), num())) {
      in_waves_ = goes_in_waves(problem_) && problem_.num_waves > 1;
      for (const Stage stage : all_values<Stage>()) in_waves_ ? cover_waves(stage) : cover(stage);
    }
    for (const Stage stage : all_values<Stage>()) add_stage(stage);
    return std::move(program_);
  }

 private:
  int num() const { return counts_.num_devices; }

  const StageWork* find(int device, Stage name) const {
    for (const StageWork& stage : work_[static_cast<size_t>(device)].stages) {
      if (stage.stage == name) return &stage;
    }
    return nullptr;
  }

  WorkSeconds work_at(int device, const StageWork& stage) const {
    return work_seconds(problem_, hardware_, work_[static_cast<size_t>(device)], stage,
                        hardware_.units_per_device, num());
  }

  double memory_part(Stage name) const {
    double slowest = 0, part = 0;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      const WorkSeconds work = work_at(d, *stage);
      if (work.total() <= slowest) continue;
      slowest = work.total();
      const bool bound = is_memory_bound(problem_, hardware_, *stage, hardware_.units_per_device, num());
      part = (work.rows + (bound ? work.gemm : 0)) / slowest;
    }
    return part;
  }

  // Moves products that run while rows fly from their stage to the flight.
  void cover(Stage flight) {
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

  // Covers a pass in waves: step s of waves + 2 has the rows of wave s on the link, the sums of wave s -
  // 2, and the products of wave s - 1 in between.
  void cover_waves(Stage dispatch) {
    if (!is_dispatch(dispatch)) return;
    const bool backward = dispatch == Stage::dispatch_grad;
    const size_t num_waves = static_cast<size_t>(problem_.num_waves);
    std::vector<std::vector<double>>& steps = wave_work_[dispatch];
    steps.assign(num_waves + 2, std::vector<double>(static_cast<size_t>(num())));
    for (int d = 0; d < num(); ++d) {
      const size_t device = static_cast<size_t>(d);
      const WavePass pass = wave_pass(problem_, backward, work_[device].own_part, [&](Stage name) {
        const StageWork* stage = find(d, name);
        if (stage == nullptr) return 0.0;
        return seconds_by_device(moved_, name)[device] = work_at(d, *stage).gemm;
      });
      const double part = 1.0 / problem_.num_waves;
      const double kept = pass.keeps_last_own ? part * pass.second_own : 0;
      const double rest = pass.first_rest + pass.second_rest + pass.second_own;
      steps.front()[device] = pass.before + pass.first_own;
      for (size_t w = 1; w <= num_waves; ++w) steps[w][device] = part * rest - (w == num_waves ? kept : 0);
      steps.back()[device] = kept + pass.after;
    }
  }

  // Bytes of the rows in flight of a stage.
  ByteMatrix flying_bytes(Stage name) const {
    ByteMatrix bytes(num());
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      for (const LinkWork& link : stage->links) {
        if (link.in_flight && !link.in_place) add_messages(link, d, is_return(name), bytes);
      }
    }
    return bytes;
  }

  // Returns the part of each device's rows, by the experts that want them, that the waves before wave w have;
  // [waves + 1] up to 1.
  std::vector<std::vector<double>> parts_before_waves() const {
    std::vector<std::vector<double>> parts;
    for (int d = 0; d < num(); ++d) {
      std::vector<double> before = {0};
      for (const double share : shares_of_waves(problem_.num_waves, experts_of_row(counts_, d)))
        before.push_back(before.back() + share);
      before.back() = 1;
      parts.push_back(std::move(before));
    }
    return parts;
  }

  // The part between `begin` and `end` of what each pair exchanges; the parts add up to the byte.
  void add_part(int64_t bytes, double begin, double end, int64_t& part) const {
    const auto cut = [&](double at) { return std::llround(static_cast<double>(bytes) * at); };
    part += cut(end) - cut(begin);
  }

  void add_waves(Stage dispatch) {
    const bool backward = dispatch == Stage::dispatch_grad;
    const Stage reduce = backward ? Stage::reduce_grad : Stage::reduce;
    const ByteMatrix rows = flying_bytes(dispatch), sums = flying_bytes(reduce);
    const std::vector<std::vector<double>> before = parts_before_waves();
    const std::vector<std::vector<double>>& steps = wave_work_[dispatch];
    const size_t num_waves = steps.size() - 2;
    for (size_t s = 0; s < steps.size(); ++s) {
      ByteMatrix bytes(num());
      for (int from = 0; from < num(); ++from) {
        for (int to = 0; to < num(); ++to) {
          const std::vector<double>& there = before[static_cast<size_t>(to)];
          const std::vector<double>& back = before[static_cast<size_t>(from)];
          if (s < num_waves) add_part(rows.at(from, to), there[s], there[s + 1], bytes.at(from, to));
          // Sums return in the mirrored order: the last wave has the most.
          if (s < 2) continue;
          add_part(sums.at(from, to), 1 - back[num_waves + 2 - s], 1 - back[num_waves + 1 - s],
                   bytes.at(from, to));
        }
      }
      std::vector<ByteMatrix> messages;
      if (bytes.total() > 0) messages.push_back(bytes);
      program_.stages.push_back(
          {name_of(s < num_waves ? dispatch : reduce), backward, steps[s], messages, memory_part(Stage::up)});
    }
  }

  void add_stage(Stage name) {
    std::vector<double> seconds(static_cast<size_t>(num()), 0.0);
    ByteMatrix flying(num()), bytes(num()), first(num());
    bool exists = false;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      exists = true;
      seconds[static_cast<size_t>(d)] =
          work_at(d, *stage).total() - seconds_by_device(moved_, name)[static_cast<size_t>(d)];
      for (const LinkWork& link : stage->links) {
        if (link.in_place || (in_waves_ && link.in_flight)) continue;
        // A node's sums are there before they go back across.
        const bool is_first = link.way == RowWay::inside && is_return(name);
        add_messages(link, d, is_return(name), link.in_flight ? flying : is_first ? first : bytes);
      }
    }
    if (!exists) return;
    const auto add = [&](const std::vector<double>& work, const std::vector<ByteMatrix>& messages) {
      program_.stages.push_back({name_of(name), is_backward(name), work, messages, memory_part(name)});
    };
    if (is_dispatch(name)) add(seconds, {});
    if (is_dispatch(name) && in_waves_) add_waves(name);
    if (first.total() > 0) add({}, {first});
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
    const bool by_rows = link.op == Collective::all_to_all && !link.is_even;
    if (link.is_even && link.way == RowWay::inside) return add_even_inside(link, device, bytes);
    int i = 0;
    for (int other = 0; other < num(); ++other) {
      if (other == device) continue;
      switch (link.op) {
        case Collective::all_gather:
          bytes.at(device, other) += link.sent_bytes / (num() - 1);
          break;
        case Collective::reduce_scatter:
          bytes.at(other, device) += link.received_bytes / (num() - 1);
          break;
        case Collective::all_reduce:
          bytes.at(device, other) += share(link.sent_bytes, i++, num() - 1).size();
          break;
        case Collective::all_to_all:
          bytes.at(device, other) +=
              by_rows ? row_bytes_between(counts_, link, device, other) * rows(link.way, device, other, back)
                      : link.sent_bytes / (num() - 1);
          break;
      }
    }
  }

  // Rows that go from `device` to `other`: of its tokens to their experts, or back to their tokens.
  int64_t rows(RowWay way, int device, int other, bool back) const {
    return back ? rows_between(counts_, way, other, device) : rows_between(counts_, way, device, other);
  }

  void add_even_inside(const LinkWork& link, int device, ByteMatrix& bytes) const {
    const std::span<const int> ranks = counts_.nodes.ranks_of(counts_.nodes.of(device));
    for (const int other : ranks) {
      if (other != device) bytes.at(device, other) += link.sent_bytes / (std::ssize(ranks) - 1);
    }
  }

  std::vector<double>& seconds_by_device(std::map<Stage, std::vector<double>>& stages, Stage name) const {
    std::vector<double>& seconds = stages[name];
    seconds.resize(static_cast<size_t>(num()), 0.0);
    return seconds;
  }

  const WorkProblem& problem_;
  const PlanCounts& counts_;
  const Hardware& hardware_;
  std::vector<DeviceWork> work_;
  std::map<Stage, std::vector<double>> under_, moved_;  // [P] seconds by flight; by stage
  bool in_waves_ = false;
  std::map<Stage, std::vector<std::vector<double>>> wave_work_;  // [waves + 2][P] seconds by dispatch
  StepProgram program_;
};

}  // namespace

StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware) {
  return ProgramBuilder(problem, counts, hardware).make();
}

}  // namespace moehill
