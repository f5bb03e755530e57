// Implementation of simulation/simgrid/module.h: one actor for each device, which walks through the stages of
// the program.
#include "moehill/simulation/simgrid/module.h"

#include <nlohmann/json.hpp>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <limits>
#include <map>

#include "moehill/machine/memory.h"
#include "moehill/simulation/simgrid/platform.h"

namespace moehill {
namespace {

namespace sg4 = simgrid::s4u;

// Arrivals is a count that actors wait for. Actors run one at a time, so the count needs no lock of its own.
class Arrivals {
 public:
  void add() {
    if (++count_ < awaited_) return;
    awaited_ = kNobody;
    arrived_->notify_all();
  }
  void wait_for(int count) {
    if (count_ >= count) return;
    const std::unique_lock<sg4::Mutex> lock(*mutex_);
    // Only the smallest awaited count is kept. When it is reached all actors wake, and those that await more
    // wait again.
    while (count_ < count) {
      awaited_ = std::min(awaited_, count);
      arrived_->wait(lock);
    }
  }

 private:
  static constexpr int kNobody = std::numeric_limits<int>::max();
  int count_ = 0, awaited_ = kNobody;  // the smallest count that anybody waits for
  sg4::MutexPtr mutex_ = sg4::Mutex::create();
  sg4::ConditionVariablePtr arrived_ = sg4::ConditionVariable::create();
};

// Progress is reported each time that this many flows have arrived.
constexpr int64_t kFlowsBetweenProgress = 256;

constexpr double kLeastPrecision = 1e-9;  // s, which is SimGrid's own

// Latencies is the mean of latencies that are added one by one.
struct Latencies {
  double sum = 0;
  int64_t num = 0;
  void add(double latency) { sum += latency, ++num; }
  double mean() const { return num == 0 ? 0 : sum / static_cast<double>(num); }
};

// StepRun is one simulation.
class StepRun {
 public:
  StepRun(const Cluster& cluster, const StepProgram& program, const SimulationProgress& progress)
      : cluster_(cluster), program_(program), progress_(progress), platform_(make_platform(cluster)) {
    const size_t num = static_cast<size_t>(program.num_devices);
    for (const ProgramStage& stage : program.stages) {
      result_.stages.emplace_back(num);
      for (const Exchange& exchange : stage.exchanges) {
        for (const std::vector<Flow>& sends : exchange.sends) num_awaited_ += std::ssize(sends);
      }
    }
    const size_t group = static_cast<size_t>(program.group);
    received_.resize((num + group - 1) / group);
    ways_.resize(received_.size());
  }

  Simulation run() {
    for (int d = 0; d < program_.num_devices; ++d) {
      sg4::Actor::create("device", host_of(d), [this, d] { run_device(d); });
    }
    sg4::Engine::get_instance()->run();
    result_.seconds = sg4::Engine::get_clock();
    for (const auto& [link, bytes] : link_bytes_) {
      // A shared link has its bandwidth once. The inside of a node has it once for each device.
      const auto inside = platform_.node_of_loopback.find(link);
      const int num_ways =
          inside == platform_.node_of_loopback.end() ? 1 : cluster_.devices_of(inside->second);
      result_.links.push_back({link->get_name(), bytes, num_ways * link->get_bandwidth()});
    }
    std::sort(result_.links.begin(), result_.links.end(),
              [](const LinkLoad& a, const LinkLoad& b) { return a.name < b.name; });
    return std::move(result_);
  }

 private:
  sg4::Host* host_of(int device) const {
    return platform_.hosts[static_cast<size_t>(cluster_.node_of(device))];
  }

  size_t group_of(int device) const { return static_cast<size_t>(device / program_.group); }
  void run_device(int d) {
    const size_t device = static_cast<size_t>(d);
    int num_exchanges = 0, num_received = 0;
    for (size_t s = 0; s < program_.stages.size(); ++s) {
      const ProgramStage& stage = program_.stages[s];
      TimeSpan& interval = result_.stages[s][device];
      interval.begin = sg4::Engine::get_clock();
      sg4::ExecPtr work;
      // Work and messages of the same stage run at once; the stage ends with the later of them.
      if (stage.is_work()) work = sg4::this_actor::exec_async(stage.seconds[device] * cluster_.device_flops);
      for (const Exchange& exchange : stage.exchanges) {
        met_.add();
        // All devices meet before an exchange, as they do in a collective.
        met_.wait_for(++num_exchanges * program_.num_devices);
        set_precision(exchange);
        num_received += exchange.num_received[group_of(d)];
        take_part(exchange, d, num_received);
      }
      if (work != nullptr) work->wait();
      interval.end = sg4::Engine::get_clock();
    }
  }

  // For every flow that ends, SimGrid computes anew how all flows share the links, which takes most of the
  // time of a simulation. So in groups of several nodes, flows whose ends are closer than kEndTogether of a
  // usual flow's time end at once. Each flow is then shorter by at most this part.
  void set_precision(const Exchange& exchange) {
    if (program_.group <= cluster_.devices_per_node || &exchange == timed_) return;
    timed_ = &exchange;
    int64_t num_flows = 0;
    for (int d = 0; d < program_.num_devices; ++d) {
      for (const Flow& flow : exchange.sends[static_cast<size_t>(d)])
        num_flows += cluster_.node_of(d) != cluster_.node_of(flow.to);
    }
    double precision = kLeastPrecision;
    if (num_flows > 0) {
      const double bytes = static_cast<double>(exchange.sums.network) / static_cast<double>(num_flows);
      precision += kEndTogether * (cluster_.network.latency_s + bytes / cluster_.network.bytes_per_s);
    }
    sg4::Engine::set_config("surf/precision", precision);
  }

  void take_part(const Exchange& exchange, int d, int num_received) {
    const double begin = sg4::Engine::get_clock();
    for (const Flow& flow : exchange.sends[static_cast<size_t>(d)]) send(d, flow);
    received_[group_of(d)].wait_for(num_received);
    // With groups, flows stand for the messages of many devices. The device's own messages set a lower bound.
    if (exchange.own.empty()) return;
    const double end = begin + alone_seconds(exchange.own[static_cast<size_t>(d)], d);
    if (end > sg4::Engine::get_clock()) sg4::this_actor::sleep_until(end);
  }

  // Returns the seconds that a device's messages take one after the other, alone on their links.
  double alone_seconds(const OwnMessages& own, int d) const {
    const auto seconds = [](int64_t messages, double latency, int64_t bytes, double rate) {
      return static_cast<double>(messages) * latency + static_cast<double>(bytes) / rate;
    };
    return seconds(own.inside, cluster_.inside.latency_s, own.inside_bytes, cluster_.inside.bytes_per_s) +
           seconds(own.across, ways_[group_of(d)].mean(), own.across_bytes, cluster_.network.bytes_per_s);
  }

  void send(int from, const Flow& flow) {
    count(from, flow);
    // The message starts as soon as both ends are set, so they come last.
    sg4::CommPtr comm = sg4::Comm::sendto_init();
    comm->set_payload_size(static_cast<uint64_t>(flow.bytes));
    comm->set_source(host_of(from))->set_destination(host_of(flow.to));
    comm->wait();
    received_[group_of(flow.to)].add();
    result_.delivered_bytes += flow.bytes;
    ++result_.num_flows;
    if (progress_ && result_.num_flows % kFlowsBetweenProgress == 0)
      progress_(static_cast<double>(result_.num_flows) / static_cast<double>(num_awaited_));
  }

  // Counts the bytes of a flow on each link of its route.
  void count(int from, const Flow& flow) {
    std::vector<sg4::Link*> links;
    double latency = 0;
    host_of(from)->route_to(host_of(flow.to), links, &latency);
    for (sg4::Link* link : links) link_bytes_[link] += flow.bytes;
    if (host_of(from) != host_of(flow.to)) ways_[group_of(from)].add(latency);
  }

  const Cluster& cluster_;
  const StepProgram& program_;
  const SimulationProgress& progress_;
  Platform platform_;
  std::vector<Arrivals> received_;   // [groups] flows
  std::vector<Latencies> ways_;      // [groups] of flows to other nodes
  int64_t num_awaited_ = 0;          // flows in all
  Arrivals met_;                     // begins of exchanges, of all devices
  const Exchange* timed_ = nullptr;  // the precision is set for this one
  std::map<sg4::Link*, int64_t> link_bytes_;
  Simulation result_;
};

using Json = nlohmann::json;

Json to_json(const Simulation& s) {
  Json json{{"seconds", s.seconds},
            {"delivered", s.delivered_bytes},
            {"flows", s.num_flows},
            {"peak_rss", peak_rss_bytes()}};
  for (const auto& stage : s.stages) {
    Json intervals = Json::array();
    for (const TimeSpan& i : stage) intervals.push_back({i.begin, i.end});
    json["stages"].push_back(intervals);
  }
  for (const LinkLoad& l : s.links) json["links"].push_back({l.name, l.bytes, l.bytes_per_s});
  return json;
}

// CM02, a network model of SimGrid, shares links max-min fair, weighted by 1 / latency. The two other
// settings turn off what it adds: a window that bounds a flow by its latency, and traffic of
// acknowledgements.
void start_engine() {
  static char name[] = "moehill", quiet[] = "--log=root.thres:critical";
  static char* argv[] = {name, quiet, nullptr};
  static int argc = 2;
  static sg4::Engine engine(&argc, argv);
  sg4::Engine::set_config("network/model", std::string("CM02"));
  sg4::Engine::set_config("network/TCP-gamma", 1e18);
  sg4::Engine::set_config("network/crosstraffic", false);
}

}  // namespace
}  // namespace moehill

void moehill_simulate(const moehill::Cluster& cluster, const moehill::StepProgram& program,
                      const moehill::SimulationProgress& progress, std::vector<uint8_t>& result) {
  using namespace moehill;
  start_engine();
  result = Json::to_cbor(to_json(StepRun(cluster, program, progress).run()));
}
