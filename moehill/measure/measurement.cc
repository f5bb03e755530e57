// Implementation of measure/measurement.h. A point passes through prepare_point() (make, step, check), then
// through the rounds of time(): make_ready(), the step, hold_to_checked(). The checks themselves are in
// measurement_check.cc. Figures that follow from the samples are in measure/results.h.
#include "moehill/measure/measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>
#include <utility>

#include "moehill/base/rng.h"
#include "moehill/base/table.h"
#include "moehill/base/values_in.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/interruption.h"
#include "moehill/machine/memory.h"
#include "moehill/machine/pinning.h"
#include "moehill/measure/comm_bytes.h"
#include "moehill/measure/memory_check.h"
#include "moehill/measure/read_passes.h"
#include "moehill/measure/replicas.h"
#include "moehill/moe/oracle.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/row_route.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/quiet/environment.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {
namespace {

// Returns the bytes of operands that a step has to read: the weights of experts that have rows, the weights
// of the shared expert, and x.
double operand_bytes(const Run& run) {
  const MoeShape& s = run.config().shape;
  const std::vector<int64_t> load = computed_load(run.tensors());
  const int64_t busy = std::count_if(load.begin(), load.end(), [](int64_t n) { return n > 0; });
  const int64_t elements = busy * s.expert_weights() + s.shared_weights() + s.tokens * s.hidden;
  return static_cast<double>(elements) * static_cast<double>(dtype_bytes(s.dtype));
}

// Returns a sample of the pages of a device's expert weights. It is empty if a thread of the device is on no
// known node.
PageSample pages_of_experts(const Run& run, int device, const std::vector<ThreadPlace>& threads) {
  std::vector<int> nodes;
  for (const ThreadPlace& thread : threads) nodes.push_back(thread.numa);
  PageSample sum;
  if (std::count(nodes.begin(), nodes.end(), kAnyCpu) > 0) return sum;
  const BlockShare share = block_share(over_places(run.config()), device);
  const BlockWeights weights = run.tensors().weights;
  for (const WeightView& stack : {weights.w1.stack, weights.w2.stack}) {
    if (stack.data == nullptr) continue;
    const int64_t expert_bytes = stack.group_elements() * static_cast<int64_t>(dtype_bytes(stack.dtype));
    const PageSample pages =
        sample_pages(static_cast<char*>(stack.data) + share.expert_begin * expert_bytes,
                     static_cast<size_t>((share.expert_end - share.expert_begin) * expert_bytes), nodes);
    sum.num_local += pages.num_local;
    sum.num_remote += pages.num_remote;
    sum.num_unknown += pages.num_unknown;
  }
  return sum;
}

// Sets how unevenly rows and assignments are spread over the devices, and how large the buffers are for them.
// The experts of `config` are places (over_places()).
void add_buffer_factors(const RunConfig& config, const PlanCounts& counts, PointResult& result) {
  std::vector<int64_t> received, computed;
  int64_t largest_buffer = 0;
  for (int d = 0; d < counts.num_devices; ++d) {
    received.push_back(counts.rows_received(d));
    computed.push_back(counts.rows_computed(d));
    largest_buffer = std::max(largest_buffer, RaggedRoute::max_received(config, d));
  }
  result.recv_factor = max_over_mean(received);
  result.assign_factor = max_over_mean(computed);
  const int64_t sum = std::accumulate(received.begin(), received.end(), int64_t{0});
  if (routes_rows(config) && sum > 0)
    result.recv_buffer_factor =
        static_cast<double>(largest_buffer) * counts.num_devices / static_cast<double>(sum);
}

// All processes have to draw the same projections, so they take the first process's seed.
uint32_t agreed_seed(const BenchOptions& options, const Job& job) {
  const uint32_t seed = options.check_seed ? *options.check_seed : std::random_device{}();
  return static_cast<uint32_t>(std::stoul(job.from_root(std::to_string(seed))));
}

// Keeps the samples whose round counts. There is one sample for each round, from the first warm-up round on.
// An empty list stays empty.
template <typename Sample>
void keep_counted(std::vector<Sample>& samples, const std::vector<bool>& counts) {
  std::vector<Sample> kept;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (counts[i]) kept.push_back(std::move(samples[i]));
  }
  samples = std::move(kept);
}

}  // namespace

Measurement::Measurement(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                         Yardstick& yardstick, Watcher watcher, std::function<double()> clock)
    : options_(options),
      job_(job),
      yardstick_(yardstick),
      watcher_(std::move(watcher)),
      clock_(std::move(clock)),
      check_seed_(agreed_seed(options, job)) {
  for (const Point& point : points) {
    LivePoint live;
    live.result.point = point;
    points_.push_back(std::move(live));
  }
  const Topology topology = detect_topology();
  // Each process of a node reads its share. The first process has all of the memory if it makes steps alone.
  cold_is_whole_ = job_.is_root() && std::any_of(points.begin(), points.end(), [](const Point& point) {
                     return point.config.spread == Spread::none;
                   });
  const int64_t bytes = cold_cache_bytes(topology) / (cold_is_whole_ ? 1 : job_.processes_of_a_node());
  ThreadTeam placer(1);
  cold_ = std::make_unique<ColdMemory>(bytes, placer);
}

void Measurement::prepare() {
  Pace pace(static_cast<double>(points_.size()), count_text(std::ssize(points_), "point") + " to check",
            watcher_.tell);
  for (size_t i = 0; i < points_.size(); ++i) {
    watcher_.show(fmt::format("checking {} of {}: {}", i + 1, points_.size(), points_[i].result.point.label));
    prepare_point(points_[i]);
    pace.done(1);
  }
  if (options_.layer_weights == nullptr || job_.session() == nullptr) return;
  // Each process has loaded its own experts, so their hashes are gathered.
  const std::vector<uint64_t>& own = options_.layer_weights->hashes();
  const char* const bytes = reinterpret_cast<const char*>(own.data());
  for (const std::string& text : job_.session()->gather({bytes, own.size() * sizeof(uint64_t)}))
    options_.layer_weights->take(values_in<uint64_t>(text));
}

std::vector<DevicePlace> Measurement::placement_of(Run& run) const {
  const Range devices = run.local_devices();
  std::vector<DevicePlace> local(static_cast<size_t>(devices.size()));
  run.on_teams([&](int device, ThreadTeam& team) {
    DevicePlace& place = local[static_cast<size_t>(device - devices.begin)];
    place.threads = places_of(team);
    place.expert_pages = pages_of_experts(run, device, place.threads);
  });
  return gather_places(job_, local);
}

// Points with one distribution share operands, so a new factory learns the sizes of all of them first.
RunFactory& Measurement::factory_of(const DistributionOptions& distribution) {
  for (const auto& [known, factory] : factories_)
    if (same_routing(known, distribution)) return *factory;
  auto factory = std::make_unique<RunFactory>(distribution, options_.seed, yardstick_.node_cpus(),
                                              job_.session(), options_.layer_weights);
  for (const LivePoint& point : points_) {
    if (same_routing(point.result.point.distribution, distribution))
      factory->expect(point.result.point.config);
  }
  return *factories_.emplace_back(distribution, std::move(factory)).second;
}

void Measurement::prepare_point(LivePoint& live) {
  const Point& point = live.result.point;
  live.run = factory_of(point.distribution).make(point.config);
  live.stages = std::make_unique<DeviceStages>(static_cast<int>(live.run->local_devices().size()), clock_);
  live.operands = live.run->operand_hash();
  make_ready(live);
  const double begin = seconds();
  // The first step is the checked one. It is not a sample, but its time sizes the limit on waits.
  live.run->step(live.stages->listeners());
  longest_step_ = std::max(longest_step_, job_.largest(seconds() - begin));
  live.result.timed_region = entered_stages(*live.stages);
  live.stages->restart();
  live.checked = live.run->result_hashes();
  live.result.placement = placement_of(*live.run);
  live.run->collect();
  check(live);
  // The check reads the copy of the first device, so the other copies must be equal to it.
  if (replicas_differ(*live.run, job_) && live.result.check.status != CheckStatus::off) {
    live.result.check.status = CheckStatus::failed;
    live.result.check.reason = kReplicasDiffer;
  }
  // All processes must agree whether the point is measured.
  live.result.check.status = job_.from_root(live.result.check.status);
  hold_operands(live);
}

// Makes the state in which every step of every point begins. Results and work space hold NaN, and the caches
// hold nothing of them or of the operands. Then all processes wait for each other. A process without a device
// in the step is asleep while the others wake their threads.
void Measurement::make_ready(LivePoint& live) {
  live.run->poison();
  // All processes read at the same time. One that read alone would show the bandwidth of the whole node.
  job_.wait_quietly(Naps::kShortest);
  job_.start_together();
  const Range devices = live.run->local_devices();
  const bool shared = cold_is_whole_ && live.result.point.config.spread != Spread::none;
  const int64_t num_shares = devices.size() * (shared ? job_.processes_of_a_node() : 1);
  Burst burst{static_cast<double>(cold_->bytes() * devices.size() / std::max<int64_t>(1, num_shares)),
              seconds()};
  live.run->on_teams([&](int device, ThreadTeam& team) {
    cold_->read(team, static_cast<int>(device - devices.begin), static_cast<int>(num_shares));
  });
  burst.end = seconds();
  live.reads.push_back(burst);
  job_.wait_quietly(Naps::kShortest);
  if (takes_part(*live.run)) live.run->rouse();
}

// Returns the values of the balance losses, complete on the first process. Each process adds the losses of
// its own tokens.
std::vector<std::pair<std::string, double>> Measurement::losses_of(const Run& run) const {
  const RunConfig& config = run.config();
  const BalanceLoss& loss = config.block.balance_loss;
  if (loss.empty()) return {};
  const Range tokens = shards_tokens(config) || job_.is_root() ? run.held().tokens : Range{};
  auto losses = loss_values(loss, run.tensors().logits, run.routing(), tokens);
  std::vector<double> own;
  for (auto& [name, value] : losses) own.push_back(std::exchange(value, 0));
  for (const std::vector<double>& part : job_.gather(own)) {
    for (size_t i = 0; i < part.size(); ++i) losses[i].second += part[i];
  }
  return losses;
}

// Returns the names of the stages that any device entered, in the order of the enum.
std::vector<std::string> Measurement::entered_stages(const DeviceStages& stages) const {
  std::vector<std::string> names;
  for (int stage = 0; stage < kNumStages; ++stage) {
    if (job_.largest(stages.entered(stage) ? 1 : 0) > 0) names.push_back(name_of(static_cast<Stage>(stage)));
  }
  return names;
}

// Notes what is known of a run once it has stepped, except for its time.
void Measurement::describe(LivePoint& live) {
  PointResult& result = live.result;
  const Run& run = *live.run;
  const RunConfig& config = result.point.config;
  const std::vector<int64_t> load = expert_load(run.routing());
  // The loads of experts follow from the routing; the loads of devices, from where the experts were placed.
  result.runs = run_statistics(run.routing());
  result.load = load_statistics(load);
  result.skew = skew_properties(result.point.distribution, run.routing(), options_.seed);
  result.expert_max_over_mean = max_over_mean(load);
  result.device_max_over_mean =
      max_over_mean(device_load(expert_load(run.placed_routing()), config.num_devices));
  result.operand_bytes = operand_bytes(run);
  result.capacity_rows = run.capacity_rows();
  result.num_dropped = run.num_dropped();
  result.num_spilled = run.num_spilled();
  result.num_zero = num_zero_choices(run.routing());
  result.num_unassigned = num_unassigned(run.routing()) - result.num_zero;
  result.executed_flops = run.executed_flops();
  result.traffic = run.traffic();
  result.moved_bytes = run.moved_bytes();
  // Data parallelism must add up gradients; other modes must move rows to their experts and back. With next
  // choices (spares), only the routing in the tensors says where spilled assignments go. Such a point has no
  // placement, so its experts are its places.
  const BlockTensors tensors = run.tensors();
  const Routing& placed = config.block.capacity.spares > 0 ? *tensors.routing : run.placed_routing();
  result.lower_bound_bytes =
      config.spread == Spread::dp
          ? data_parallel_lower_bound_bytes(config.shape, config.block.pass, config.num_devices)
          : comm_lower_bound_bytes(tensors, placed, config.block.pass, config.num_devices);
  result.nodes = run.nodes();
  const PlanCounts counts = plan_counts(config, run.placed_routing(), result.nodes);
  if (is_ep(config.spread)) result.logical_bytes = logical_row_bytes(config, counts, result.nodes);
  if (is_ep(config.spread)) add_buffer_factors(over_places(config), counts, result);
  // Only a timeline shows the work of each stage and device.
  if (!options_.trace_dir.empty()) {
    WorkProblem problem = work_problem(over_places(config));
    problem.in_place = job_.session() == nullptr && reads_in_place(over_places(config));
    result.work = all_work(problem, counts);
    result.pair_rows = counts.pairs;
  }
  result.plan_hash = run.plan_hash();
  result.output_hash = run.output_hash();
}

std::vector<DeviceSeconds> Measurement::device_seconds(const LivePoint& live) const {
  std::vector<double> local;  // for each device of this process: its wait, stages and hand-overs
  const std::vector<Traffic> traffic = live.run->traffic();
  for (size_t i = 0; i < live.stages->size(); ++i) {
    const std::vector<double>& stages = live.stages->seconds(i);
    const auto& hand_overs = live.stages->hand_overs(i);
    local.push_back(traffic[static_cast<size_t>(live.run->local_devices().begin) + i].wait_seconds);
    local.insert(local.end(), stages.begin(), stages.end());
    local.insert(local.end(), hand_overs.begin(), hand_overs.end());
  }
  std::vector<DeviceSeconds> devices;
  for (const std::vector<double>& values : job_.gather(local)) {
    for (auto at = values.begin(); at != values.end(); at += 2 * kNumStages + 1) {
      const auto stages = at + 1, hand_overs = stages + kNumStages;
      devices.push_back({{stages, hand_overs}, *at, {hand_overs, hand_overs + kNumStages}});
    }
  }
  return devices;
}

// Processes of one node share one clock. Clocks of several nodes are read right after the step, in which they
// hardly drift. Collective.
std::vector<WaitEntry> Measurement::waits_of_step(const LivePoint& live) const {
  const bool has_one_node = job_.session() == nullptr || job_.session()->num_nodes() == 1;
  if (live.result.point.config.num_devices == 1) return {};
  const std::vector<ClockReading> clocks =
      has_one_node ? std::vector<ClockReading>(static_cast<size_t>(job_.num_processes()))
                   : job_.read_clocks();
  const std::vector<StepEvents> steps = gather_events(job_, {live.stages->events()}, clocks, clocks);
  return steps.empty() ? std::vector<WaitEntry>{} : wait_entries(steps.front());
}

void Measurement::before_sample(LivePoint& live) {
  if (std::ssize(live.cpu_samples) == live.decoy_at) step_on_other_operands(live);
  make_ready(live);
  // The clock starts before the CPU time and stops after it, so no CPU time is without its time on the clock.
  wall_begin_ = seconds();
  cpu_begin_ = process_cpu_seconds();
}

// Returns the sample on which all processes agree, the longest one. A process without a part in the step
// sleeps until the step should be over, so that it takes no core from the step.
double Measurement::agree(LivePoint& live, double elapsed) {
  const auto note_cpu = [&] {
    const double cpu = process_cpu_seconds() - cpu_begin_;
    live.cpu_samples.push_back({cpu, seconds() - wall_begin_});
  };
  double busy = 0;  // seconds that a thread of this process ran, on average
  if (takes_part(*live.run)) {
    note_cpu();
    const int64_t devices = live.run->local_devices().size();
    busy = live.cpu_samples.back().cpu / static_cast<double>(devices * live.run->config().threads_per_device);
    live.last_sample = job_.largest(elapsed);
  } else {
    std::this_thread::sleep_for(std::chrono::duration<double>(live.last_sample));
    live.last_sample = job_.largest(0);
    note_cpu();
  }
  const double wall = job_.largest(seconds() - wall_begin_);
  live.sample_times.push_back({wall, std::max(0.0, wall - job_.largest(busy))});
  return live.last_sample;
}

void Measurement::after_sample(LivePoint& live) {
  PointResult& result = live.result;
  job_.wait_quietly();
  hold_to_checked(live);
  if (options_.stage_timing) {
    result.stage_samples.push_back(device_seconds(live));
    result.wait_samples.push_back(waits_of_step(live));
  }
  if (!options_.trace_dir.empty()) {
    result.events.push_back(live.stages->events());
    if (std::ssize(result.events) > options_.trace_steps) result.events.erase(result.events.begin());
  }
  live.stages->restart();
}

// Returns the bytes/s of the fastest pass over the cold memory. The figure is complete on the first process.
double Measurement::fastest_read(const LivePoint& live) const {
  std::vector<double> own;  // bytes and seconds of each pass
  for (const Burst& burst : live.reads) own.insert(own.end(), {burst.amount, burst.end - burst.begin});
  return fastest_pass(job_.gather(own));
}

// Fails the point if a process used more CPUs in its steps than its devices have threads. MPI may have one
// thread of its own, which moves messages along. With any other thread the layout would not say what the step
// used.
void Measurement::hold_cpus(LivePoint& live, const std::vector<bool>& counts) {
  std::vector<CpuSample> timed = live.cpu_samples;
  keep_counted(timed, counts);
  const int64_t threads = live.run->local_devices().size() * live.run->config().threads_per_device,
                of_mpi = job_.session() == nullptr ? 0 : 1;
  const double own = takes_part(*live.run) ? too_many_cpus(timed, threads + of_mpi, cpu_clock_lag()) : 0,
               cpus = job_.largest(own);
  if (cpus <= 0 || live.result.check.status != CheckStatus::passed) return;
  live.result.check.status = CheckStatus::failed;
  live.result.check.reason =
      fmt::format("impossible: a process used {:.1f} CPUs in its steps, and its devices have {}", cpus,
                  count_text(threads, "thread"));
}

// Returns for each process the mean CPU seconds of a step, over the rounds that count.
std::vector<double> Measurement::cpu_seconds(const LivePoint& live, const std::vector<bool>& counts) const {
  std::vector<CpuSample> timed = live.cpu_samples;
  keep_counted(timed, counts);
  double sum = 0;
  for (const CpuSample& sample : timed) sum += sample.cpu;
  const double mean = sum / static_cast<double>(timed.size());
  std::vector<double> processes;
  for (const std::vector<double>& process : job_.gather({mean})) processes.push_back(process.front());
  return processes;
}

// Adds the other processes' devices to what this process's devices did.
void Measurement::gather_traces(const std::vector<ClockReading>& before, CommandResult* command) {
  const std::vector<ClockReading> after = job_.read_clocks();
  for (const std::vector<ClockReading>* readings : {&before, &after}) {
    for (const ClockReading& reading : *readings)
      command->clock_uncertainty = std::max(command->clock_uncertainty, reading.uncertainty);
  }
  for (LivePoint& live : points_) {
    live.result.events = gather_events(job_, live.result.events, before, after);
  }
}

void Measurement::take_samples(LivePoint& live, std::vector<double> samples,
                               const std::vector<bool>& counts) {
  PointResult& result = live.result;
  result.read_before_steps = fastest_read(live);
  hold_operands(live);
  hold_cpus(live, counts);
  if (result.check.status == CheckStatus::failed) {
    result.stage_samples.clear();
    result.wait_samples.clear();
    return;
  }
  result.samples = std::move(samples);
  result.cpu_seconds = cpu_seconds(live, counts);
  keep_counted(result.stage_samples, counts);
  keep_counted(result.wait_samples, counts);
}

void Measurement::time(CommandResult* command) {
  const bool traced = !options_.trace_dir.empty();
  const std::vector<ClockReading> clocks = traced ? job_.read_clocks() : std::vector<ClockReading>{};
  const bool clocked = options_.stage_timing || traced;
  std::vector<LivePoint*> timed;
  std::vector<std::function<void()>> steps;
  for (LivePoint& live : points_) {
    // A point that failed its check is not timed.
    if (live.result.check.status == CheckStatus::failed) continue;
    const auto listeners = clocked ? live.stages->listeners() : std::vector<StageListener*>{};
    live.step = [run = live.run.get(), listeners] { run->step(listeners); };
    // The step on other operands comes before a sample that is drawn by chance, so that a step cannot know
    // when it is tested.
    live.decoy_at = options_.schedule.warmup +
                    threefry(check_seed_, Stream::kDecoy, timed.size())[0] % options_.schedule.iters;
    timed.push_back(&live);
    steps.push_back(live.step);
  }
  ScheduleHooks hooks;
  hooks.clock = clock_;
  hooks.before_sample = [&](int i) { before_sample(*timed[i]); };
  hooks.agreed = [&](int i, double elapsed) { return agree(*timed[i], elapsed); };
  hooks.after_sample = [&](int i) { after_sample(*timed[i]); };
  const int64_t rounds = options_.schedule.iters;
  Pace pace(static_cast<double>(options_.schedule.warmup + rounds), points_and_rounds(timed.size(), rounds),
            watcher_.tell);
  hooks.after_round = [&](int64_t round) {
    yardstick_.measure_peaks();
    pace.done(1);
    watcher_.show(round < 0 ? "warming up" : fmt::format("round {} of {}", round + 1, rounds));
  };
  const Interruption interruption;
  const auto signal = [&] { return static_cast<int>(job_.largest(interruption.signal())); };
  hooks.spoiled = [&](int i) { return is_held_up(timed[i]->sample_times); };
  hooks.stop = [&] { return signal() != 0; };
  ScheduleResult schedule = time_interleaved(steps, options_.schedule, hooks);
  command->interrupted_by = schedule.stop_reason == kInterrupted ? signal() : 0;
  if (command->interrupted_by != 0 && schedule.order.empty())
    throw Interrupted(command->interrupted_by, "no point has a sample, nothing is reported");
  for (LivePoint* live : timed) {
    // If an interruption came before that sample, the step on other operands is made now.
    if (std::ssize(live->cpu_samples) <= live->decoy_at) step_on_other_operands(*live);
  }
  if (traced) gather_traces(clocks, command);
  for (size_t i = 0; i < timed.size(); ++i)
    take_samples(*timed[i], std::move(schedule.samples[i]), schedule.counts);
  command->order = schedule.order;
  command->num_repeated = schedule.num_repeated;
  command->stop_reason = schedule.stop_reason;
}

std::string Measurement::cache_state() const {
  return fmt::format("cold: {} MiB of other memory are read by the point's own threads before each step",
                     (cold_->bytes() * (cold_is_whole_ ? 1 : job_.processes_of_a_node())) >> 20);
}

std::vector<PointResult> Measurement::take_results() {
  std::vector<PointResult> results;
  for (LivePoint& live : points_) results.push_back(std::move(live.result));
  return results;
}

}  // namespace moehill
