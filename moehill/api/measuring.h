// Measuring is an inner header for the harness and its tests. It has what only measuring needs of the
// library.
// A run is the block of a point, the one of moehill/moehill.h (BlockObject on a Context), with everything
// resident, ready to be stepped by someone with a clock. The public interface does not offer what is added
// here: every option of the house instead of a description; operands from a seed, shared between runs; the
// router in the step; stages told to a listener; half a step; results that are spoilt before a step and
// hashed after it.
//
// A step is what moehill_block_plan, _forward and _backward do on the devices, in one go and on the same
// paths. What these functions do before is not part of it: arguments are checked and, over MPI, agreed on by
// a small all-gather for each call, and the caller's routing is copied.
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

// RunFactory makes runs. They share operands if shape and storage agree, and meshes if the layout agrees.
class RunFactory {
 public:
  // `cpus` are the logical CPUs to use, in order. A layout with more threads than CPUs is not pinned.
  // `session`: the devices of dp and ep are its processes, and the device of none is in the first one; null:
  // all devices are in this process. With a session, make() and what a run offers are collective, and the
  // factory has to be destroyed before the session.
  // `layer`: weights of a model instead of random ones.
  RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
             Session* session = nullptr, std::shared_ptr<LayerWeights> layer = nullptr);
  ~RunFactory();
  std::unique_ptr<class Run> make(const RunConfig& config);
  // Makes a run with this routing instead of the distribution's. Its tokens, experts and topk have to be the
  // shape's.
  std::unique_ptr<class Run> make(const RunConfig& config, const Routing& routing);
  // Announces that this run will be made. Runs that are made before it then leave room for what it needs of
  // operands that they share with it. Otherwise these would be in memory twice.
  void expect(const RunConfig& config);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Run is one point that can be stepped.
class Run {
 public:
  virtual ~Run() = default;

  // Makes one whole step (forward, or forward and backward) on all devices. `listeners`: one for each device
  // of this process, or none. Allocates nothing.
  virtual void step(const std::vector<StageListener*>& listeners) = 0;

  // Prepares for a step that follows at once. When it returns, threads of other runs that have just stopped
  // working are asleep, all threads of this run are awake, and its devices have met.
  virtual void rouse() = 0;

  // Writes NaN to every result that this process's devices leave and to their work space. A value that a step
  // forgets, or takes from the step before, can then not pass for its own. No device of the job may be in a
  // step, and none may begin one before all are done.
  // If steps leave stages out (BlockOptions::ablation), this writes no NaN but makes a whole step, so that
  // the other stages find what the missing ones would have made.
  virtual void poison() = 0;
  // Calls work(device, its team) for each device of this process, all at once.
  virtual void on_teams(const std::function<void(int device, ThreadTeam& team)>& work) = 0;

  // Brings the figures of the last step to the first process. From then on the functions below speak of all
  // devices there. On other processes, and before, they speak of this process's devices. Without a session
  // there is nothing to do.
  virtual void collect() = 0;
  virtual Range local_devices() const = 0;  // of this process

  // The operands, and results with them, for which this process has memory.
  virtual HeldOperands held() const = 0;
  // Views of the operands and of this run's results after the last step; rows that are not held have no
  // memory. The results belong to the storage of the operands, so they are valid until another run of the
  // same factory steps.
  virtual BlockTensors tensors() const = 0;
  // This process's part in the check or the dump of the last step's results: its tensors, and what is brought
  // together for it (x from the seed; y and the shared expert's gradients from the other processes).
  // Collective over the processes that have devices.
  virtual CheckShare check_share() = 0;
  virtual const Routing& routing() const = 0;
  // The routing in terms of places, as over_places(config()) has them. It equals routing() without a
  // placement.
  virtual const Routing& placed_routing() const = 0;

  // Hashes of all bits of every result that this process's devices hold after a step, own parts and copies.
  struct ResultHash {
    std::string tensor;  // "dw2 of device 1"
    uint64_t hash;
    bool operator==(const ResultHash&) const = default;
  };
  virtual std::vector<ResultHash> result_hashes() = 0;
  // The hash of x, the weights and the routing as this process holds them. No step may change them.
  virtual uint64_t operand_hash() = 0;
  // Changes the sign of all of x, which makes other tokens of it. A second call restores x. No device of the
  // job may be in a step.
  virtual void negate_x() = 0;
  // One hash for each device of this process, over the results of which every device has a copy. They have to
  // be equal on all devices.
  virtual std::vector<uint64_t> replica_hashes() = 0;

  // True on the first process if copies of an expert ended with different gradients. Collective.
  virtual bool copies_differ() = 0;

  virtual const RunConfig& config() const = 0;
  virtual uint64_t plan_hash() const = 0;            // over the plans of all devices
  virtual uint64_t output_hash() const = 0;          // over the bits of y; after collect()
  virtual int64_t num_dropped() const = 0;           // assignments beyond the capacity
  virtual int64_t num_spilled() const = 0;           // assignments that went to a next choice
  virtual int64_t capacity_rows() const = 0;         // C; 0 with the policy none
  virtual double executed_flops() const = 0;         // including padding, masked rows and recomputation
  virtual std::vector<Traffic> traffic() const = 0;  // of the last step, by device
  virtual Nodes nodes() const = 0;                   // the devices' nodes, as their mesh has them
  // Bytes that all devices together sent in the last step. The moves add up to the traffic.
  virtual std::array<uint64_t, kNumMoves> moved_bytes() const = 0;
};

}  // namespace moehill
