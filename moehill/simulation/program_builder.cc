// Implementation of simulation/program_builder.h: ProgramBuilder asks the model for the work of each stage
// and turns its link work into bytes from device to device.
#include "moehill/simulation/program_builder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/model/flight.h"
#include "moehill/model/link_work.h"
#include "moehill/model/predict.h"

namespace moehill {
namespace {

bool is_return(Stage stage) { return stage == Stage::reduce || stage == Stage::reduce_grad; }
bool is_dispatch(Stage stage) { return stage == Stage::dispatch || stage == Stage::dispatch_grad; }

// StageMessages are the messages of one stage. A matrix has P x P elements, so it is made only if it is
// needed.
struct StageMessages {
  std::optional<ByteMatrix> pairs{};
  // These [P] are the slices of collectives that are not direct; empty if there are none.
  std::vector<int64_t> summed{}, gathered{};
};

// ProgramBuilder makes one program.
class ProgramBuilder {
 public:
  ProgramBuilder(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware,
                 const MessageOptions& options)
      : problem_(problem),
        counts_(counts),
        hardware_(hardware),
        options_(options),
        nodes_(Nodes::of_size(counts.num_devices, hardware.topology.devices_per_node)),
        steps_(options.form, nodes_, counts.num_devices),
        work_(all_work(problem, counts)) {
    program_.num_devices = counts.num_devices;
    program_.group = options.group;
    for (const DeviceWork& device : work_) {
      // A backward pass also has the gradients of the weights.
      const double weights = device.weight_bytes * (problem.backward ? 2 : 1);
      program_.memory_bytes = std::max(program_.memory_bytes, weights + device.activation_bytes);
      std::vector<WorkSeconds>& seconds = seconds_.emplace_back();
      for (const StageWork& stage : device.stages)
        seconds.push_back(
            work_seconds(problem, hardware, device, stage, hardware.units_per_device, counts.num_devices));
    }
  }

  // Products that hide the flight of rows are taken out of their own stages first, then the stages are
  // written in order.
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

  // A device need not have every stage: a device without tokens has no shared expert, for example.
  const StageWork* find(int device, Stage name) const {
    for (const StageWork& stage : work_[static_cast<size_t>(device)].stages) {
      if (stage.stage == name) return &stage;
    }
    return nullptr;
  }

  // `stage` has to be one that find() has returned, since its position is its index.
  const WorkSeconds& work_at(int device, const StageWork& stage) const {
    const size_t d = static_cast<size_t>(device);
    return seconds_[d][static_cast<size_t>(&stage - work_[d].stages.data())];
  }

  // Returns the share of a stage's time that waits for memory, on the device that is slowest in the stage.
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

  // Moves products that run while rows fly from their own stage to the stage of the flight.
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

  // Covers a pass in waves. There are waves + 2 steps. In step s the rows of wave s and the sums of wave s -
  // 2 are on the link, and the products of wave s - 1 run meanwhile.
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

  // Returns the bytes of a stage's rows that are in flight, from device to device. They follow the routing.
  ByteMatrix flying_bytes(Stage name) const {
    StageMessages messages;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      for (const LinkWork& link : stage->links) {
        if (link.in_flight && !link.in_place) add_messages(link, d, is_return(name), messages);
      }
    }
    return messages.pairs ? *std::move(messages.pairs) : ByteMatrix(num());
  }

  // Returns, for each device, the share of its rows that the waves before wave w have: [waves + 1], from 0 to
  // 1. The experts that need a row decide its wave.
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

  // Adds the part of `bytes` between the shares `begin` and `end`. Parts are rounded at their ends, so
  // together they have exactly `bytes`.
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
          // Sums return in mirrored order, so the last wave has the most sums.
          if (s < 2) continue;
          add_part(sums.at(from, to), 1 - back[num_waves + 2 - s], 1 - back[num_waves + 1 - s],
                   bytes.at(from, to));
        }
      }
      program_.stages.push_back({name_of(s < num_waves ? dispatch : reduce), backward, steps[s],
                                 exchanges({.pairs = std::move(bytes)}), memory_part(Stage::up)});
    }
  }

  void add_stage(Stage name) {
    std::vector<double> seconds(static_cast<size_t>(num()), 0.0);
    StageMessages flying, other, first;
    bool exists = false;
    for (int d = 0; d < num(); ++d) {
      const StageWork* stage = find(d, name);
      if (stage == nullptr) continue;
      exists = true;
      seconds[static_cast<size_t>(d)] =
          work_at(d, *stage).total() - seconds_by_device(moved_, name)[static_cast<size_t>(d)];
      for (const LinkWork& link : stage->links) {
        if (link.in_place || (in_waves_ && link.in_flight)) continue;
        // With two levels the sums within a node have to be complete before they go back to other nodes.
        const bool is_first = link.way == RowWay::inside && is_return(name);
        add_messages(link, d, is_return(name), link.in_flight ? flying : is_first ? first : other);
      }
    }
    if (!exists) return;
    const auto add = [&](const std::vector<double>& work, std::vector<Exchange> messages) {
      if (work.empty() && messages.empty()) return;
      program_.stages.push_back(
          {name_of(name), is_backward(name), work, std::move(messages), memory_part(name)});
    };
    // A dispatch packs rows before they travel. A return adds rows up after they have travelled.
    if (is_dispatch(name)) add(seconds, {});
    if (is_dispatch(name) && in_waves_) add_waves(name);
    add({}, exchanges(std::move(first)));
    const auto under = under_.find(name);
    add(under == under_.end() ? std::vector<double>{} : under->second, exchanges(std::move(flying)));
    add({}, exchanges(std::move(other)));
    if (!is_dispatch(name)) add(seconds, {});
  }

  // Returns the exchanges in the order in which they follow each other, without those that have no bytes.
  std::vector<Exchange> exchanges(StageMessages messages) const {
    std::vector<Exchange> all;
    const auto add = [&](const ByteMatrix& bytes, int messages_of_pair) {
      Exchange exchange =
          make_exchange(bytes, {options_.group, hardware_.topology.devices_per_node}, messages_of_pair);
      if (exchange.sums.total > 0) all.push_back(std::move(exchange));
    };
    if (messages.pairs && options_.form == CollectiveForm::direct) {
      add(*messages.pairs, 1);
    } else if (messages.pairs) {
      for (int s = 0; s < steps_.num_pair_steps(); ++s) add(steps_.pair_step(*messages.pairs, s), 1);
    }
    for (int s = 0; !messages.summed.empty() && s < steps_.num_gather_steps(); ++s)
      add(steps_.scatter_step(messages.summed, s), steps_.messages_of_pair());
    for (int s = 0; !messages.gathered.empty() && s < steps_.num_gather_steps(); ++s)
      add(steps_.gather_step(messages.gathered, s), steps_.messages_of_pair());
    return all;
  }

  void add_messages(const LinkWork& link, int device, bool back, StageMessages& messages) const {
    if (num() == 1) return;
    if (options_.form != CollectiveForm::direct && link.op != Collective::all_to_all)
      return add_slices(link, device, messages);
    if (!messages.pairs) messages.pairs.emplace(num());
    ByteMatrix& bytes = *messages.pairs;
    if (link.is_even && link.way == RowWay::inside) return add_even_inside(link, device, bytes);
    // `i` numbers the other devices. The bytes of an all_reduce need not divide evenly among them, so share()
    // cuts them and loses none.
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
          bytes.at(device, other) += bytes_to(link, device, other, back);
          break;
      }
    }
  }

  // Adds the device's slice of the values that are summed or gathered, for forms in which slices travel on.
  void add_slices(const LinkWork& link, int device, StageMessages& messages) const {
    const auto add = [&](std::vector<int64_t>& slices, int64_t bytes) {
      slices.resize(static_cast<size_t>(num()));
      slices[static_cast<size_t>(device)] += bytes / (num() - 1);
    };
    if (link.op == Collective::reduce_scatter) return add(messages.summed, link.received_bytes);
    if (link.op == Collective::all_gather) return add(messages.gathered, link.sent_bytes);
    add(messages.summed, link.sent_bytes / 2);
    add(messages.gathered, link.sent_bytes - link.sent_bytes / 2);
  }

  // Returns the bytes of an all_to_all: as many to each device, gradients of copies of experts, or rows by
  // the routing.
  int64_t bytes_to(const LinkWork& link, int device, int other, bool back) const {
    if (link.is_even) return link.sent_bytes / (num() - 1);
    if (link.copy_bytes > 0) {
      const int from = link.to_copies ? other : device, home = link.to_copies ? device : other;
      return link.copy_bytes *
             problem_
                 .copies[static_cast<size_t>(from) * static_cast<size_t>(num()) + static_cast<size_t>(home)];
    }
    return row_bytes_between(counts_, link, device, other) * rows(link.way, device, other, back);
  }

  // Returns the rows that go from `device` to `other`: rows of its tokens to their experts, or sums back to
  // their tokens.
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
  const MessageOptions options_;
  const Nodes nodes_;
  const CollectiveSteps steps_;
  std::vector<DeviceWork> work_;
  std::vector<std::vector<WorkSeconds>> seconds_;  // [P][stages]
  std::map<Stage, std::vector<double>> under_,
      moved_;  // [P] seconds that run under a flight; seconds moved out of a stage
  bool in_waves_ = false;
  std::map<Stage, std::vector<std::vector<double>>> wave_work_;  // [waves + 2][P] seconds, by dispatch
  StepProgram program_;
};

// Returns the collectives in the steps of this problem. They do not depend on the number of devices, so two
// devices with an expert each suffice to find them.
std::set<Collective> collectives_of(const WorkProblem& problem) {
  PlanCounts counts;
  counts.tokens = counts.num_devices = 2;
  counts.experts = 2, counts.topk = 1;
  counts.kept.resize(2), counts.local_kept.resize(4), counts.pairs.resize(4);
  counts.nodes = Nodes::of_size(2, 1);
  counts.node_rows.resize(4), counts.inside.resize(2);
  std::set<Collective> found;
  for (const StageWork& stage : device_work(problem, counts, 0).stages) {
    for (const LinkWork& link : stage.links) {
      if (!link.in_place) found.insert(link.op);
    }
  }
  return found;
}

}  // namespace

StepProgram build_program(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware,
                          const MessageOptions& options) {
  return ProgramBuilder(problem, counts, hardware, options).make();
}

void refuse_form_without_effect(const WorkProblem& problem, CollectiveForm form, int num_devices,
                                int devices_per_node) {
  if (form == CollectiveForm::direct) return;
  const auto refuse = [&](const std::string& what, const std::string& remedy) {
    throw input_error("--collective-form", fmt::format("{} {}", name_of(form), what), "direct", remedy);
  };
  if (num_devices < 3) refuse("on less than 3 devices, which is the direct one", "take more devices");
  if (form == CollectiveForm::two_level && num_devices <= devices_per_node)
    refuse("on one node", "take more devices than a node has");
  if (form == CollectiveForm::two_level && devices_per_node == 1)
    refuse("with one device a node", "take --hardware with more devices a node");
  if (form != CollectiveForm::ring) return;
  const std::set<Collective> found = collectives_of(problem);
  if (found.size() == 1 && found.contains(Collective::all_to_all))
    refuse(
        fmt::format("for {}, whose rows and numbers all go by the routing: a ring would carry them through "
                    "the devices between",
                    name_of(problem.spread)),
        "use tree or two-level");
}

}  // namespace moehill
