// An inner header for the harness and its tests: it has what only measuring needs of the library.
//
// A run is a point's block, which is the one of moehill/moehill.h (BlockObject on a Context), everything
// resident, ready to be stepped by someone with a clock. A caller is not offered what comes on top: every
// option of the house in place of those of a description; operands from a seed, shared between runs; the
// router in the step; stages told to a listener; half a step; results spoilt before a step and hashed after.
//
// A step is what moehill_block_plan, _forward and _backward do on the devices, in one go and on the same
// paths. What these do before that is not in it: arguments are checked and, over MPI, agreed on by a small
// all-gather a call, and the caller's routing is copied.
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

// Makes runs that share operands where shape and storage agree, and meshes where the layout agrees.
class RunFactory {
 public:
  // cpus: the logical CPUs to use, in order; a layout with more threads than cpus is left unpinned. session:
  // the devices of dp and ep are its processes, that of none is in the first one; null: all are in this
  // process. make() and what a run has are then collective, and the factory must go before the session.
  // layer: weights of a model in place of random ones.
  RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
             Session* session = nullptr, std::shared_ptr<LayerWeights> layer = nullptr);
  ~RunFactory();
  std::unique_ptr<class Run> make(const RunConfig& config);
  // Makes a run with this routing in place of the distribution's (tokens, experts and topk must be the
  // shape's).
  std::unique_ptr<class Run> make(const RunConfig& config, const Routing& routing);
  // Says that this run will be made: runs that come before it leave room for what it needs of the operands
  // that they share with it, which would be there twice otherwise.
  void expect(const RunConfig& config);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Run {
 public:
  virtual ~Run() = default;

  // One whole step (forward, or forward and backward) on all devices. listeners: one per device of this
  // process, or empty. Allocates nothing.
  virtual void step(const std::vector<StageListener*>& listeners) = 0;

  // For a step that follows at once: threads of other runs that have just stopped working are asleep when
  // this returns, all of this run's are awake, and its devices have met.
  virtual void rouse() = 0;

  // NaN in every result that this process's devices leave and in their work space, so that a value which a
  // step forgets, or takes from the step before, cannot pass for its own. No device of the job may be in a
  // step, and none may begin one before all are done. Where steps leave stages out (BlockOptions::ablation)
  // this writes no NaN but makes a whole step, so that the other stages find what the missing ones would have
  // made.
  virtual void poison() = 0;
  // Calls work(device, its team) for each device of this process, all at once.
  virtual void on_teams(const std::function<void(int device, ThreadTeam& team)>& work) = 0;

  // Brings the figures of the last step to the first process; from then on what follows speaks of all devices
  // there. Elsewhere, and before, of this process's. Nothing to do without a session.
  virtual void collect() = 0;
  virtual Range local_devices() const = 0;  // of this process

  // The operands, and the results with them, of which this process has memory.
  virtual HeldOperands held() const = 0;
  // Views of the operands and of this run's results after the last step, whole but for what is not held. The
  // results belong to the operands' storage, so they hold until another run of the same factory steps.
  virtual BlockTensors tensors() const = 0;
  // This process's part in the check or the dump of the last step's results: its tensors, and what is brought
  // together for it, x from the seed and y and the shared expert's gradients from the other processes.
  // Collective over those that have devices.
  virtual CheckShare check_share() = 0;
  virtual const Routing& routing() const = 0;
  // The routing among the places that the experts have on the devices: of over_places(config()). The same as
  // routing() without a placement.
  virtual const Routing& placed_routing() const = 0;

  // Hashes of all bits of every result that this process's devices hold after a step: own parts and copies.
  struct ResultHash {
    std::string tensor;  // "dw2 of device 1"
    uint64_t hash;
    bool operator==(const ResultHash&) const = default;
  };
  virtual std::vector<ResultHash> result_hashes() = 0;
  // The hash of x, the weights and the routing as this process holds them. No step may change them.
  virtual uint64_t operand_hash() = 0;
  // Changes the sign of all of x, which makes other tokens of it; a second call restores x. No device of the
  // job may be in a step.
  virtual void negate_x() = 0;
  // One hash for each device of this process, over the results of which every device has a copy. They are
  // equal on all devices.
  virtual std::vector<uint64_t> replica_hashes() = 0;

  // True on the first process if copies of an expert ended with different gradients. Collective.
  virtual bool copies_differ() = 0;

  virtual const RunConfig& config() const = 0;
  virtual uint64_t plan_hash() const = 0;            // over the plans of all devices
  virtual uint64_t output_hash() const = 0;          // over the bits of y; after collect()
  virtual int64_t num_dropped() const = 0;           // assignments past the capacity
  virtual int64_t num_spilled() const = 0;           // that went to a next choice
  virtual int64_t capacity_rows() const = 0;         // C; 0 with policy none
  virtual double executed_flops() const = 0;         // padding, masked rows and recomputation included
  virtual std::vector<Traffic> traffic() const = 0;  // of the last step, per device
  virtual Nodes nodes() const = 0;                   // of the devices, as their mesh has them
  // Bytes sent in the last step, all devices together; the moves add up to the traffic.
  virtual std::array<uint64_t, kNumMoves> moved_bytes() const = 0;
};

}  // namespace moehill
