// This inner header is for the harness and its tests: it has what only measuring needs of the library.
// Callers of the library use moehill/moehill.h.
//
// A point is one combination of options. A run is the block of a point, with all its operands in memory, so
// that the harness can step it under a clock. The block is the same as in moehill/moehill.h (BlockObject on a
// Context). A run adds what the public interface does not offer:
//
//   - all options (RunConfig) instead of a description
//   - operands that are made from a seed and shared between runs
//   - a router inside the step
//   - a listener that learns when a stage begins
//   - results that are spoilt before a step and hashed after it
//
// A step is the work of moehill_block_plan, _forward and _backward on the devices, in one go and on the same
// paths. It leaves out what these functions do before that: they check the arguments, over MPI they agree on
// them by a small all-gather, and they copy the caller's routing.
//
//     RunFactory factory(distribution, seed, cpus);
//     std::unique_ptr<Run> run = factory.make(config);
//     run->poison();                  // NaN in all results
//     run->step({});                  // timed by the caller
//     run->collect();                 // figures of all devices, on the first process
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/block/stages.h"
#include "moehill/mesh/session.h"
#include "moehill/moe/check_share.h"
#include "moehill/parallel/memory_model.h"
#include "moehill/parallel/moves.h"
#include "moehill/routing/distribution.h"

namespace moehill {

class LayerWeights;

// RunFactory makes runs. Its runs share operands if they have the same shape and storage, and they share a
// mesh if they have the same devices and threads.
class RunFactory {
 public:
  // `cpus` are the logical CPUs to use, in order. If a run has more threads than there are CPUs, it is not
  // pinned.
  //
  // With a `session`, each device of dp and ep is one of its processes, and the single device of mode none is
  // in the first process. Then make() and the functions of a run are collective, and the factory has to be
  // destroyed before the session. With null all devices are in this process.
  //
  // `layer` has weights of a model; null: the weights are random.
  RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
             Session* session = nullptr, std::shared_ptr<LayerWeights> layer = nullptr);
  ~RunFactory();
  std::unique_ptr<class Run> make(const RunConfig& config);
  // Makes a run with this routing instead of the distribution's. Its tokens, experts and topk have to be the
  // shape's.
  std::unique_ptr<class Run> make(const RunConfig& config, const Routing& routing);
  // Announces that this run will be made. Runs that are made before it then allocate the shared operands
  // large enough for it. Without the announcement the operands would be in memory twice.
  void expect(const RunConfig& config);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Run is one point that can be stepped.
class Run {
 public:
  virtual ~Run() = default;

  // Makes one whole step (forward, or forward and backward) on all devices. `listeners` has one listener for
  // each device of this process, or is empty. Allocates nothing.
  virtual void step(const std::vector<StageListener*>& listeners) = 0;

  // Prepares for a step that follows at once. When it returns, the threads of other runs are asleep, all
  // threads of this run are awake, and its devices have met in a barrier.
  virtual void rouse() = 0;

  // Writes NaN to all results of this process's devices and to their work space. So a value that a step
  // forgets to write, or takes from the step before, shows. No device of the job may be in a step, and none
  // may begin a step before all processes are done. If steps leave stages out (BlockOptions::ablation),
  // poison() writes no NaN. It makes a whole step instead, so that the other stages find the values that the
  // missing stages would have made. For half a step (BlockOptions::part) it does nothing.
  virtual void poison() = 0;
  // Calls work(device, its team) for each device of this process, all at once.
  virtual void on_teams(const std::function<void(int device, ThreadTeam& team)>& work) = 0;

  // Brings the figures of the last step to the first process. There, the functions below then speak of all
  // devices. On other processes they speak of this process's devices. Before collect() only traffic() has
  // figures, and only of this process's devices. Without a session there is nothing to bring, but collect()
  // still reads the figures and hashes y.
  virtual void collect() = 0;
  virtual Range local_devices() const = 0;  // of this process

  // Returns which operands and results this process has memory for.
  virtual HeldOperands held() const = 0;
  // Returns views of the operands and of the results of the last step. Rows that are not held have no memory.
  // Runs of one factory share this memory, so the results are valid until another of them steps.
  virtual BlockTensors tensors() const = 0;
  // Returns this process's part in the check or the dump of the last step's results: its tensors, x made from
  // the seed, and y and the shared expert's gradients from the other processes. Collective over the processes
  // that have devices.
  virtual CheckShare check_share() = 0;
  virtual const Routing& routing() const = 0;
  // Returns the routing with places in the place of experts, see over_places(config()). Without a placement
  // it equals routing().
  virtual const Routing& placed_routing() const = 0;

  // ResultHash is a hash of all bits of one result on one device of this process after a step. Own parts and
  // copies count, and so do the choices, gate values and logits that a router in the step made.
  struct ResultHash {
    std::string tensor;  // "dw2 of device 1"
    uint64_t hash;
    bool operator==(const ResultHash&) const = default;
  };
  virtual std::vector<ResultHash> result_hashes() = 0;
  // Returns a hash of x, the weights and the routing as this process holds them. No step may change it.
  virtual uint64_t operand_hash() = 0;
  // true: makes other tokens and other weights of the same magnitude in place (parallel/other_operands.h),
  // and a router in the step gets the negative logits. false: restores every bit. No device of the job may be
  // in a step. Collective.
  virtual void use_other_operands(bool others) = 0;
  // Returns a hash for each device of this process, over the results of which every device has a copy. The
  // hashes have to be equal on all devices.
  virtual std::vector<uint64_t> replica_hashes() = 0;

  // Returns true on the first process if copies of an expert have different gradients. Collective.
  virtual bool copies_differ() = 0;

  virtual const RunConfig& config() const = 0;
  virtual uint64_t plan_hash() const = 0;            // over the plans of all devices
  virtual uint64_t output_hash() const = 0;          // over the bits of y; after collect()
  virtual int64_t num_dropped() const = 0;           // assignments beyond the capacity
  virtual int64_t num_spilled() const = 0;           // assignments that went to a next choice
  virtual int64_t capacity_rows() const = 0;         // C, the capacity of an expert; 0 with the policy none
  virtual double executed_flops() const = 0;         // including padding, masked rows and recomputation
  virtual std::vector<Traffic> traffic() const = 0;  // of the last step, by device
  virtual Nodes nodes() const = 0;                   // the devices' nodes, as their mesh has them
  // Returns the bytes that all devices together sent in the last step, by move. They add up to the traffic.
  virtual std::array<uint64_t, kNumMoves> moved_bytes() const = 0;
};

}  // namespace moehill
